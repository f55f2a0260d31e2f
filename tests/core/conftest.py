"""Fixtures shared by the tests of the library."""

from collections.abc import Callable, Iterator

import pytest

from gnjobs import CurrentJob, JobStore, current_job
from gnjobs.outputs.writer import OutputWriter
from gnjobs.processes import find, table
from gnjobs.processes.table import Mark, read_mark
from tests.core.outputs import KEY
from tests.servers import Server
from tests.supervised import SupervisedJob, python
from tests.waiting import wait_for


@pytest.fixture
def sleeper(server: Server) -> Iterator[SupervisedJob]:
    """A job under a supervisor that does nothing for long."""
    made = SupervisedJob(server, python("import time; time.sleep(1000)"))
    made.supervise()
    made.wait_for("running")
    wait_for(lambda: made.read().pid, 20)
    yield made
    made.end()


@pytest.fixture
def job(server: Server, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[CurrentJob]:
    """A job whose own code is this test."""
    created = store.create(["true"])
    monkeypatch.setenv("GNJOBS_REDIS_URL", server.url)
    monkeypatch.setenv("GNJOBS_JOB_ID", created.id)
    monkeypatch.setenv("GNJOBS_PREFIX", "gn-uploader")
    monkeypatch.delenv("GNJOBS_CHILD_ID", raising=False)
    with current_job() as found:
        yield found


@pytest.fixture
def writer(server: Server) -> Iterator[OutputWriter]:
    """A writer of one output."""
    writer = OutputWriter(server.url, KEY)
    yield writer
    writer.close(0)


@pytest.fixture
def conceal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make processes unreadable, as those of another account are."""

    def conceal_pids(*pids: int) -> None:
        def unreadable(pid: int) -> Mark | None:
            return None if pid in pids else read_mark(pid)

        for module in (table, find):
            monkeypatch.setattr(module, "read_mark", unreadable)

    return conceal_pids


@pytest.fixture(autouse=True)
def _nothing_has_to_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children in this process end at once: a session would wait, at its end, for servers that are long gone."""
    monkeypatch.setattr("gnjobs.records.connection.LASTING_SECONDS", 0.0)
