"""Streams to which somebody wrote an entry of the future, up to the largest id that there is: they go on anew."""

import threading
import time
from typing import Any

import pytest
import redis

from gnjobs.control.agent import Agent
from gnjobs.records import requests
from gnjobs.records.events import Events, follow_events, record_event
from gnjobs.records.fields import Job
from gnjobs.records.listener import ControlListener
from gnjobs.records.requests import ControlRequest, send_request, step
from gnjobs.records.streams import newest_id
from gnjobs.records.values import is_ahead
from gnjobs.store import JobStore
from tests.support.access import Guarded
from tests.support.servers import Server, waiting_readers
from tests.support.supervised import KEYS
from tests.support.waiting import wait_for

LARGEST = "18446744073709551615-18446744073709551615"


@pytest.fixture(params=["largest", "an hour ahead"])
def last_id(request: pytest.FixtureRequest, store: JobStore) -> str:
    return LARGEST if request.param == "largest" else f"{int((store.now() + 3600) * 1000)}-0"


def test_requests_are_heard_again_by_whoever_listened(store: JobStore, last_id: str) -> None:
    stream, heard = KEYS.admin_requests, list[str | None]()
    store.client.delete(stream)
    ControlListener(
        store.url,
        KEYS,
        [stream],
        lambda request: heard.append(request.job),
        last_seconds=30.0,
        block_seconds=0.2,
    ).start()
    send_request(store.client, stream, ControlRequest("", "kill", "before"))
    wait_for(lambda: heard == ["before"])
    store.client.xadd(stream, {"request": "kill", "job": "forged"}, id=last_id)
    wait_for(lambda: store.client.xlen(KEYS.answers("forged")))
    send_request(store.client, stream, ControlRequest("", "kill", "after"))
    wait_for(lambda: heard == ["before", "after"])


@pytest.mark.parametrize(
    ("is_asked_for", "odd_id"), [(True, b"abc"), (True, b"5-18446744073709551616"), (False, b"5-0")]
)
def test_requests_are_heard_after_an_odd_answer(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, is_asked_for: bool, odd_id: bytes
) -> None:
    """Of what listens for a moment on the port of a server that is away."""
    stream, heard, odd = KEYS.admin_requests, list[str | None](), []
    right = redis.Redis.xread

    def once_odd(client: redis.Redis, *arguments: Any, **options: Any) -> Any:
        if odd:
            return right(client, *arguments, **options)
        odd.append(odd_id)
        name = stream if is_asked_for else "another"
        return [[name.encode(), [(odd_id, {b"request": b"kill", b"job": b"odd"})]]]

    store.client.delete(stream)
    monkeypatch.setattr(redis.Redis, "xread", once_odd)
    listener = ControlListener(
        store.url, KEYS, [stream], lambda request: heard.append(request.job), last_seconds=30.0
    )
    listener.start()
    wait_for(lambda: odd)
    send_request(store.client, stream, ControlRequest("", "kill", "after"))
    wait_for(lambda: heard == ["after"])
    assert set(listener._last) == {stream}


@pytest.mark.parametrize("last_seconds", [0.0, 30.0], ids=["a supervisor", "an agent"])
def test_who_began_by_a_clock_that_was_ahead_hears_once_it_was_set_back(
    own_server: Server, monkeypatch: pytest.MonkeyPatch, last_seconds: float
) -> None:
    client, heard, ahead = own_server.client(), list[str | None](), [3600.0]
    right = ControlListener._now
    monkeypatch.setattr(ControlListener, "_now", lambda self: right(self) + ahead[0])
    since = None if last_seconds else float(client.time()[0]) + ahead[0]
    client.hset(KEYS.job("made-then"), "created", client.time()[0] + 3600)
    listener = ControlListener(
        own_server.url,
        KEYS,
        [KEYS.admin_requests],
        lambda request: heard.append(request.job),
        since=since,
        last_seconds=last_seconds,
        block_seconds=0.2,
    )
    listener.start()
    wait_for(lambda: waiting_readers(own_server) == 1)
    ahead[0] = 0.0
    wait_for(lambda: not is_ahead(listener._last[KEYS.admin_requests], listener._now()))
    send_request(client, KEYS.admin_requests, ControlRequest("", "kill", "made-then"))
    wait_for(lambda: heard == ["made-then"])


@pytest.fixture(params=[-100.0, 100.0])
def _other_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    here = time.time
    monkeypatch.setattr("time.time", lambda: here() + request.param)


def in_the_past(client: redis.Redis) -> str:
    return f"{(client.time()[0] - 80) * 1000}-0"


@pytest.mark.usefixtures("_other_clock")
def test_no_request_is_heard_that_came_before_whatever_clock_the_host_has(own_server: Server) -> None:
    """One for an earlier job of the same id would kill the next."""
    client, heard = own_server.client(), list[str | None]()
    client.xadd(KEYS.admin_requests, {"request": "kill", "job": "before"}, id=in_the_past(client))
    since = float(client.time()[0])
    ControlListener(
        own_server.url, KEYS, [KEYS.admin_requests], lambda request: heard.append(request.job), since=since
    ).start()
    wait_for(lambda: waiting_readers(own_server) == 1)
    send_request(client, KEYS.admin_requests, ControlRequest("", "kill", "after"))
    wait_for(lambda: "after" in heard)
    assert heard == ["after"]


@pytest.mark.usefixtures("_other_clock")
def test_a_log_is_followed_from_where_it_was_asked_whatever_clock_the_host_has(own_server: Server) -> None:
    client, heard = own_server.client(), list[str]()
    client.xadd(KEYS.events, {"kind": "killed", "text": "before"}, id=in_the_past(client))
    follower = follow_events(own_server.url, [KEYS], since=float(client.time()[0]))
    threading.Thread(target=lambda: heard.extend(event.text for event in follower), daemon=True).start()
    wait_for(lambda: waiting_readers(own_server) == 1)
    record_event(client, KEYS, "killed", Job(id="j"), text="after")
    wait_for(lambda: "after" in heard)
    assert heard == ["after"]


def test_who_may_only_ask_begins_the_own_stream_anew(own_server: Server) -> None:
    guarded = Guarded(own_server)
    stream = KEYS.user_requests("jsmith")
    with redis.Redis.from_url(guarded.as_role("curator", "jsmith"), protocol=2, driver_info=None) as client:
        client.xadd(stream, {"request": "kill"}, id=LARGEST)
        send_request(client, stream, ControlRequest("", "kill", "after"))
        ((_, fields),) = client.xrange(stream)
    assert fields[b"job"] == b"after"
    assert guarded.refused() == set()


def test_answers_go_on(store: JobStore, last_id: str) -> None:
    stream = KEYS.answers("of-ended-answers")
    store.client.xadd(stream, {"answer": "x"}, id=last_id)
    requests.answer(store.client, stream, "r/1-1", step("gone", "1 gone"))
    ((_, fields),) = store.client.xrange(stream)
    assert fields[b"answer"] == b"r/1-1"


def test_who_asked_behind_an_answer_of_the_future_hears_the_next(store: JobStore, last_id: str) -> None:
    stream, until = KEYS.answers("of-forged-answers"), time.monotonic() + 20
    store.client.xadd(stream, {"answer": "x"}, id=last_id)
    answers = requests.read_answers(
        store.client, stream, "r/1-1", lambda: until, newest_id(store.client, stream)
    )
    assert next(answers) is None
    requests.answer(store.client, stream, "r/1-1", step("gone", "1 gone"))
    assert next(answer for answer in answers if answer).text == "1 gone"


def test_answers_go_on_where_somebody_has_put_something_else(store: JobStore) -> None:
    stream = KEYS.answers("of-other-answers")
    store.client.set(stream, "x")
    answers = requests.read_answers(store.client, stream, "r/1-1", lambda: 1e12)
    assert next(answers) is None
    requests.answer(store.client, stream, "r/1-1", step("gone", "1 gone"))
    assert next(answer for answer in answers if answer).text == "1 gone"


def test_the_agent_begins_the_log_anew_and_keeps_the_old_one(own_server: Server, last_id: str) -> None:
    guarded = Guarded(own_server)
    client, job = own_server.client(), Job(id="j")
    record_event(client, KEYS, "killed", job, text="before")
    client.xadd(KEYS.events, {"kind": "forged", "text": "forged"}, id=last_id)
    Agent(JobStore.from_url(guarded.as_role("agent"))).look_around()
    record_event(client, KEYS, "killed", job, text="after")
    assert [event.text for event in Events(client, KEYS, own_server.url)()] == ["after"]
    assert client.xlen(KEYS.ended_events) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gnjobs.records.events._BLOCK_SECONDS", 0.2)
        follower = follow_events(own_server.url, [KEYS], after=last_id)
        assert next(follower).text == "after"  # though it had read what stood there before
    assert guarded.refused() == set()
