"""What happened, as it is recorded and read."""

from typing import Any

import pytest
import redis

from gnjobs.records.events import LONGEST_TEXT, record_event, record_refusal
from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys
from gnjobs.store import JobStore

KEYS = Keys()
JOB = Job(id="j", label="QC \udcff", user="jsmith")


@pytest.fixture
def store(fake: redis.Redis) -> JobStore:
    return JobStore(fake, KEYS, "redis://fake")


def test_label_and_owner_are_copied_in(store: JobStore) -> None:
    record_event(store.client, KEYS, "killed", JOB, text="killed", by="tux", reason="run\udcffaway")
    (event,) = store.events()
    assert (event.kind, event.job, event.label, event.owner) == ("killed", "j", "QC \udcff", "jsmith")
    assert (event.by, event.reason, event.text) == ("tux", "run\udcffaway", "killed")
    assert abs(event.at - store.now()) < 60


def test_long_texts_and_lone_surrogates_are_stored_all_the_same(store: JobStore) -> None:
    record_event(store.client, KEYS, "x", Job(id="j", label="\ud800" + "x" * 10_000_000), text="y" * 10_000)
    (event,) = store.events()
    assert len(event.text) == LONGEST_TEXT
    assert len(event.label or "") <= LONGEST_TEXT + 3


def test_they_are_read_from_a_time_on_and_from_the_end(store: JobStore) -> None:
    for second in range(1, 3001):
        store.client.xadd(KEYS.events, {"kind": str(second)}, id=f"{second * 1000}-0")
    assert [event.kind for event in store.events(2999.0)] == ["2999", "3000"]
    assert len(list(store.events())) == 3000
    assert [event.kind for event in store.events.last(2)] == ["2999", "3000"]
    for odd in (-1e30, -5.0):
        assert len(list(store.events(odd))) == 3000
    assert list(store.events(1e300)) == []


def test_whatever_an_entry_holds_is_read(store: JobStore) -> None:
    store.client.xadd(KEYS.events, {b"\xff": b"\xfe", "text": b"\xff"}, id="1-0")
    store.client.xadd(KEYS.events, {"kind": ""}, id="18446744073709551614-0")
    first, last = store.events()
    assert (first.kind, first.text, first.at) == ("?", "\udcff", 0.001)
    assert (last.kind, last.at) == ("?", 0.0)


def test_of_what_others_wrote_no_more_is_kept_than_we_write(store: JobStore) -> None:
    store.client.xadd(KEYS.events, {"kind": "x", "text": "😀" * 100_000, "label": b"\xff" * 100_000})
    (event,) = store.events()
    assert (len(event.text), len(event.label or "")) == (LONGEST_TEXT, LONGEST_TEXT)


def test_a_refusal_that_may_not_even_be_written_stays_one(store: JobStore) -> None:
    class MayNotWrite:
        def xadd(self, *_: Any, **__: Any) -> None:
            raise redis.exceptions.NoPermissionError("no")

    client: Any = MayNotWrite()
    record_refusal(client, KEYS, "kill", JOB, "guest is a viewer", by="guest")
    record_refusal(store.client, KEYS, "kill", JOB, "guest is a viewer", by="guest")
    (event,) = store.events()
    assert (event.kind, event.text, event.reason) == ("refused", "kill refused: guest is a viewer", None)
