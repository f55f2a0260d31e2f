"""Fixtures shared by all tests."""

from collections.abc import Iterator

import fakeredis
import pytest
import redis

from gnjobs.store import JobStore
from tests.proxy import Proxy, running_proxy
from tests.servers import BINARIES, Server, running_server


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


@pytest.fixture(params=sorted(BINARIES))
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
