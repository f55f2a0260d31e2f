"""What a server refuses for now is tried again."""

import threading
import time

import pytest
import redis

from gnjobs.records.backoff import Backoff
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
            assert tried.wait(60)
        thread.join(20)
        assert client.get("key") == b"value"


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(first=0.5, longest=2.0)
    assert [backoff.failed() for _ in range(4)] == [0.5, 1.0, 2.0, 2.0]
    assert time.monotonic() + 1 < backoff.retry_at <= time.monotonic() + 2
    backoff.succeeded()
    assert backoff.retry_at == 0.0
    assert backoff.failed() == 0.5


def test_waiting_for_a_server_that_stays_away_can_be_limited() -> None:
    tries = []

    def fail() -> None:
        tries.append(time.monotonic())
        raise redis.ConnectionError("away")

    with pytest.raises(redis.ConnectionError):
        patiently(fail, 0.1)
    assert len(tries) > 1


def test_what_will_never_succeed_is_raised() -> None:
    assert not is_passing(
        redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    )
