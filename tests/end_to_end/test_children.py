"""A job with children, whole: its keys in Redis, its ends, its kills, as the design promises them."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from gnjobs import JobStore, Line, kill_job
from gnjobs.records.actor import Actor
from gnjobs.records.keys import Keys
from gnjobs.records.statuses import FINAL_STATUSES
from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.supervised import supervised
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for

CHILDREN = [sys.executable, "-m", "tests.end_to_end.jobs.children"]


def run_children(server: Server, *names: str) -> str:
    """Run a job with these children to its end; return its id."""
    return run(server.url, "run", "--type", "qc", "--user", "jsmith", "--", *CHILDREN, *names).stdout.split()[
        0
    ]


def children(store: JobStore, job_id: str) -> Mapping[str, object]:
    """The job's children by id."""
    return {child.id: child for child in store.all_children(job_id)}


def test_the_keys_are_exactly_those_of_the_design(server: Server, store: JobStore) -> None:
    job_id = run_children(server, "a", "b", "c", "d")
    keys = Keys()
    expected = {keys.jobs, keys.users, keys.user_jobs("jsmith"), keys.events}
    expected |= {keys.job(job_id), keys.processes(job_id)}
    for child_id in "abcd":
        expected |= {keys.child(job_id, child_id), keys.child_output(job_id, child_id)}
    found = {key.decode() for key in server.client().scan_iter("*")}
    assert (
        expected - {keys.processes(job_id)} <= found <= expected | {keys.answers(job_id), keys.output(job_id)}
    )
    assert all(server.client().ttl(key) > 0 for key in found if key.startswith(keys.jobs_namespace))


def test_ids_of_entries_are_line_numbers(server: Server, store: JobStore) -> None:
    job_id = run_children(server, "a")
    entries = server.client().xrange(Keys().child_output(job_id, "a"))
    last, fields = entries[-1]
    assert last == b"3-0"
    assert list(fields) == [b"at", b"kind", b"data"]
    first = store.output(job_id, "a").read(1, 10)[0]
    assert isinstance(first, Line)
    assert "a 0" in first.text


def test_a_plain_function_changes_the_report(server: Server, store: JobStore) -> None:
    job_id = run_children(server, "a", "b")

    def count_lines(lines: Iterable[Line]) -> str:
        return f"{sum(1 for _ in lines)} lines counted"

    assert store.status(job_id, processor=count_lines).report.headline == "6 lines counted"
    assert store.status(job_id).report.headline != "6 lines counted"


def test_a_crash_leaves_a_child_with_its_signal_and_siblings_that_finish(
    server: Server, store: JobStore
) -> None:
    job_id = run_children(server, "a", "crashes", "raises", "b")
    found = children(store, job_id)
    assert {child_id: child.status for child_id, child in found.items()} == {
        "a": "success",
        "b": "success",
        "crashes": "error",
        "raises": "error",
    }
    assert found["crashes"].signal == 9
    assert "Traceback" in found["raises"].error
    assert "ValueError: raises cannot go on" in found["raises"].error


SCRIPT = """
from gnjobs import current_job

def check(item, child):
    return item

with current_job() as job:
    job.run_children(check, ["a", "b"], max_workers=1)
"""


@pytest.mark.sampled
@pytest.mark.parametrize("how", ["file", "-c", "stdin"])
def test_a_script_that_children_cannot_import_is_told_the_ways_out(
    server: Server, store: JobStore, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "unguarded.py"
    path.write_text(SCRIPT)
    words = {"file": [str(path)], "-c": ["-c", SCRIPT], "stdin": ["-"]}[how]
    with path.open() as file:
        ended = subprocess.run(
            gnjobs("run", "--", sys.executable, *words),
            stdin=file,
            env=environment(server.url),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert "TypeError: check: a child could not get it" in ended.stderr
    assert '__name__ == "__main__"' in ended.stderr
    job = store.get(ended.stdout.split()[0])
    assert (job.status, job.children) == ("error", 2)
    found = children(store, job.id)
    assert {child_id: child.status for child_id, child in found.items()} == {"a": "error", "b": "killed"}


def test_what_ends_by_itself_with_the_job_is_not_called_left_running(server: Server, store: JobStore) -> None:
    code = "import os; os.fork()"
    for _ in range(3):
        ended = run(server.url, "run", "--", sys.executable, "-c", code)
        assert store.get(ended.stdout.split()[0]).error is None


def test_a_killed_child_makes_its_job_say_by_whom_and_why(server: Server, store: JobStore) -> None:
    started = run(server.url, "run", "--detach", "--label", "two", "--", *CHILDREN, "a", "waits")
    job_id = started.stdout.strip()
    waiting = wait_for(
        lambda: next((c for c in store.all_children(job_id) if c.id == "waits" and c.done == 3), None)
    )
    assert waiting.status == "running"
    killed = run(server.url, "kill", job_id, "--child", "waits", "--reason", "runaway")
    assert killed.returncode == 0, killed.stdout + killed.stderr
    job = wait_for(lambda: (found := store.get(job_id)).status in FINAL_STATUSES and found)
    assert job.status == "error"
    assert "1 of 2 children killed by" in job.error
    assert "runaway" in job.error
    assert children(store, job_id)["a"].status == "success"
    assert "runaway" in run(server.url, "log").stdout


def test_children_of_a_job_that_is_killed_without_its_supervisor_end_with_it(
    server: Server, store: JobStore
) -> None:
    command = [*CHILDREN, "a", "waits 1", "waits 2", "waits 3", "waits 4"]
    with supervised(server, command) as job:
        wait_for(lambda: any(child.status == "running" for child in store.children(job.id)))
        job.processes[0].kill()
        job.processes[0].wait()
        *_, last = kill_job(store, job.id, actor=Actor.admin("tux"), reason="no supervisor", grace=1.0)
        assert last.verified
        found = children(store, job.id)
        assert {child.status for child in found.values()} <= {"success", "killed"}
        assert {child.stop_by for child in found.values() if child.status == "killed"} == {"tux"}
