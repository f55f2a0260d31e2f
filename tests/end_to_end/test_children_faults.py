"""Every fault under a job with children: their lines are whole, and each has its right final status, once."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnjobs.records.statuses import FINAL_STATUSES
from tests.end_to_end.jobs.numbered import command, said_by
from tests.end_to_end.ledger import Ledger
from tests.support.faults import FAULTS, Fault, broken
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

# What breaks a server that only has to remember; those that refuse writes for a while are covered while children write.
FORGETTING = [fault for fault in FAULTS if fault.name in ("crash", "forgets", "hang", "disconnects")]
NAMES = ["ends-0", "raises-1", "crashes-2", "ends-3"]
SEED = 7


@pytest.fixture
def job(faulty: Server, tmp_path: Path) -> Iterator[SupervisedJob]:
    """A job whose children write for a second."""
    made = SupervisedJob(faulty, command(tmp_path, SEED, NAMES, lines=2000))
    yield made
    made.end()


def check(job: SupervisedJob, place: Path, status: str, *, is_forgotten: bool = False) -> None:
    """What must hold once the supervisor has ended; lines of what was killed are sent again by nobody."""
    assert job.processes[0].wait(60) == (0 if status == "success" else 128 + signal.SIGTERM)
    ledger = Ledger()
    ledger.check_end(job, job.read(), (status,))
    ledger.check_children(job, NAMES, to_their_end=status == "success")
    ledger.check_outputs(job, place, SEED, NAMES, is_forgotten=is_forgotten)
    assert ledger.is_clean, str(ledger)
    assert status != "success" or ledger.written > 1000


def all_write(job: SupervisedJob) -> bool:
    return all(job.client.exists(KEYS.child_output(job.id, name)) for name in NAMES)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_while_children_write(faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault) -> None:
    job.supervise()
    wait_for(lambda: all_write(job))
    with broken(faulty, fault):
        wait_for(said_by(tmp_path, SEED, "ends-0").exists)
    check(job, tmp_path, "success")


@pytest.mark.parametrize("fault", FORGETTING, ids=str)
def test_when_a_child_has_just_ended(
    faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault
) -> None:
    job.supervise()
    wait_for(lambda: job.child("ends-0").status in FINAL_STATUSES)
    with broken(faulty, fault):
        pass
    check(job, tmp_path, "success")


@pytest.mark.parametrize("fault", FORGETTING, ids=str)
def test_when_a_killed_job_has_just_ended(
    faulty: Server, job: SupervisedJob, tmp_path: Path, fault: Fault
) -> None:
    supervisor = job.supervise()
    wait_for(lambda: all_write(job))
    supervisor.terminate()
    job.wait_for("killed")
    with broken(faulty, fault):
        pass
    check(job, tmp_path, "killed", is_forgotten=True)
