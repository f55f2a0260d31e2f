"""What a server refuses for now is tried again."""

import threading

import pytest
import redis

from gnjobs.records.connection import is_passing, patiently
from tests.support.faults import FAULTS, Fault, broken
from tests.support.servers import Server

REFUSING = [fault for fault in FAULTS if fault.name in ("read-only", "full", "unable-to-save")]


@pytest.mark.parametrize("own_server", ["valkey"], indirect=True)
@pytest.mark.parametrize("is_piped", [False, True])
@pytest.mark.parametrize("fault", REFUSING, ids=str)
def test_a_write_is_tried_until_the_server_takes_it(own_server: Server, fault: Fault, is_piped: bool) -> None:
    tried = threading.Event()

    def write() -> object:
        try:
            if is_piped:
                return client.pipeline(transaction=False).set("key", "value").execute()
            return client.set("key", "value")
        finally:
            tried.set()

    with own_server.client() as client:
        thread = threading.Thread(target=patiently, args=(write,))
        with broken(own_server, fault):
            thread.start()
            assert tried.wait(10)
        thread.join(20)
        assert client.get("key") == b"value"


def test_what_will_never_succeed_is_raised() -> None:
    assert not is_passing(
        redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    )
