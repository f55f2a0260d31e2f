"""A job whose children fail: an error that names them, unless the job's code says that they may."""

import sys
from pathlib import Path

import pytest

from tests.support.servers import Server
from tests.support.supervised import KEYS, python, supervised
from tests.support.waiting import wait_for

CODE = """
import sys
from gnjobs import current_job

def work(item, child):
    if item != "fine.tsv":
        raise ValueError(item)

with current_job() as job:
    job.run_children(work, ["fine.tsv", "pheno.tsv"], kind="thread", max_workers=1, on_failure=sys.argv[1])
sys.exit(int(sys.argv[2]))
"""
NOTE = "1 of 2 children failed: pheno.tsv"


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("on_failure", "code", "status", "error"),
    [
        ("continue", 0, "error", NOTE),
        ("stop", 0, "error", NOTE),
        ("ignore", 0, "success", None),
        ("continue", 3, "error", f"exit code 3; {NOTE}"),
        ("ignore", 3, "error", "exit code 3"),
    ],
)
def test_a_failed_child_makes_an_error_unless_it_may_fail(
    server: Server, on_failure: str, code: int, status: str, error: str | None
) -> None:
    with supervised(server, python(CODE, on_failure, str(code))) as job:
        done = job.wait_for()
        assert (done.status, done.exit_code) == (status, code)
        assert done.error == error
        assert (done.percent, done.message) == (50, "1 of 2 children done, 1 failed")


FORGETTING = """
import sys
from gnjobs import current_job
from gnjobs.records.connection import connect

def work(item, child):
    with connect(child.url) as client:
        client.delete(child.key.removesuffix(":output"))
    raise ValueError(item)

if __name__ == "__main__":
    with current_job() as job:
        job.run_children(work, ["pheno.tsv"], kind=sys.argv[1], on_failure="ignore")
"""


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_child_may_fail_although_the_server_forgot_that(server: Server, tmp_path: Path, kind: str) -> None:
    script = tmp_path / "job.py"
    script.write_text(FORGETTING)
    with supervised(server, [sys.executable, str(script), kind]) as job:
        done = job.wait_for()
        assert (done.status, done.error) == ("success", None)
        child = job.child("pheno.tsv")
        assert (child.status, child.may_fail) == ("error", True)


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        ("", "error", "1 of 2 children ended without a word: b (exit code 0)"),
        (", may_fail=True", "success", None),
    ],
)
def test_so_does_one_that_was_allocated_and_ended_without_a_word(
    server: Server, options: str, status: str, error: str | None
) -> None:
    code = (
        "import os\nfrom gnjobs import ChildOutput, current_job\n"
        f"with current_job() as job: keys = job.allocate_children('ab'{options})\n"
        "ChildOutput(keys[0]).succeed()\n"
        "child = ChildOutput(keys[1])\nchild.print('begun')\nchild.writer.flush()\nos._exit(0)\n"
    )
    with supervised(server, python(code)) as job:
        done = job.wait_for()
        assert (done.status, done.error) == (status, error)
        assert job.child("b").status == "lost"


@pytest.mark.faults
@pytest.mark.parametrize("own_server", ["valkey"], indirect=True)
def test_that_it_may_fail_is_remembered_for_a_server_that_forgot_it(own_server: Server) -> None:
    code = (
        "import time\nfrom gnjobs import ChildOutput, current_job\n"
        "with current_job() as job: (key,) = job.allocate_children('a', may_fail=True)\n"
        "ChildOutput(key).fail('no such file')\ntime.sleep(600)\n"
    )
    with supervised(own_server, python(code)) as job:
        key = KEYS.child(job.id, "a")
        known = "the supervisor to know of its end"
        wait_for(lambda: (said := job.read().children_summary) and said.counts.get("error"), what=known)
        client = own_server.client()
        client.delete(key)
        client.client_kill_filter(_type="normal", skipme=True)
        wait_for(lambda: client.hmget(key, "status", "label", "may-fail") == [b"error", b"a", b"1"])
