"""Completion in the shell, and the manual page."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest
from click.shell_completion import CompletionItem

from gnjobs.records.keys import Keys
from gnjobs.records.layouts import LAYOUTS
from gnjobs.store import JobStore
from gnjobs_tui.cli.completion import _quietly
from gnjobs_tui.cli.main import COMMANDS
from tests.support.command import environment, run
from tests.support.genenetwork_double import json_job
from tests.support.servers import Server, free_port
from tests.support.supervised import KEYS
from tests.support.waiting import wait_for

ON_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def jobs(store: JobStore) -> None:
    """One that waits, with a child, and one that has ended."""
    store.create(["true"], job_id="pheno-1", label="July", user_id="jsmith")
    store.create(["true"], job_id="pheno-2", label="June", user_id="agunn")
    store.client.hset(KEYS.job("pheno-1"), "child:geno.tsv", KEYS.child_output("pheno-1", "geno.tsv"))
    store.client.hset(KEYS.job("pheno-2"), mapping={"status": "success", "finished": store.now()})
    store.client.zrem(KEYS.unfinished, "pheno-2")


def completed(url: str, shell: str, line: str, **env: str) -> list[str]:
    """What a shell's script is given for a line, one a line, as click's protocol has it."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1)}
    done = run(url, env={"_GNJOBS_COMPLETE": f"{shell}_complete"} | asked | env)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def wait_until_completed(complete: Callable[[], object], expected: object) -> None:
    """Press tab until it is completed so: a busy machine may not find it within its second, which says nothing."""
    wait_for(lambda: complete() == expected, what=f"completed as {expected}")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gnjobs show ph", ["pheno-1", "pheno-2"]),
        ("gnjobs kill ", ["pheno-1"]),
        ("gnjobs rm ", ["pheno-2"]),
        ("gnjobs wait pheno-1 ", []),
        ("gnjobs logs pheno-1 --child ", ["geno.tsv"]),
        ("gnjobs ls --user js", ["jsmith"]),
        ("gnjobs met", ["metrics"]),
        ("gnjobs --prefix other show ", []),
    ],
)
def test_ids_children_and_users_are_completed(
    server: Server, jobs: None, line: str, expected: list[str]
) -> None:
    wait_until_completed(lambda: completed(server.url, "bash", line), [f"plain,{word}" for word in expected])


def test_jobs_of_a_prefix_that_the_configuration_describes_are_completed(
    server: Server, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('prefix = ["mine"]\n[layouts.mine]\nlike = "GN3::JOBS"\n')
    job_id = json_job(server.client(), "mine")
    server.client().zadd(Keys("mine", LAYOUTS["GN3::JOBS"]).jobs, {job_id: time.time()})
    assert completed(server.url, "bash", f"gnjobs --config {config} show ") == [f"plain,{job_id}"]


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_nothing_that_a_shell_would_run_is_offered(server: Server, store: JobStore, shell: str) -> None:
    for place, user in enumerate(("zz$(touch${IFS}x)", "zz;x", "zz\nplain,x", "zz@example.org", "zz+1")):
        job_id = store.create(["true"], job_id=f"pheno-{place}").id
        store.client.hset(KEYS.job(job_id), "user-id", user)
    for child in ("a$(touch${IFS}x).tsv", "b`x`", "geno.tsv"):
        store.client.hset(KEYS.job("pheno-0"), f"child:{child}", KEYS.child_output("pheno-0", "geno.tsv"))
    users = wait_for(lambda: completed(server.url, shell, "gnjobs ls --user zz"))
    assert {word.removeprefix("plain,") for word in users} - {"plain", "_"} == {"zz+1", "zz@example.org"}
    children = wait_for(lambda: completed(server.url, shell, "gnjobs logs pheno-0 --child "))
    assert "geno.tsv" in " ".join(children)
    assert not set("$`;") & set("".join(users + children))


def test_zsh_and_fish_say_what_each_job_is(server: Server, jobs: None) -> None:
    for shell, expected in {
        "zsh": ["plain", "pheno-1", "pending: July"],
        "fish": ["plain,pheno-1\tpending: July"],
    }.items():
        wait_until_completed(lambda shell=shell: completed(server.url, shell, "gnjobs kill "), expected)


def test_what_takes_too_long_to_be_found_is_left_out() -> None:
    first = CompletionItem("first")

    def found() -> Iterator[CompletionItem]:
        yield first
        time.sleep(60)
        yield CompletionItem("second")

    assert _quietly(found()) == [first]


def test_without_a_server_nothing_is_completed_and_nothing_said(server: Server) -> None:
    assert completed(f"redis://127.0.0.1:{free_port()}/0", "bash", "gnjobs show ") == []


def test_bash_completes_by_the_script_that_is_printed(server: Server, jobs: None) -> None:
    script = (
        'eval "$(gnjobs completion bash)"; COMP_WORDS=(gnjobs show ph); COMP_CWORD=2; '
        '_gnjobs_completion gnjobs; echo "${COMPREPLY[@]}"'
    )
    bash = ["bash", "-c", script]

    def complete() -> str:
        env = environment(server.url, PATH=ON_PATH)
        return subprocess.run(bash, env=env, stdout=PIPE, stderr=STDOUT, text=True).stdout

    wait_until_completed(complete, "pheno-1 pheno-2\n")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_their_scripts(server: Server, shell: str) -> None:
    script = run(server.url, "completion", shell).stdout
    assert "_GNJOBS_COMPLETE" in script
    if shutil.which(shell):
        parsed = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert (parsed.returncode, parsed.stderr) == (0, "")


def test_the_manual_page_has_every_command_and_reads_well(server: Server, tmp_path: Path) -> None:
    page = tmp_path / "gnjobs.1"
    page.write_text(run(server.url, "man").stdout)
    assert page.read_text().startswith(".TH GNJOBS 1 ")
    if not shutil.which("man"):
        pytest.skip("there is no man here")
    env = environment("", MANWIDTH="100", LC_ALL="C.UTF-8", MANROFFOPT="-c")
    shown = subprocess.run(["man", "--warnings", "-l", str(page)], env=env, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = [line.strip() for line in shown.stdout.splitlines()]
    for name in COMMANDS:
        assert any(line.startswith(f"gnjobs {name} ") for line in lines), name
    for heading in ("NAME", "SYNOPSIS", "COMMANDS", "FILTERS", "OUTPUT FOR PROGRAMS", "EXIT STATUS", "FILES"):
        assert heading in lines
    assert "--no-wait" in lines
    assert "age>2h ended<1d run<=10m silent>10m faults>0 cpu>90 percent<50 children>1" in lines
