"""What scripts use: many jobs at once by a filter, waiting with an end, lines for programs, events to go on behind."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gnjobs.store import JobStore
from gnjobs.supervisor.launch import launch
from gnjobs_tui.cli.log import TERMINAL_EVENTS
from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, python
from tests.support.terminal import Terminal, gnjobs
from tests.support.waiting import wait_for

README = Path(__file__).parents[2] / "gnjobs_tui" / "README.md"


def waiting_jobs(store: JobStore, *labels: str) -> list[str]:
    """Jobs that nobody has started."""
    return [store.create(["true"], label=label, user_id="jsmith").id for label in labels]


def ended_job(store: JobStore, job_id: str, status: str = "success") -> str:
    """A job that ended without ever having run."""
    store.create(["true"], job_id=job_id, label=job_id)
    store.client.hset(KEYS.job(job_id), mapping={"status": status, "finished": store.now()})
    store.client.zrem(KEYS.unfinished, job_id)
    return job_id


def on_terminal(server: Server, *arguments: str, **env: str) -> Terminal:
    """The command on a terminal."""
    return Terminal(gnjobs(*arguments), 100, 80, environment(server.url, **({"LC_ALL": "C.UTF-8"} | env)))


def screen_of(server: Server, *arguments: str, **env: str) -> str:
    """What the command leaves on a terminal."""
    with on_terminal(server, *arguments, **env) as terminal:
        terminal.wait_closed()
        terminal.wait_read()
        return terminal.text


def test_a_filter_kills_what_matches_and_says_what_became_of_each(
    server: Server, store: JobStore, sleeper: SupervisedJob
) -> None:
    store.client.hset(KEYS.job(sleeper.id), "label", "pheno at work")
    first, second, other = waiting_jobs(store, "pheno one", "pheno two", "geno")
    store.client.zrem(KEYS.jobs, first)  # what is missing in one of the indexes is no job more
    refused = run(server.url, "kill", "--filter", "pheno")
    assert (refused.returncode, "3 jobs would be killed: add --yes" in refused.stderr) == (2, True)
    assert store.get(first).status == "pending"
    done = run(server.url, "kill", "--filter", "pheno", "--yes", "--reason", "cleaning up")
    said = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert (done.returncode, set(said)) == (0, {first, second, sleeper.id})
    assert said[sleeper.id].startswith("verified: 1 of 1 gone")
    assert [store.get(job_id).status for job_id in (first, second, sleeper.id)] == ["killed"] * 3
    assert (store.get(first).stop_reason, store.get(other).status) == ("cleaning up", "pending")
    nothing = run(server.url, "kill", "--filter", "pheno", "--yes")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "no job that has not ended matches pheno" in nothing.stderr


def test_the_worst_of_many_kills_is_the_exit_code(server: Server, store: JobStore) -> None:
    elsewhere, here = waiting_jobs(store, "elsewhere", "here")
    seen = {"status": "running", "host": "gn-web9", "supervisor-pid": 1, "heartbeat": store.now()}
    store.client.hset(KEYS.job(elsewhere), mapping=seen)
    done = run(server.url, "kill", "--filter", "state:running,waiting", "--yes")
    said = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert (done.returncode, store.get(here).status) == (1, "killed")
    assert "nobody answers on gn-web9" in said[elsewhere]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("kill", "--filter", "", "--yes"), "an empty filter means no job"),
        (("kill", "--filter", "age>soon", "--yes"), "age> needs a length of time"),
        (("kill", "some-id", "--filter", "x"), "give ids, or --filter"),
        (("kill",), "give ids, or --filter"),
        (("rm", "some-id", "--yes"), "--yes goes with --filter"),
        (("wait", "some-id", "--timeout", "soon"), "not a length of time"),
        (("ls", "--json", "--tsv"), "exclude each other"),
        (("log", "--after", "$"), "excludes --since"),
        (("metrics", "--listen", "here"), "is not an address"),
        (("ls", "--redis-url", "redis://127.0.0.1/abc"), "the database is a number such as 0, not 'abc'"),
        (("ls", "--redis-url", "redis://127.0.0.1:abc/0"), "the port is a number such as 6379"),
        (("ls", "--redis-url", "db1"), "it begins with redis://, rediss:// or unix://"),
        (("ls", "--redis-url", "db1:6379"), "it begins with redis://, rediss:// or unix://"),
        (("shw",), "Did you mean 'show'?"),
    ],
)
def test_wrong_use_is_refused_at_once_and_says_why(
    server: Server, arguments: tuple[str, ...], why: str
) -> None:
    done = run(server.url, *arguments)
    assert (done.returncode, why in done.stderr) == (2, True), done.stderr


def test_on_a_terminal_the_number_is_asked_for(server: Server, store: JobStore) -> None:
    ids = waiting_jobs(store, "pheno one", "pheno two")
    with on_terminal(server, "kill", "--filter", "pheno") as terminal:
        screen = terminal.wait_for("Type 2 to have all 2 killed")
        assert f"{ids[0][:8]}  waiting   jsmith" in screen
        terminal.send("y\r")
        assert terminal.wait_closed() == 1
        terminal.wait_for("nothing was killed")
    assert store.get(ids[0]).status == "pending"
    with on_terminal(server, "kill", "--filter", "pheno") as terminal:
        terminal.wait_for("Type 2")
        terminal.send("2\r")
        assert terminal.wait_closed() == 0
    assert [store.get(job_id).status for job_id in ids] == ["killed", "killed"]


def test_each_job_that_is_shown_has_one_line(server: Server, store: JobStore) -> None:
    store.create(["true"], label="geno" + " " * 80 + "4be2d2c1  running   tux  db1  INSERT")
    with on_terminal(server, "kill", "--filter", "geno") as terminal:
        assert "INSERT" not in terminal.wait_for("Type 1")
        terminal.send("\r")
        terminal.wait_closed()


def test_a_job_that_got_the_id_of_one_that_was_shown_is_left_out(server: Server, store: JobStore) -> None:
    for job_id in ("nightly", "other"):
        store.create(["true"], job_id=job_id, label="geno")
    with on_terminal(server, "kill", "--filter", "geno") as terminal:
        terminal.wait_for("Type 2")
        store.client.delete(KEYS.job("nightly"))
        store.create(["true"], job_id="nightly", label="another")
        terminal.send("2\r")
        terminal.wait_for("nightly is another job by now, and is left out")
        terminal.wait_closed()
    assert [store.get(job_id).status for job_id in ("nightly", "other")] == ["pending", "killed"]


def test_who_waits_for_a_job_is_not_told_how_a_later_one_of_its_id_ended(
    server: Server, store: JobStore
) -> None:
    ended_job(store, "nightly", "at work")
    with on_terminal(server, "wait", "nightly") as terminal:
        terminal.wait_for("which means nothing here")
        store.client.delete(KEYS.job("nightly"))
        ended_job(store, "nightly")
        terminal.wait_for("job nightly was removed")
        assert terminal.wait_closed() == 3


def test_who_follows_a_job_is_not_kept_by_a_later_one_of_its_id(server: Server, store: JobStore) -> None:
    job = store.create(["true"], job_id="nightly")
    store.client.xadd(KEYS.output("nightly"), {"at": 1, "kind": "out", "data": "of the first"}, id="1-0")
    with on_terminal(server, "logs", "-f", "nightly") as terminal:
        terminal.wait_for("of the first")
        store.client.hset(KEYS.job("nightly"), "created", (job.created or 0.0) + 1)
        terminal.wait_for("another job has the id nightly by now")
        assert terminal.wait_closed() == 3


def test_rm_by_a_filter_removes_what_has_ended_and_goes_on_behind_a_refusal(
    server: Server, store: JobStore
) -> None:
    (waits,) = waiting_jobs(store, "old one")
    ended_job(store, "old-1"), ended_job(store, "old-2"), ended_job(store, "new-1")
    assert run(server.url, "rm", "--filter", "old").returncode == 2
    done = run(server.url, "rm", "--filter", "old", "--yes")
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, ["old-1  removed", "old-2  removed"])
    worst = run(server.url, "rm", waits, "new-1")
    assert (worst.returncode, worst.stdout) == (1, "new-1  removed\n")
    assert "only jobs that have ended are removed" in worst.stderr


def test_wait_for_any_for_all_that_match_and_not_for_ever(server: Server, store: JobStore) -> None:
    first, second = waiting_jobs(store, "pheno one", "pheno two")
    late = run(server.url, "wait", "--filter", "pheno", "--timeout", "0.2s")
    assert (late.returncode, late.stdout) == (1, "")
    assert re.search(f"not ended within 0 s: .*{first}", late.stderr)
    store.client.hset(KEYS.job(first), mapping={"status": "success", "finished": store.now()})
    assert run(server.url, "wait", first, second, "--any").stdout == f"{first}  success\n"
    store.client.hset(KEYS.job(second), mapping={"status": "error", "error": "exit code 3"})
    both = run(server.url, "wait", first, second)
    assert (both.returncode, both.stdout) == (1, f"{first}  success\n{second}  error  exit code 3\n")
    assert run(server.url, "wait", "--filter", "pheno").returncode == 0


def test_into_a_pipe_all_are_listed_and_a_terminal_is_told_how_many_more(
    server: Server, store: JobStore
) -> None:
    waiting_jobs(store, *(f"job {number}" for number in range(57)), "other")
    assert len(run(server.url, "ls").stdout.splitlines()) == 58
    assert len(run(server.url, "ls", "--filter", "job", "--json").stdout.splitlines()) == 57
    screen = screen_of(server, "ls")
    assert screen.count("waiting") == 50
    assert "and 8 more; --limit N lists them" in screen
    assert "0 %" not in screen, "nobody reported anything"
    assert "and 7 more" in screen_of(server, "ls", "--filter", "job")
    assert "more" not in screen_of(server, "ls", "--limit", "60")


def test_a_terminal_is_shown_the_newest_events_and_told_how_many_are_older(
    server: Server, store: JobStore
) -> None:
    pipe = store.client.pipeline(transaction=False)
    for number in range(TERMINAL_EVENTS + 10):
        pipe.xadd(KEYS.events, {"kind": "ended", "text": f"event {number}."})
    pipe.execute()
    assert len(run(server.url, "log").stdout.splitlines()) == TERMINAL_EVENTS + 10
    screen = screen_of(server, "log")
    assert f"event {TERMINAL_EVENTS + 9}." in screen
    assert "and 10 older; into a pipe all are listed" in screen


def test_what_logs_suggests_may_be_pasted_whatever_a_part_is_called(server: Server, store: JobStore) -> None:
    store.client.hset(KEYS.job("foreign"), mapping={"status": "success", "command": "x"})
    part = "qc/errors/x'; touch owned; echo '"
    store.client.rpush(f"{KEYS.job('foreign')}:{part.replace('/', ':')}", "first", "second")
    said = run(server.url, "logs", "foreign").stderr
    option, child, *_ = shlex.split(said.partition("; try ")[2])
    assert (option, child) == ("--child", part)
    assert run(server.url, "logs", "foreign", option, child).stdout == "first\nsecond\n"


def documented(heading: str) -> list[str]:
    """The names in the table of the README behind a text."""
    _, _, rest = README.read_text().partition(heading)
    table = rest.strip().split("\n\n")[0].splitlines()[2:]
    return [row.split("`")[1] for row in table]


def test_json_and_tsv_have_the_columns_that_the_readme_names(server: Server, store: JobStore) -> None:
    names = documented("has them as columns:")
    job_id = store.create(["echo", "a\tb\n"], label="tab\there").id
    (listed,) = (json.loads(line) for line in run(server.url, "ls", "--json").stdout.splitlines())
    assert list(listed) == names
    heading, row = run(server.url, "ls", "--tsv").stdout.splitlines()
    assert heading.split("\t") == names
    cells = dict(zip(names, row.split("\t"), strict=True))
    assert (cells["id"], cells["label"], cells["finished"]) == (job_id, "tab\\there", "")
    store.client.hset(KEYS.job(job_id), f"child:{'c'}", KEYS.child_output(job_id, "c"))
    shown = json.loads(run(server.url, "show", job_id, "--json").stdout)
    assert list(shown) == [*names, *(n for n in documented("prints the same, with") if n not in names)]
    assert list(shown["children"][0]) == documented("of which each child has")


def test_ls_json_says_why_and_for_how_long(server: Server, store: JobStore) -> None:
    (job_id,) = waiting_jobs(store, "silent")
    now = store.now()
    seen = {"status": "running", "started": now - 900, "last-output": now - 600, "heartbeat": now}
    store.client.hset(KEYS.job(job_id), mapping=seen)
    job = json.loads(run(server.url, "ls", "--json").stdout)
    assert (job["health"], job["silence"]) == ("quiet", 600.0)
    assert job["evidence"][0].startswith("no line and no progress for 10 min")


def test_the_log_gives_ids_and_goes_on_behind_one(server: Server, store: JobStore) -> None:
    for job_id in ("first-1", "second-1"):
        ended_job(store, job_id)
        run(server.url, "rm", job_id)
    first, second = (line.split("\t") for line in run(server.url, "log").stdout.splitlines())
    assert (first[2], second[2]) == ("first-1", "second-1")
    after = run(server.url, "log", "--after", first[-1], "--json").stdout
    assert [json.loads(line)["id"] for line in after.splitlines()] == [second[-1]]
    assert run(server.url, "log", "--after", second[-1]).stdout == ""


SAYING = """
import json
from gnjobs import current_job
with current_job() as job:
    job.log("slow \\x1b[31mread", level="WARNING", logger="gn.qc")
    job.fault({"row": 3, "column": 2, "value": "", "expected": "a value"})
    job.record({"table": "T", "rows": 7})
    print("plain", flush=True)
"""


def test_logs_are_sentences_into_a_pipe_too_where_asked_for(server: Server) -> None:
    job_id = run(server.url, "run", "--", *python(SAYING)).stdout.split()[0]
    sentences = run(server.url, "logs", job_id, "--text").stdout.splitlines()
    assert sorted(sentences) == [
        "WARNING gn.qc: slow ␛[31mread",
        "plain",
        "row 3, column 2 (B): empty cell, needs a value",
        "table=T rows=7",
    ]


CHILDREN = """
import sys
from gnjobs import current_job

def work(item, child):
    child.print(f"working on {item}")
    if item == "pheno se.tsv":
        raise ValueError("no such strain")

with current_job() as job:
    job.run_children(work, ["geno.tsv", "pheno se.tsv"], kind="thread", max_workers=1)
"""


def test_run_exits_with_1_where_a_child_failed_and_a_child_is_found_by_its_label(server: Server) -> None:
    done = run(server.url, "run", "--", *python(CHILDREN))
    assert done.returncode == 1
    assert done.stderr == "gnjobs: the job ended as error: 1 of 2 children failed: pheno se.tsv\n"
    job_id = done.stdout.split()[0]
    assert run(server.url, "logs", job_id, "--child", "geno.tsv").stdout == "working on geno.tsv\n"
    by_label = run(server.url, "logs", job_id, "--child", "pheno se.tsv").stdout
    assert by_label.startswith("working on pheno se.tsv\nTraceback")
    assert run(server.url, "logs", job_id, "--child", "no such").returncode == 3


def test_a_way_to_launch_that_is_none_is_refused_at_once(store: JobStore) -> None:
    with pytest.raises(ValueError, match=r"via is 'detach' or .*, not 'magic'"):
        launch(store.create(["true"]), via="magic", store=store)  # type: ignore[arg-type]


def test_a_dead_job_is_closed_as_lost_and_nobody_says_that_it_was_killed(
    server: Server, store: JobStore, sleeper: SupervisedJob
) -> None:
    (supervisor,) = sleeper.processes
    supervisor.kill()
    supervisor.wait()
    for process in sleeper.alive():
        process.kill()
    wait_for(lambda: not sleeper.alive())
    done = run(server.url, "kill", sleeper.id)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith("was already gone; closed as lost")
    shown = run(server.url, "show", sleeper.id).stdout
    assert "closed by" in shown
    assert "killed by" not in shown


def test_with_the_locale_c_a_terminal_gets_ascii_alone(server: Server, store: JobStore) -> None:
    job_id = ended_job(store, "ascii-1", "error")
    store.client.hset(KEYS.job(job_id), "label", "größer → x" * 20)
    for arguments in (("ls",), ("show", job_id), ("log",), ("users",)):
        screen = screen_of(server, *arguments, LC_ALL="C")
        assert screen.isascii(), screen
    assert "x failed" in screen_of(server, "ls", LC_ALL="C")
    assert "✗ failed" in screen_of(server, "ls")


def test_what_the_encoding_of_the_output_lacks_is_written_as_an_escape(
    server: Server, store: JobStore
) -> None:
    job_id = ended_job(store, "latin-1")
    store.client.hset(KEYS.job(job_id), mapping={"label": "größer → x", "command": "echo 'größer → x'"})
    listed, again = (
        subprocess.check_output(
            gnjobs(*arguments),
            env=environment(server.url, PYTHONIOENCODING="latin-1"),
            stderr=subprocess.STDOUT,
        )
        for arguments in (("ls",), ("rerun", job_id))
    )
    assert b"gr\xf6\xdfer \\u2192 x" in listed
    assert "größer → x".encode() in again  # what is to be run is the record's


def test_a_terminal_that_can_draw_nothing_is_refused_with_a_sentence(server: Server) -> None:
    for arguments in ((), ("demo",)):
        with on_terminal(server, *arguments, TERM="dumb") as terminal:
            assert terminal.wait_closed() == 2
            terminal.wait_for("can't be drawn on this terminal (TERM is dumb)")
