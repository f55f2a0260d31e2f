"""Whatever a job has of its own and of another program's parts, no faults that a reader could find are told as 0."""

from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnjobs.records.foreign import Part, count_left, part_key
from gnjobs.records.keys import CHILD_FIELD, MIRROR_FIELD, Keys
from gnjobs.records.reading import Records
from gnjobs.store import JobStore
from gnjobs.supervisor.listed_faults import ListedFaults
from gnjobs.supervisor.record import RecordLink
from gnjobs.watch.filters import parse_filter
from gnjobs.watch.reading import make_sources
from tests.support.servers import Server

KEYS = Keys()
JOB = "mixed"

COUNTS = st.integers(0, 5)
OWN = st.dictionaries(st.sampled_from(["a.tsv", "b.tsv"]), COUNTS, max_size=2)
LISTS = st.dictionaries(st.sampled_from(["x.tsv", "y: 1.tsv"]), COUNTS, max_size=2)
STATES = st.sampled_from(["none", "behind", "right"])
STATUSES = st.sampled_from(["running", "success", "error", "killed"])


def fill(client: redis.Redis, lists: dict[str, int], states: str) -> None:
    """What gn-uploader's code leaves below a job."""
    for name, faults in lists.items():
        if faults:
            client.rpush(part_key(KEYS, JOB, Part("geno", "errors", name)), *['{"message": "odd"}'] * faults)
        if states != "none":
            known = {"status": "success", "total-errors": faults if states == "right" else 0}
            client.hset(part_key(KEYS, JOB, Part("geno", "metadata", name)), mapping=known)


def write(
    client: redis.Redis,
    status: str,
    own: dict[str, int],
    lists: dict[str, int],
    states: str,
    *,
    is_taken_over: bool,
) -> None:
    """A job as a supervisor of ours would leave it, or as gn-uploader would, with parts of both kinds."""
    client.flushdb()
    record: dict[str, Any] = {"status": status, "job-type": "qc-rqtl2-bundle", "command": "true"}
    if is_taken_over:
        record |= {
            "created": 1700000000,
            "started": 1700000001,
            "heartbeat": 1700000002,
            MIRROR_FIELD: "stdout stderr",
        }
        client.zadd(KEYS.jobs, {JOB: 1700000000})
        for name, faults in own.items():
            record[f"{CHILD_FIELD}{name}"] = KEYS.child_output(JOB, name)
            client.hset(KEYS.child(JOB, name), mapping={"status": "success", "faults": faults})
    fill(client, lists, states)
    client.hset(KEYS.job(JOB), mapping=record)
    records = Records(client, KEYS, "")
    if is_taken_over and status != "running":
        left = count_left(client, KEYS, records.get(JOB))
        assert left == sum(lists.values())
        client.hset(KEYS.job(JOB), "faults", sum(own.values()) + left)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(status=STATUSES, own=OWN, lists=LISTS, states=STATES, is_taken_over=st.booleans())
def test_no_fault_is_told_as_none(
    server: Server, status: str, own: dict[str, int], lists: dict[str, int], states: str, is_taken_over: bool
) -> None:
    client, store = server.client(), JobStore.from_url(server.url)
    write(client, status, own, lists, states, is_taken_over=is_taken_over)
    total = sum(lists.values()) + (sum(own.values()) if is_taken_over else 0)
    (source,) = make_sources(client, [KEYS.prefix])
    rows = [*source.read([JOB]).rows, *source.read_mostly_finished([JOB]).rows]
    (listed,) = store.many([JOB])
    assert listed is not None
    for told in (listed.faults, *(row.faults for row in rows)):
        assert told in (None, total)
    assert all(row.is_uncounted == (row.faults is None) for row in rows)
    assert not total or not any(parse_filter("faults=0").matches(row, 0.0) for row in rows)
    seen = store.view(JOB).glance()
    assert sum(child.faults or 0 for child in seen.children) == total
    assert seen.job.faults == total or (seen.job.is_uncounted and not total)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    own=OWN,
    lists=st.lists(LISTS, max_size=3),
    states=STATES,
    deaf=st.none() | st.integers(0, 3),
    is_searched=st.booleans(),
)
def test_a_supervisor_tells_no_fault_as_none(
    server: Server,
    own: dict[str, int],
    lists: list[dict[str, int]],
    states: str,
    deaf: int | None,
    is_searched: bool,
) -> None:
    """A job made by gnjobs whose code pushes to lists, beat by beat; before some beat its supervisor becomes deaf."""
    client, store = server.client(), JobStore.from_url(server.url)
    client.flushdb()
    store.create(["true"], job_id=JOB)
    link = RecordLink(server.url, KEYS, JOB)
    link.read()
    listed = ListedFaults(server.url, link, most_searched=10**6 if is_searched else 0)
    listed.open()
    told = sum(own.values())
    client.hset(KEYS.job(JOB), mapping={"status": "running", "started": 1, "heartbeat": 1})
    for name, faults in own.items():
        client.hset(KEYS.job(JOB), f"{CHILD_FIELD}{name}", KEYS.child_output(JOB, name))
        client.hset(KEYS.child(JOB, name), mapping={"status": "running", "faults": faults})
    pushed = 0
    for number, more in enumerate(lists):
        fill(client, more, states)
        pushed += sum(more.values())
        if number == deaf:
            client.client_kill_filter(_type="pubsub")
        say(client, listed.count(), listed, told)
        check(server, store, told + pushed)
    say(client, listed.count_at_end(), listed, told)
    client.hset(KEYS.job(JOB), "status", "success")
    check(server, store, told + pushed)
    assert store.get(JOB).faults == told + pushed
    listed.close()


def say(client: redis.Redis, left: int | None, listed: ListedFaults, own: int) -> None:
    """As a beat does."""
    if left is None:
        client.hdel(KEYS.job(JOB), "faults")
    else:
        client.hset(KEYS.job(JOB), "faults", own + left)
    if listed.notes:
        client.hset(KEYS.job(JOB), mapping=listed.notes)


def check(server: Server, store: JobStore, total: int) -> None:
    (source,) = make_sources(server.client(), [KEYS.prefix])
    rows = [*source.read([JOB]).rows, *source.read_mostly_finished([JOB]).rows]
    (read,) = store.many([JOB])
    assert read is not None
    assert all(told in (None, total) for told in (read.faults, *(row.faults for row in rows)))
    assert all(row.is_uncounted == (row.faults is None) for row in rows)
    assert not total or not any(parse_filter("faults=0").matches(row, 0.0) for row in rows)
    assert store.view(JOB).glance().job.faults == total
