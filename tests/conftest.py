"""Fixtures shared by all tests."""

import signal
from collections.abc import Callable, Iterator

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, settings

from gnjobs import CurrentJob, JobStore, current_job
from gnjobs.outputs.writer import OutputWriter
from gnjobs.processes import end, find, table
from gnjobs.processes.table import LookSoFar, Mark, read_mark
from gnjobs.records.environment import ENV_LASTING
from tests.support.outputs import KEY
from tests.support.proxy import Proxy, running_proxy
from tests.support.servers import BINARIES, Server, running_server
from tests.support.supervised import SupervisedJob, python
from tests.support.waiting import wait_for

# Whoever runs the tests may ignore it: then every exit code of a process that a test starts would read 0.
signal.signal(signal.SIGCHLD, signal.SIG_DFL)

# A busy machine is no fault of a property.
settings.register_profile(
    "patient", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave one case of what is sampled to every change, and begin what may last longest first."""
    seen = set()
    for item in items:
        if item.get_closest_marker("sampled"):
            test = item.nodeid.partition("[")[0]
            if test in seen:
                item.add_marker(pytest.mark.faults)
            seen.add(test)
    items.sort(key=lambda item: -longest(item))


def longest(item: pytest.Item) -> float:
    """The seconds that a test asks for beyond what all have."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture
def fake() -> redis.Redis:
    """An in-process Redis for unit tests, with Lua."""
    return fakeredis.FakeStrictRedis(protocol=2)


@pytest.fixture(scope="session")
def _shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(_shared_server: Server) -> Server:
    """A real server, empty, shared by the tests of one process: not to be killed or reconfigured."""
    with _shared_server.client() as client:
        client.flushall()
    return _shared_server


# Every change is guarded by the server that every machine has; another kind is tried with the faults.
@pytest.fixture(
    params=[
        "valkey",
        *(pytest.param(kind, marks=pytest.mark.faults) for kind in BINARIES if kind != "valkey"),
    ]
)
def own_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server of this test alone, once for each binary found: for faults, restarts and settings."""
    with running_server(tmp_path_factory.mktemp("server"), BINARIES[request.param]) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A client of the real server."""
    with server.client() as client:
        yield client


@pytest.fixture
def store(server: Server) -> JobStore:
    """The jobs of the real server."""
    return JobStore.from_url(server.url)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A way to the real server that can be cut."""
    with running_proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def sleeper(server: Server) -> Iterator[SupervisedJob]:
    """A job under a supervisor that does nothing for long."""
    made = SupervisedJob(server, python("import time; time.sleep(1000)"))
    made.supervise()
    made.wait_for("running")
    wait_for(lambda: made.read().pid)
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
        def unreadable(pid: int, so_far: LookSoFar | None = None) -> Mark | None:
            return None if pid in pids else read_mark(pid, so_far)

        for module in (table, find, end):
            monkeypatch.setattr(module, "read_mark", unreadable)

    return conceal_pids


@pytest.fixture(autouse=True)
def nothing_has_to_last(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody watches for long whether ends last: only servers that tests of faults break forget anything."""
    if request.node.get_closest_marker("faults") is None:
        monkeypatch.setenv(ENV_LASTING, "0")
