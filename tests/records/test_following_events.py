"""Events are followed as they happen, by waiting for them and not by asking again, also through outages."""

import queue
import threading
from collections.abc import Iterator

import pytest

from gnjobs.records.events import Event, follow_events, record_event
from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys
from gnjobs.store import JobStore
from tests.support.servers import Server, waiting_readers
from tests.support.waiting import wait_for

KEYS = Keys()


def follow(events: Iterator[Event]) -> "queue.Queue[Event]":
    """Follow in a thread; what is yielded stands in the queue."""
    seen: queue.Queue[Event] = queue.Queue()

    def put() -> None:
        for event in events:
            seen.put(event)

    threading.Thread(target=put, daemon=True).start()
    return seen


def reads(store: JobStore) -> int:
    """How often events were asked for; some servers count what waits, others when it is answered."""
    return store.client.info("commandstats").get("cmdstat_xread", {}).get("calls", 0)


def happen(store: JobStore, *words: str) -> None:
    for word in words:
        record_event(store.client, store.keys, word, Job(id=word), text=word)


@pytest.fixture
def store(own_server: Server) -> JobStore:
    return JobStore.from_url(own_server.url)


def test_what_happens_is_told_at_once_and_in_between_nothing_is_asked(
    own_server: Server, store: JobStore
) -> None:
    happen(store, "before")
    seen = follow(store.events.follow())
    wait_for(lambda: waiting_readers(own_server))
    asked = reads(store)
    happen(store, "one")
    first = seen.get(timeout=10)
    wait_for(lambda: waiting_readers(own_server))
    happen(store, "two")
    assert [first.kind, seen.get(timeout=10).kind] == ["one", "two"]
    wait_for(lambda: waiting_readers(own_server))
    assert reads(store) == asked + 2
    assert first.id == store.events.last(2)[0].id


def test_following_begins_at_a_time_or_behind_an_event(store: JobStore) -> None:
    for second in (1, 2, 3):
        store.client.xadd(KEYS.events, {"kind": str(second)}, id=f"{second * 1000}-0")
    since, after = follow(store.events.follow(since=2.0)), follow(store.events.follow(after="2000-0"))
    everything = follow(store.events.follow(since=0.0))
    assert [since.get(timeout=10).kind for _ in range(2)] == ["2", "3"]
    assert after.get(timeout=10).kind == "3"
    assert [everything.get(timeout=10).kind for _ in range(3)] == ["1", "2", "3"]


@pytest.mark.parametrize("own_server", ["valkey"], indirect=True)
def test_an_outage_loses_no_event(own_server: Server, store: JobStore) -> None:
    other = JobStore.from_url(own_server.url, "other")
    seen = follow(follow_events(own_server.url, (store.keys, other.keys)))
    wait_for(lambda: waiting_readers(own_server))
    own_server.restart()
    happen(store, "one")
    happen(other, "two")
    assert {seen.get(timeout=20).kind for _ in range(2)} == {"one", "two"}
