"""The pulse of made-up rows: what is counted where, what is unusual, and that any rows are measured."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnjobs.health.hosts import judge_hosts
from gnjobs.health.states import STATES
from gnjobs.health.verdict import Limits
from gnjobs.records.fields import read_job
from gnjobs.records.hosts import AgentBeat, HostLoad
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.judge import Judge
from gnjobs.watch.pulse import DAYS, MOMENTS, Finding, Pulse, Share, range_begin, take_pulse
from gnjobs.watch.rows import Change, JobRow, row_of

NOW = datetime(2026, 7, 15, 12).timestamp()
HOUR, DAY = 3600.0, 86400.0


def row(created: float, *, wait: float | None = 10, run: float | None = 600, **fields: object) -> JobRow:
    """A successful job, created so long ago, that waited and ran so long; None: not yet."""
    at = NOW - created
    known: dict[str, object] = {"created": at, "job-type": "qc", "status": "success"}
    if wait is not None:
        known["started"] = at + wait
    if wait is not None and run is not None:
        known["finished"] = at + wait + run
    if wait is None or run is None:
        known["status"] = "pending" if wait is None else "running"
    known |= fields
    return row_of(read_job("job", {name: str(value) for name, value in known.items()}))


def found(pulse: Pulse, about: str) -> Finding:
    return next(each for each in pulse.findings() if each.about == about)


def history(number: int = 40, **fields: object) -> list[JobRow]:
    return [row(DAY * (1.5 + 10 * place / number), **fields) for place in range(number)]


def test_days_count_what_was_created_and_what_ended() -> None:
    rows = [row(HOUR), row(25 * HOUR, run=24 * HOUR, status="error"), row(HOUR, wait=None)]
    pulse = take_pulse(rows, NOW)
    today, yesterday = pulse.days[:2]
    assert len(pulse.days) == DAYS
    assert (today.created, today.ended) == (2, {"done": 1, "failed": 1})
    assert (yesterday.created, yesterday.ended, yesterday.waited) == (1, {}, 10)
    assert pulse.range_words == "3 jobs of the last 14 days"


def test_more_failures_than_usual_are_told_with_their_type() -> None:
    calm = [*history(), *history(job_type="insert"), *[row(HOUR) for _ in range(20)]]
    assert found(take_pulse(calm, NOW), "failing") == (
        "failing", "0 of 20 jobs failed in the last 24 h, 0 %; 0 % before", False
    )  # fmt: skip
    failed = [row(2 * HOUR, status="error", **{"job-type": "insert"}) for _ in range(7)]
    told = found(take_pulse([*calm, *failed], NOW), "failing")
    assert told.is_trouble
    assert told.text.endswith(
        "7 of 27 jobs failed in the last 24 h, 26 %; 0 % before; more than usual: insert 7 of 7"
    )
    killed = [row(2 * HOUR, status="killed") for _ in range(7)]
    assert not found(take_pulse([*calm, *killed], NOW), "failing").is_trouble


def test_a_queue_that_grows_is_told() -> None:
    waiting = [row(60 * minutes, wait=None) for minutes in range(1, 13)]
    told = found(take_pulse([*history(), *waiting], NOW), "queue")
    assert told == (
        "queue",
        "it grows: 12 jobs wait, the longest for 12 min; an hour ago 0 did; in the last hour 12 came and 0 began",
        True,
    )
    assert found(take_pulse(history(), NOW), "queue").text.startswith("no job waits")
    assert found(take_pulse([*history(), row(HOUR * 2, wait=None)], NOW), "queue").is_trouble
    pulse = take_pulse(waiting, NOW)
    assert (len(pulse.waiting), pulse.waiting[-1], pulse.waiting[0]) == (MOMENTS, 12, 0)


def test_a_type_that_became_slower_is_told_and_so_is_a_job_that_runs_on() -> None:
    slow = [row(3 * HOUR, run=1200) for _ in range(3)]
    told = found(take_pulse([*history(), *slow], NOW), "speed")
    assert told == ("speed", "qc takes 20 min, 2.0 times its usual 10 min", True)
    late = found(take_pulse([*history(), row(2 * HOUR, run=None), row(60, run=None)], NOW), "speed")
    assert late.text == "1 of 2 qc at work for over 10 min, longer than 9 in 10 before"
    assert not found(take_pulse([*history(), *[row(HOUR) for _ in range(3)]], NOW), "speed").is_trouble
    assert found(take_pulse([row(HOUR)], NOW), "speed").text == "too few runs to compare with"


def test_the_troubled_types_come_first() -> None:
    rows = [*history(60), *history(**{"job-type": "insert"})]
    rows += [row(HOUR, run=3000, **{"job-type": "insert"}) for _ in range(3)]
    assert [each.name for each in take_pulse(rows, NOW).types] == ["insert", "qc"]


def test_what_is_cut_says_so() -> None:
    pulse = take_pulse([row(30 * HOUR), row(HOUR)], NOW, is_cut=True)
    assert pulse.range_words == "2 jobs of the last 1 d; more is not counted"
    assert len(pulse.days) == 2


def test_hosts_in_trouble_are_named() -> None:
    load = HostLoad(at=NOW, cores=2, load=3.5, memory=100, free=2)
    beats = [
        AgentBeat("db1", NOW, load),
        AgentBeat("db2", NOW - HOUR, load),
        AgentBeat("db1", NOW - 60, None),
    ]
    told = take_pulse([], NOW).findings(judge_hosts(beats, [], NOW))[-1]
    assert told.is_trouble
    assert told.text == (
        f"db2: agent silent since {datetime.fromtimestamp(NOW - HOUR):%H:%M}; "
        "db1: load 3.5 of 2 cores, memory 98 B of 100 B"
    )
    assert take_pulse([], NOW).findings([])[-1].text == "no agent runs; no job is silent"


def test_the_catalogue_hands_over_the_range_alone() -> None:
    catalogue = Catalogue(Judge(Limits()), lambda: NOW)
    rows = [row(HOUR * number) for number in range(1, 30)] + [row(30 * DAY, wait=None), row(30 * DAY)]
    keyed = [each.__class__(**{**{f: getattr(each, f) for f in each.__struct_fields__}, "key": f"job-{n}"})
             for n, each in enumerate(rows)]  # fmt: skip
    catalogue.apply(Change(rows=tuple(keyed)))
    since = range_begin(NOW)
    assert [each.key for each in catalogue.created_since(since, 100)] == [
        "job-29",
        *(f"job-{n}" for n in range(29)),
    ]
    assert len(catalogue.created_since(since, 5)) == 5


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def test_days_begin_at_midnight_across_a_change_of_clocks(in_berlin: None) -> None:
    now = datetime(2026, 4, 2, 12).timestamp()
    begin = datetime.fromtimestamp(range_begin(now))
    assert begin == datetime(2026, 4, 2) - timedelta(days=DAYS - 1)


NUMBER = st.floats(-1e12, 1e12) | st.sampled_from([0.0, NOW, NOW - DAY, NOW + 30])
TIMES = st.none() | NUMBER | st.floats(NOW - 20 * DAY, NOW + DAY)
ROWS = st.lists(
    st.builds(
        JobRow,
        type=st.none() | st.sampled_from(["qc", "insert", "", "a:b"]),
        status=st.sampled_from(["success", "error", "odd", None]),
        started=TIMES,
        finished=TIMES,
        created=NUMBER | st.floats(NOW - 20 * DAY, NOW),
        state=st.sampled_from([state.word for state in STATES]),
        job=st.none() | st.just(read_job("job", {"status": "running"})),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(ROWS, st.booleans())
def test_any_rows_are_measured(rows: list[JobRow], is_cut: bool) -> None:
    pulse = take_pulse(rows, NOW, is_cut=is_cut)
    assert sum(day.created for day in pulse.days) == pulse.jobs == sum(each.created for each in pulse.types)
    assert all(count >= 0 for count in pulse.waiting)
    assert sum(sum(day.ended.values()) for day in pulse.days) == sum(
        sum(t.ended.values()) for t in pulse.types
    )
    assert all(found.text for found in pulse.findings([]))
    assert all(
        wait is None or wait >= 0 for wait in (pulse.longest_waiting, *(day.waited for day in pulse.days))
    )


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_share_that_is_no_larger_is_never_unusual(
    part: int, rest: int, usual: int, usual_rest: int
) -> None:
    now, before = Share(part, part + rest), Share(usual, usual + usual_rest)
    if before.whole >= 5 and part * before.whole <= usual * now.whole:
        assert not now.exceeds(before)
