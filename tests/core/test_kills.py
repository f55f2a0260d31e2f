"""Kills as who asks sees them, where the supervisor can't do it, or can't be looked at."""

from collections.abc import Callable, Iterator

import pytest

from gnjobs import process_view, processes
from gnjobs.kills import kill_job
from gnjobs.process_table import Mark, read_mark
from gnjobs.roles import Actor
from gnjobs.store import JobStore
from tests.servers import Server
from tests.supervised import SupervisedJob, python
from tests.waiting import wait_for

JANE = Actor.admin("jane")


@pytest.fixture
def store(server: Server) -> JobStore:
    return JobStore.from_url(server.url)


@pytest.fixture
def job(server: Server) -> Iterator[SupervisedJob]:
    made = SupervisedJob(server, python("import time; time.sleep(1000)"))
    made.supervise()
    made.wait_for("running")
    wait_for(lambda: made.read().pid, 20)
    yield made
    made.end()


@pytest.fixture
def conceal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make processes unreadable, as those of another account are."""

    def conceal_pids(*pids: int) -> None:
        def unreadable(pid: int) -> Mark | None:
            return None if pid in pids else read_mark(pid)

        for module in (process_view, processes):
            monkeypatch.setattr(module, "read_mark", unreadable)

    return conceal_pids


def test_a_supervisor_of_another_account_is_asked(
    store: JobStore, job: SupervisedJob, conceal: Callable[..., None]
) -> None:
    record = job.read()
    conceal(record.supervisor_pid, record.pid)
    steps = list(kill_job(store, job.id, actor=JANE))
    assert steps[0].kind == "asked"
    assert steps[-1].verified, steps
    assert job.read().status == "killed"


def test_orphans_of_another_account_are_named_and_not_called_gone(
    store: JobStore, job: SupervisedJob, conceal: Callable[..., None]
) -> None:
    record = job.read()
    job.processes[0].kill()
    job.processes[0].wait()
    conceal(record.pid)
    steps = list(kill_job(store, job.id, actor=JANE, grace=0.0))
    assert not steps[-1].verified, steps
    assert str(record.pid) in steps[-1].text
    assert record.account in steps[-1].text
    assert job.read().status == "running"
