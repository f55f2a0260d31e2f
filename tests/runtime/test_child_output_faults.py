"""What a child told is stored though its keys, its connections or its server go away."""

import threading

import pytest
import redis

from gnjobs.records.environment import ENV_LASTING
from gnjobs.runtime.child import ChildOutput
from tests.support.one_child import HASH, KEY, lines, prepare, state
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults


@pytest.fixture
def client(client: redis.Redis) -> redis.Redis:
    prepare(client)
    return client


def test_a_removed_job_is_not_made_again(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.runtime.child_state._MOST_MISSES", 3)
    with ChildOutput(KEY, server.url) as child:
        child.print("a")
        assert child.writer.flush(10)
        wait_for(lambda: state(client).status == "running")
        client.flushall()
        child.progress(1, 2)
        child.print("b")
    assert child.error is not None
    assert client.keys() == []


def test_a_child_whose_hash_was_forgotten_is_mended(server: Server, client: redis.Redis) -> None:
    with ChildOutput(KEY, server.url) as child:
        child.progress(1, 4, "rows")
        wait_for(lambda: state(client).percent == 25)
        client.delete(HASH)
        child.message("going on")
        wait_for(lambda: state(client).message == "going on")
        wait_for(lambda: state(client).percent == 25)
    assert state(client).status == "success"


def test_cut_connections(client: redis.Redis, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    # A child that watches its end would say it again, with its fault, where the next one begins.
    monkeypatch.setenv(ENV_LASTING, "0")
    for limit in ("requests_left", "replies_left"):
        for position in range(0, 3000, 83):
            client.flushall()
            prepare(client)
            setattr(proxy, limit, position)
            with ChildOutput(KEY, proxy.url) as child:
                child.fault({"row": 1})
                child.progress(position, 3000)
            found = state(client)
            assert (found.status, found.done, found.faults) == ("success", position, 1)
            assert len(lines(client)) == 1
            child.outlast()


def test_a_child_that_ends_while_redis_is_away_waits(own_server: Server) -> None:
    with own_server.client() as client:
        prepare(client)
        client.save()
        with ChildOutput(KEY, own_server.url) as child:
            wait_for(lambda: state(client).status == "running")
            own_server.kill()
            child.progress(3, 4)
            child.print("a")
            assert not child.writer.flush(0.1)
            ending = threading.Thread(target=child.succeed)
            ending.start()
            ending.join(0.2)
            assert ending.is_alive()
            own_server.start()
            ending.join(20)
        assert (state(client).status, state(client).percent) == ("success", 75)
        assert lines(client) == [("out", "a")]
