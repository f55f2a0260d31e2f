"""Every fault at every moment of a job: what must hold, holds.

Lines are complete, in order and never doubled; the final status is the right one; indexes agree; nothing is left.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.faults import FAULTS, LASTING, Fault, broken
from tests.support.job_in_steps import ALL_LINES, STEPS, check_end, go
from tests.support.servers import BINARIES, Server, running_server
from tests.support.supervised import KEYS, SupervisedJob, python
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults


@pytest.fixture(params=sorted(BINARIES))
def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server with a journal, to be broken; a test may choose one binary."""
    with running_server(tmp_path / "server", BINARIES[request.param], *LASTING) as server:
        yield server


@pytest.fixture
def job(faulty: Server, tmp_path: Path) -> Iterator[SupervisedJob]:
    """A job that prints in steps; its supervisor is not started yet."""
    made = SupervisedJob(faulty, python(STEPS, str(tmp_path)))
    yield made
    made.end()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name != "forgets"], ids=str)
def test_before_the_claim(faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault) -> None:
    with broken(faulty, fault):
        job.supervise()
    go(tmp_path, 0, 1, 2)
    check_end(job, "success", ALL_LINES)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_while_it_prints(faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault) -> None:
    job.supervise()
    go(tmp_path, 0)
    job.wait_for_line("499")
    with broken(faulty, fault):
        go(tmp_path, 1)
    go(tmp_path, 2)
    check_end(job, "success", ALL_LINES)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_while_it_ends(faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault) -> None:
    job.supervise()
    pid = wait_for(lambda: job.read().pid)
    go(tmp_path, 0)
    job.wait_for_line("499")
    with broken(faulty, fault):
        go(tmp_path, 1, 2)
        wait_for(lambda: not psutil.pid_exists(pid), what="the command has ended")
    check_end(job, "success", ALL_LINES)


@pytest.mark.parametrize("faulty", ["valkey"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_after_its_end(faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault) -> None:
    job.supervise()
    go(tmp_path, 0, 1, 2)
    job.wait_for("success")
    with broken(faulty, fault):
        pass
    assert job.processes[0].wait(40) == 0
    check_end(job, "success", ALL_LINES)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_while_it_is_killed(faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault) -> None:
    supervisor = job.supervise()
    go(tmp_path, 0)
    job.wait_for_line("499")
    with broken(faulty, fault):
        supervisor.terminate()
        wait_for(lambda: not job.alive(), what="everything is gone")
    check_end(job, "killed", ALL_LINES[:500])


def test_an_output_that_is_removed_is_not_made_again(
    faulty: Server, job: SupervisedJob, tmp_path: Path
) -> None:
    job.supervise()
    go(tmp_path, 0)
    job.wait_for_line("499")
    job.client.delete(KEYS.output(job.id))
    go(tmp_path, 1, 2)
    done = job.wait_for()
    assert done.status == "success"
    assert "the output is incomplete" in done.error
    assert not job.client.exists(KEYS.output(job.id))


def test_a_flush_ends_the_storing_and_not_the_job(faulty: Server, job: SupervisedJob, tmp_path: Path) -> None:
    supervisor = job.supervise()
    go(tmp_path, 0)
    job.wait_for_line("499")
    job.client.flushall()
    go(tmp_path, 1, 2)
    assert supervisor.wait(60) == 0
    assert b"removed" in supervisor.stderr.read()
    assert job.client.keys() == []


def test_a_killed_supervisor_leaves_no_false_end(faulty: Server, job: SupervisedJob, tmp_path: Path) -> None:
    supervisor = job.supervise()
    go(tmp_path, 0)
    job.wait_for_line("499")
    wait_for(lambda: job.read().pid)
    supervisor.kill()
    supervisor.wait()
    assert job.read().status == "running"
    assert [process.pid for process in job.alive()] == [job.read().pid]


def test_a_frozen_supervisor_goes_on_where_it_was(faulty: Server, job: SupervisedJob, tmp_path: Path) -> None:
    supervisor = job.supervise()
    go(tmp_path, 0)
    job.wait_for_line("499")
    supervisor.send_signal(signal.SIGSTOP)
    (tmp_path / "1").touch()
    os.sched_yield()
    supervisor.send_signal(signal.SIGCONT)
    go(tmp_path, 2)
    check_end(job, "success", ALL_LINES)
