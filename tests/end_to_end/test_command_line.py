"""The command line against a real server, as a person or a script would use it."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gnjobs.processes.host import own_account
from gnjobs.records.keys import Keys
from gnjobs.store import JobStore
from tests.support.command import environment, run
from tests.support.servers import Server, free_port
from tests.support.stored_records import write_child, write_running
from tests.support.supervised import KEYS
from tests.support.terminal import gnjobs
from tests.support.uploader_double.web import create_job
from tests.support.waiting import wait_for

# What scripts have always seen, in this order; whatever else there is comes after it.
JOB_NAMES = (
    "id type user label command status health percent faults created started finished heartbeat host account "
    "pid exit_code signal error message children"
).split()
PYTHON = sys.executable


def start(server: Server, *command: str, options: tuple[str, ...] = ()) -> str:
    """Start a detached job and return its id once it runs."""
    done = run(server.url, "run", "--detach", *options, "--", *command)
    assert done.returncode == 0, done.stderr
    job_id = done.stdout.strip()
    store = JobStore.from_url(server.url)
    wait_for(lambda: store.get(job_id).status != "pending", what="the job to start")
    return job_id


def test_version_is_said_without_a_server() -> None:
    done = run(f"redis://127.0.0.1:{free_port()}/0", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("gnjobs ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_takes_everything(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *gnjobs("--version")], capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (closed != ">&-")


@pytest.mark.parametrize(
    ("command", "code"), [(("true",), 0), (("false",), 1), (("sh", "-c", "kill -9 $$"), 137)]
)
def test_run_exits_as_the_command_did(server: Server, command: tuple[str, ...], code: int) -> None:
    assert run(server.url, "run", "--", *command).returncode == code


def test_run_exits_as_the_command_did_where_the_parent_ignores_sigchld(server: Server) -> None:
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run(
        [PYTHON, "-c", script, *gnjobs("run", "--", "false")],
        env=environment(server.url),
        capture_output=True,
    )
    assert done.returncode == 1


def test_a_command_that_does_not_exist_is_a_failed_job_that_says_so(server: Server, store: JobStore) -> None:
    done = run(server.url, "run", "--", "/no/such/command")
    job = store.get(done.stdout.split()[0])
    assert done.returncode == 127
    assert job.status == "error"
    assert "/no/such/command" in (job.error or "")


def test_options_of_the_command_belong_to_it(server: Server, store: JobStore) -> None:
    done = run(server.url, "run", "--label", "mine", "--", "echo", "--label", "its", "-n")
    assert store.get(done.stdout.split()[0]).command == "echo --label its -n"


def test_global_options_may_stand_after_the_subcommand(server: Server) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    assert run(nowhere, "ls", "--redis-url", server.url).returncode == 0
    assert run(nowhere, "--redis-url", server.url, "ls").returncode == 0


def test_ls_lists_newest_first_in_json(server: Server) -> None:
    ids = [run(server.url, "run", "--label", f"job {n}", "--", "true").stdout.split()[0] for n in range(3)]
    listed = [json.loads(line) for line in run(server.url, "ls", "--json").stdout.splitlines()]
    assert [job["id"] for job in listed] == ids[::-1]
    assert all(list(job)[: len(JOB_NAMES)] == JOB_NAMES for job in listed)
    assert {job["status"] for job in listed} == {"success"}


def test_ls_filters_and_limits(server: Server) -> None:
    for label in ("pheno one", "geno", "pheno two"):
        run(server.url, "run", "--label", label, "--", "true")
    found = run(server.url, "ls", "--filter", "pheno state:done", "--json").stdout.splitlines()
    assert [json.loads(line)["label"] for line in found] == ["pheno two", "pheno one"]
    assert len(run(server.url, "ls", "--limit", "2", "--json").stdout.splitlines()) == 2
    assert run(server.url, "ls", "--filter", "age>soon").returncode == 2


def test_ls_lists_after_the_indexed_jobs_those_that_no_index_has(server: Server) -> None:
    theirs = create_job(server.client(), ["true"], "qc", user_id="jsmith", filename="bundle.zip")
    ours = run(server.url, "run", "--user", "jsmith", "--", "true").stdout.split()[0]
    for arguments in ((), ("--user", "jsmith"), ("--filter", "user:jsmith")):
        listed = run(server.url, "ls", "--json", *arguments).stdout.splitlines()
        assert [json.loads(line)["id"] for line in listed] == [ours, theirs]
    assert len(run(server.url, "ls", "--json", "--limit", "1").stdout.splitlines()) == 1


def test_show_tells_all_in_json(server: Server) -> None:
    job_id = run(server.url, "run", "--", "sh", "-c", "echo out; echo wrong >&2").stdout.split()[0]
    shown = json.loads(run(server.url, "show", job_id[:8], "--json").stdout)
    assert list(shown)[: len(JOB_NAMES)] == JOB_NAMES
    assert {"evidence", "silence", "report"} <= set(shown)
    assert shown["children"] == []
    assert shown["exit_code"] == 0
    assert shown["report"]["headline"]


@pytest.mark.parametrize("grace", ["nan", "inf", "-1", "1e9", "soon"])
def test_a_grace_that_is_no_time_is_refused(server: Server, grace: str) -> None:
    refused = run(server.url, "kill", "some-job", "--grace", grace)
    assert (refused.returncode, "--grace" in refused.stderr) == (2, True)


def test_a_child_outside_of_its_job_hides_nothing_else(server: Server, store: JobStore) -> None:
    job_id = run(server.url, "run", "--", "true").stdout.split()[0]
    store.client.hset(KEYS.job(job_id), mapping={"child:bad": "secret", "child:worse": KEYS.job(job_id)})
    shown = json.loads(run(server.url, "show", job_id, "--json").stdout)
    assert [(child["id"], child["lines"]) for child in shown["children"]] == [("bad", None), ("worse", None)]
    assert run(server.url, "show", job_id).returncode == 0
    assert "lies outside its job" in run(server.url, "show", job_id, "--faults").stderr


def test_kill_says_each_step_and_succeeds_only_when_all_is_gone(server: Server, store: JobStore) -> None:
    job_id = start(server, "sh", "-c", "sleep 1000 & sleep 1001")
    wait_for(lambda: store.get(job_id).pid)
    group = psutil.Process(store.get(job_id).pid)
    everyone = [group, *wait_for(lambda: group.children(recursive=True))]
    done = run(server.url, "kill", job_id, "--reason", "runaway")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout
    assert not any(process.is_running() and process.status() != "zombie" for process in everyone)
    job = store.get(job_id)
    assert (job.status, job.stop_reason) == ("killed", "runaway")
    assert job.stop_by
    said = run(server.url, "log").stdout
    assert job_id in said
    assert "runaway" in said


def test_a_kill_goes_on_though_nobody_reads_what_it_says(server: Server, store: JobStore) -> None:
    job_id = start(server, "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    job = wait_for(lambda: found if (found := store.get(job_id)).pid else None)
    psutil.Process(job.supervisor_pid).kill()
    line = gnjobs("kill", job_id, "--grace", "1", "--redis-url", server.url)
    unbuffered = environment(server.url, PYTHONUNBUFFERED="1")
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=unbuffered) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 0
    assert store.get(job_id).status == "killed"


@pytest.mark.parametrize("module", ["gnjobs_tui.cli.session", "gnjobs.text"])
def test_a_complaint_that_nobody_reads_ends_nothing(module: str) -> None:
    code = f"from {module} import complain; complain('one'); complain('another'); print('done', flush=True)"
    with subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.close()
        assert process.stdout.read() == b"done\n"
        assert process.wait(60) == 0


def test_on_end_of_the_configuration_runs_when_a_job_ends(server: Server, tmp_path: Path) -> None:
    config, said = tmp_path / "config.toml", tmp_path / "said"
    config.write_text(f'on-end = ["sh", "-c", "cat > {said}.part; mv {said}.part {said}"]\n')
    job_id = run(server.url, "run", "--config", str(config), "--detach", "--", "true").stdout.strip()
    wait_for(said.exists)
    told = json.loads(said.read_text())
    assert (told["id"], told["status"], told["command"]) == (job_id, "success", "true")


def test_wait_rm_rerun_and_users(server: Server, store: JobStore) -> None:
    job_id = start(server, "sh", "-c", "sleep 0.3; exit 3", options=("--user", "jsmith", "--label", "it's"))
    assert run(server.url, "wait", job_id).returncode == 1
    line = run(server.url, "rerun", job_id).stdout
    assert "--user jsmith" in line
    assert "sh -c 'sleep 0.3; exit 3'" in line
    assert "jsmith" in run(server.url, "users").stdout
    running = start(server, "sleep", "1000")
    refused = run(server.url, "rm", running)
    assert refused.returncode == 1
    assert run(server.url, "kill", "--force", running).returncode == 0
    assert run(server.url, "rm", job_id).returncode == 0
    assert run(server.url, "show", job_id).returncode == 3
    assert not list(store.client.scan_iter(f"{Keys().job(job_id)}*"))


def test_exit_codes_and_one_line_on_stderr(server: Server) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    run(server.url, "run", "--id", "twin-1", "--", "true")
    run(server.url, "run", "--id", "twin-2", "--", "true")
    cases = {
        ("show", "nothing-like-it"): 3,
        ("show", "twin"): 2,
        ("show", "tw"): 2,
        ("run", "--id", "a:b", "--", "true"): 2,
        ("run", "--id", "twin-1", "--", "true"): 1,
        ("logs", "twin-1", "--child", "none"): 3,
    }
    for arguments, code in cases.items():
        done = run(server.url, *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 4
    done = run(nowhere, "ls")
    assert done.returncode == 5
    assert len(done.stderr.strip().splitlines()) == 1


def test_ls_imports_nothing_of_the_dashboard(server: Server) -> None:
    script = (
        "import sys; sys.argv = ['gnjobs', 'ls', '--json']\n"
        "from gnjobs_tui.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'textual', 'rich', 'psutil'}))"
    )
    done = subprocess.run([PYTHON, "-c", script], env=environment(server.url), capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


QC_JOB = """
from gnjobs import current_job

def check(name, child):
    child.progress(3, 10, unit="rows")
    for row in range(1, 4):
        child.fault({"row": row, "column": 2, "value": "=x", "expected": "a number"})
    child.fault({"filename": "old.tsv", "rowtitle": "r", "cellvalue": "y", "message": "Invalid value"})

if __name__ == "__main__":
    with current_job() as job:
        job.run_children(check, ["a.tsv"])
"""


def test_faults_are_shown_grouped_and_listed_with_their_file(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "qc_job.py"
    script.write_text(QC_JOB)
    job_id = run(server.url, "run", "--type", "qc", "--", PYTHON, str(script)).stdout.split()[0]
    shown = run(server.url, "show", job_id).stdout
    assert "4 faults in 2 files" in shown
    assert [line.split() for line in shown.splitlines() if "needs a number" in line] == [
        ["a.tsv", "row", "1,", "column", "2", "(B):", "found", '"=x",', "needs", "a", "number", "×3"]
    ]
    rows = run(server.url, "show", job_id, "--faults", "--csv").stdout.splitlines()
    assert rows[1:] == [
        *(f"a.tsv,{row},,2,,'=x,a number" for row in (1, 2, 3)),
        "old.tsv,,r,,,y,Invalid value",
    ]


def test_show_draws_no_child_as_done_that_is_not_and_the_last_words_of_a_traceback(server: Server) -> None:
    write_running(server, "job-1")
    write_child(server, "job-1", "late.tsv", percent=99.6)
    write_child(server, "job-1", "bad.tsv", status="error", error="Traceback:\n  x\nKeyError: 'axolotl'\n")
    lines = run(server.url, "show", "job-1").stdout.splitlines()
    assert [line.split()[3] for line in lines if "late.tsv" in line] == ["99%"]
    assert [line.rstrip().endswith("KeyError: 'axolotl'") for line in lines if "bad.tsv" in line] == [True]


@pytest.mark.faults
def test_the_stuck_child_is_told_from_its_siblings(server: Server, store: JobStore) -> None:
    code = (
        "import threading\nfrom gnjobs import ChildOutput, current_job\n"
        "with current_job() as job:\n"
        "    keys = job.allocate_children(['fine', 'hangs'])\n"
        "    fine, hangs = (ChildOutput(key) for key in keys)\n"
        "    while True:\n        fine.print('alive'); threading.Event().wait(0.2)"
    )
    job_id = start(server, PYTHON, "-c", code, options=("--stuck-after", "4"))
    try:
        expected = {"hangs": "! STUCK", "fine": "● running"}
        wait_for(lambda: child_states(server, job_id) == expected, 90, "one child alone to be called stuck")
    finally:
        run(server.url, "kill", job_id, "--force")


def child_states(server: Server, job_id: str) -> dict[str, str]:
    """The state of each child as `show` draws it."""
    lines = [line.split() for line in run(server.url, "show", job_id).stdout.splitlines()]
    return {
        words[2]: " ".join(words[:2]) for words in lines if len(words) > 2 and words[2] in ("fine", "hangs")
    }


def test_a_curator_is_told_of_no_ids_but_hers(server: Server, store: JobStore, tmp_path: Path) -> None:
    own = tmp_path / "config.toml"
    own.write_text(f"[users]\n{own_account()} = 'jsmith'\n")
    for job_id, user in (
        ("twin-1", "jsmith"),
        ("twin-2", "agunn"),
        ("other-1", "agunn"),
        ("other-2", "agunn"),
    ):
        store.create(["true"], job_id=job_id, user_id=user)
    options = ("--config", str(own))
    assert run(server.url, "show", "twin", *options).stdout.count("twin-1")
    hidden = run(server.url, "show", "other", *options)
    assert (hidden.returncode, "other-" in hidden.stderr) == (3, False)
    refused = run(server.url, "run", "--user", "agunn", *options, "--", "true")
    assert (refused.returncode, "her user ids are jsmith" in refused.stderr) == (4, True)
    assert run(server.url, "agent", *options).returncode == 4


def test_no_password_is_said_of_a_url_that_is_wrong_or_stands_at_the_wrong_place() -> None:
    for arguments in (
        ("--redis-urrl=redis://:secret@db1/0", "ls"),
        ("redis://:secret@db1/0",),
        ("ls", "redis://:secret@db1/0"),
        ("--redis-url", "http://:secret@db1/0", "ls"),
        ("--redis-url", "redis://:secret@db1:port/0", "ls"),
    ):
        done = run("redis://127.0.0.1:1/0", *arguments)
        assert done.returncode == 2, arguments
        assert "secret" not in done.stderr + done.stdout, arguments
