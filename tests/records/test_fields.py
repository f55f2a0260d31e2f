"""Reading records is total: whatever a hash holds, reading does not raise and loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnjobs.processes.seen import read_snapshot
from gnjobs.records import values
from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS, LIST_FIELDS, read_child, read_job, read_job_list
from gnjobs.records.requests import KillStep
from gnjobs.records.summaries import children_summary
from tests.support.hostile import NUMBERS, TEXTS

NAMES = st.sampled_from(
    [name.encode() for name in (*JOB_FIELDS, *CHILD_FIELDS, "user_id", "child:x")]
) | st.binary(max_size=20)
VALUES = (
    st.binary(max_size=60)
    | st.sampled_from([text.encode("utf-8", "surrogatepass") for text in (*NUMBERS, *TEXTS.values())])
    | st.floats().map(lambda number: str(number).encode())
    | st.integers().map(lambda number: str(number).encode())
)


@given(st.dictionaries(NAMES, VALUES, max_size=20))
def test_reading_never_raises_and_keeps_what_it_could_not_read(fields: dict[bytes, bytes]) -> None:
    for record in (read_job("j", fields), read_child("c", fields)):
        assert record.percent is None or 0 <= record.percent <= 100
        assert record.started is None or record.started >= 0
        assert set(record.unreadable) <= set(record.raw)


def test_a_record_as_the_design_writes_it() -> None:
    fields = {
        b"jobid": b"j",
        b"command": b"python3 -m scripts.qc f.zip",
        b"status": b"running",
        b"percent": b"62.5",
        b"job-type": b"qc",
        b"user-id": b"jsmith",
        b"heartbeat": b"1700000000.25",
        b"pid": b"48213",
        b"exit-code": b"-1",
        b"children": b"3",
        b"child:pheno": b"P:jobs:j:children:pheno:output",
    }
    job = read_job("j", fields)
    assert (job.type, job.user, job.percent, job.heartbeat, job.pid) == (
        "qc",
        "jsmith",
        62.5,
        1700000000.25,
        48213,
    )
    assert (job.exit_code, job.children, job.is_final) == (-1, 3, False)
    assert job.raw == {"jobid": "j"}
    assert job.unreadable == ()


def test_what_cannot_be_read_is_unknown_with_the_raw_value_at_hand() -> None:
    job = read_job("j", {b"percent": b"NaN", b"started": b"60000000000000", b"pid": b"-1", b"rss": b"1e400"})
    assert (job.percent, job.started, job.pid, job.rss) == (None, None, None, None)
    assert job.raw == {"percent": "NaN", "started": "60000000000000", "pid": "-1", "rss": "1e400"}
    assert set(job.unreadable) == {"percent", "started", "pid", "rss"}


def test_other_spellings_count_where_ours_is_missing() -> None:
    assert read_job("j", {b"user_id": b"agunn"}).user == "agunn"
    both = read_job("j", {b"user-id": b"jsmith", b"user_id": b"agunn"})
    assert both.user == "jsmith"
    reverse = read_job("j", {b"user_id": b"agunn", b"user-id": b"jsmith"})
    assert reverse.user == "jsmith"


def test_bytes_that_are_not_utf8_survive() -> None:
    label = read_job("j", {b"label": b"\xff\x9b31m"}).label
    assert label is not None
    assert label.encode("utf-8", "surrogateescape") == b"\xff\x9b31m"


def test_a_list_reads_the_same_as_the_whole_record() -> None:
    fields = {name.encode(): b"7" for name in LIST_FIELDS}
    listed = read_job_list("j", [fields[name.encode()] for name in LIST_FIELDS])
    assert listed == read_job("j", fields)
    assert read_job_list("j", [None] * len(LIST_FIELDS)) is None


@pytest.mark.parametrize(
    "summary",
    [
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"quietest": {"idle_since": -1e30}}',
        b'{"idlest": {"since": 1e300}}',
        b'{"quietest": {"pid": 1e400}}',
        b'{"quietest": {"pid": 1' + b"0" * 400 + b"}}",
        b'{"counts": {"success": 1' + b"0" * 4000 + b"}}",
        b"\xff",
        b"",
    ],
)
def test_a_summary_that_nobody_of_ours_wrote_is_none(summary: bytes) -> None:
    assert read_job("j", {b"children-summary": summary}).children_summary is None
    assert values.json(summary, KillStep) is None


@pytest.mark.parametrize("time", ["-1", "-1e14", "1.83e12", "60000000000000", "1e400", "1" * 400])
def test_a_time_in_json_that_no_calendar_can_show_is_not_read(time: str) -> None:
    for name in ("since", "idle_since"):
        assert children_summary(f'{{"idlest":{{"{name}":{time}}}}}'.encode()) is None
    assert read_snapshot(f'{{"at":{time}}}'.encode()) is None
    processes = f'[{{"pid":1,"started":1,"idle_since":{time}}}]'
    assert read_snapshot(f'{{"at":1,"processes":{processes}}}'.encode()) is None


@pytest.mark.parametrize(
    "snapshot",
    [
        '"processes":[{"pid":1,"started":1}%s]' % (',{"pid":1,"started":1}' * 200_000),
        '"history":{"every":1,"cpu":[1%s]}' % (",1" * 1000),
        '"processes":[{"pid":1,"started":1,"rss":1%s}]' % ("0" * 400),
    ],
    ids=["processes", "history", "memory"],
)
def test_a_snapshot_that_fills_the_memory_is_none(snapshot: str) -> None:
    assert read_snapshot(f'{{"at":1,{snapshot}}}'.encode()) is None
