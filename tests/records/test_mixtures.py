"""Whatever a job has of its own and of another program's parts, no faults that a reader could find are told as 0."""

from typing import Any

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnjobs.records.foreign import Part, count_left, part_key
from gnjobs.records.keys import CHILD_FIELD, MIRROR_FIELD, Keys
from gnjobs.records.reading import Records
from gnjobs.store import JobStore
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
    for name, faults in lists.items():
        if faults:
            client.rpush(part_key(KEYS, JOB, Part("geno", "errors", name)), *['{"message": "odd"}'] * faults)
        if states != "none":
            known = {"status": "success", "total-errors": faults if states == "right" else 0}
            client.hset(part_key(KEYS, JOB, Part("geno", "metadata", name)), mapping=known)
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
