"""The catalogue against a plain model of it: whatever happens in whatever order, lists and counts are right."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnjobs.catalogue import Catalogue
from gnjobs.changes import Change
from gnjobs.filters import Filter, parse_filter
from gnjobs.groups import ALL, DONE, GROUPS, RUNNING, TROUBLE, group_of
from gnjobs.listing import ROWS_A_STEP, Listing
from gnjobs.records import Job
from gnjobs.rows import JobRow, row_of
from gnjobs.sorting import DEFAULT_SORT, SORT_COLUMNS, Sort


class SilenceJudge:
    """Stuck 100 s after the heartbeat."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.learnt: dict[str, Any] = {}
        self.judged = 0

    def judge(self, row: JobRow, now: float) -> tuple[str, float | None]:
        self.judged += 1
        if row.key in self.learnt:
            return "dead", None
        if row.heartbeat is None:
            return "ok", None
        limit = row.heartbeat + 100
        return ("stuck", None) if now >= limit else ("ok", limit)

    def forget(self, row: JobRow) -> None:
        self.forgotten.append(row.key)

    def listen(self, *, hears: bool) -> None:
        pass

    def learn(self, presences: Mapping[str, Any]) -> None:
        self.learnt.update(presences)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[Catalogue, SilenceJudge, Clock]:
    judge, clock = SilenceJudge(), Clock()
    return Catalogue(judge, clock), judge, clock


def finish(catalogue: Catalogue) -> None:
    while catalogue.work():
        pass


def job(number: int, status: str = "success", **fields: Any) -> JobRow:
    fields = {"created": float(number), "label": f"job {number}", "user": "tux"} | fields
    return row_of(Job(id=f"j{number}", status=status, **fields))


def shown(listing: Listing) -> list[str]:
    return [row.key for row in listing.visible(0, len(listing))]


ROWS = st.builds(
    lambda number, status, user, created, heartbeat, percent: job(
        number, status, user=user, created=created, heartbeat=heartbeat, started=created, percent=percent
    ),
    st.integers(0, 12),
    st.sampled_from(["pending", "running", "stopping", "success", "error", "killed", "lost", "odd"]),
    st.sampled_from(["tux", "mhall", None]),
    st.sampled_from([None, 1.0, 2.0, 900.0]),
    st.sampled_from([None, 850.0, 950.0]),
    st.sampled_from([None, 0.0, 50.0]),
)
ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.lists(ROWS, max_size=4)),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 12).map("j{}".format), max_size=3)),
    st.tuples(st.just("time"), st.integers(0, 120)),
    st.tuples(st.just("step"), st.none()),
    st.tuples(st.just("refresh"), st.none()),
)
LISTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"sort": Sort("progress", descending=True)},
    {"sort": Sort("user")},
    {"group": TROUBLE},
    {"users": {"tux"}},
    {"filter": parse_filter("state:run,done user:t")},
    {"filter": parse_filter("-mhall"), "group": RUNNING, "sort": Sort("created")},
)


def expected(rows: Mapping[str, JobRow], options: dict[str, Any], now: float) -> list[str]:
    wanted: Filter = options.get("filter") or parse_filter("")
    group, users = options.get("group", ALL), options.get("users")
    passing = [
        row
        for row in rows.values()
        if wanted.matches(row, now)
        and (group in (ALL, group_of(row.state)))
        and (users is None or row.user in users)
    ]
    sort: Sort = options.get("sort", DEFAULT_SORT)
    passing.sort(key=lambda row: (row.rank, row.created, row.key), reverse=True)
    if sort.column is None:
        return [row.key for row in passing]
    if not sort.descending:
        passing.sort(key=lambda row: row.key)
        passing.sort(key=lambda row: row.created, reverse=True)
    else:
        passing.sort(key=lambda row: (row.created, row.key), reverse=True)
    value = SORT_COLUMNS[sort.column]
    known = [row for row in passing if value(row) is not None]
    known.sort(key=value, reverse=sort.descending)
    return [row.key for row in known + [row for row in passing if value(row) is None]]


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=14))
def test_lists_and_counts_are_right_whatever_happens(actions: list[tuple[str, Any]]) -> None:
    catalogue, judge, clock = make()
    model: dict[str, JobRow] = {}
    listings = [catalogue.listing(**options) for options in LISTINGS]
    for action, argument in actions:
        match action:
            case "put":
                catalogue.put(argument)
                model |= {row.key: row for row in argument}
            case "remove":
                catalogue.remove(argument)
                model = {key: row for key, row in model.items() if key not in argument}
            case "time":
                clock.now += argument
                catalogue.expire()
            case "step":
                next((each for each in listings if each.filling), listings[0]).fill_step()
            case "refresh":
                for listing in listings:
                    listing.refresh()
    finish(catalogue)
    judged = {
        key: row if row.is_final else row.judged(judge.judge(row, clock.now)[0]) for key, row in model.items()
    }
    for listing, options in zip(listings, LISTINGS, strict=True):
        assert shown(listing) == expected(judged, options, clock.now)
        assert [listing.index_of(key) for key in shown(listing)] == list(range(len(listing)))
    counts = catalogue.counts()
    groups = [group_of(row.state) for row in judged.values()]
    assert counts == {g: len(groups) if g == ALL else groups.count(g) for g in GROUPS}
    assert catalogue.counts({"tux"})[ALL] == sum(row.user == "tux" for row in judged.values())
    assert {row.key for row in catalogue.unfinished()} == {k for k, r in judged.items() if not r.is_final}


def test_troubled_first_then_unfinished_then_newest() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    catalogue.put([job(3, "running", heartbeat=999.0), job(4, "running", heartbeat=10.0), job(5)])
    assert shown(catalogue.listing()) == ["j4", "j3", "j5", "j2", "j1", "j0"]
    assert catalogue.counts() == {"all": 6, "trouble": 1, "running": 1, "waiting": 0, "failed": 0, "done": 4}


def test_time_alone_makes_a_verdict_and_judges_only_those_that_are_due() -> None:
    catalogue, judge, clock = make()
    catalogue.put([job(n, "running", heartbeat=990.0 + n) for n in range(5)])
    listing = catalogue.listing()
    assert catalogue.next_due() == 1090.0
    judged, version = judge.judged, listing.version
    clock.now = 1091.5
    assert catalogue.expire() == 2
    assert judge.judged - judged == 2
    assert listing.version > version
    assert [row.state for row in listing.visible(0, 3)] == ["STUCK", "STUCK", "running"]
    assert catalogue.next_due() == 1092.0


def test_a_beat_puts_off_what_was_due() -> None:
    catalogue, judge, clock = make()
    for beat in range(1000):
        catalogue.put([job(1, "running", heartbeat=1000.0 + beat)])
    assert catalogue.next_due() == 1100.0
    clock.now = 1101.0
    assert catalogue.expire() == 0
    assert catalogue.next_due() == 2099.0
    catalogue.put([job(1, "success")])
    clock.now = 3000.0
    assert (catalogue.expire(), judge.forgotten) == (0, ["j1"])


def test_what_was_seen_of_processes_changes_verdicts() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(1, "running", heartbeat=1000.0)])
    catalogue.apply(Change(presences={"j1": "gone", "j2": "gone"}))
    assert [row.state for row in catalogue.unfinished()] == ["DEAD"]


def test_a_sweep_removes_what_was_not_told_again() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(10)])
    catalogue.apply(Change(sweep="begin"))
    catalogue.apply(Change(rows=tuple(job(n) for n in range(0, 10, 2))))
    catalogue.apply(Change(sweep="end"))
    catalogue.apply(Change(rows=(job(11),)))
    assert len(catalogue) == 11
    finish(catalogue)
    assert shown(catalogue.listing()) == ["j11", "j8", "j6", "j4", "j2", "j0"]


def test_a_row_that_is_read_again_unchanged_is_no_news() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    first, version = catalogue.get("j1"), catalogue.version
    catalogue.apply(Change(sweep="begin", rows=tuple(job(n) for n in range(3))))
    catalogue.apply(Change(sweep="end"))
    finish(catalogue)
    assert catalogue.get("j1") is first
    assert catalogue.version == version
    assert len(catalogue) == 3


def test_a_second_sweep_forgets_the_first() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    catalogue.apply(Change(sweep="begin", rows=(job(0),)))
    catalogue.apply(Change(sweep="begin"))
    catalogue.apply(Change(sweep="end", rows=(job(1),)))
    finish(catalogue)
    assert shown(catalogue.listing()) == ["j1"]


def test_a_list_is_right_from_its_top_while_it_fills() -> None:
    catalogue, _, _ = make()
    number = 3 * ROWS_A_STEP
    catalogue.put([job(n, percent=float(n % 2)) for n in range(number)])
    listing = catalogue.listing(filter=parse_filter("percent=1"))
    assert (len(listing), listing.ready) == (0, False)
    listing.fill_step()
    assert listing.row_at(0).key == f"j{number - 1}"
    assert (len(listing), listing.ready) == (ROWS_A_STEP // 2, False)
    catalogue.put([job(number - 1, percent=0.0), job(1, percent=0.0)])
    finish(catalogue)
    assert listing.ready
    assert shown(listing) == [f"j{n}" for n in range(number - 3, 1, -2)]


def test_a_row_that_changes_where_the_filling_stands_is_neither_lost_nor_doubled() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n, user=None, type=None) for n in range(2 * ROWS_A_STEP)])
    listing = catalogue.listing(filter=parse_filter("job"))
    listing.fill_step()
    last = listing.row_at(len(listing) - 1).key
    number = int(last[1:])
    for label in ("a job", "z job"):
        catalogue.put([job(number, label=label, user="mhall", type="qc")])
        assert len(listing) == ROWS_A_STEP
    finish(catalogue)
    assert len(shown(listing)) == len(set(shown(listing))) == 2 * ROWS_A_STEP


def test_a_filter_by_age_is_renewed_as_time_passes() -> None:
    catalogue, _, clock = make()
    catalogue.put([job(1, created=900.0), job(2, created=990.0)])
    listing = catalogue.listing(filter=parse_filter("age<2m"))
    finish(catalogue)
    assert shown(listing) == ["j2", "j1"]
    due = catalogue.next_due()
    assert due is not None
    clock.now = due + 20
    catalogue.expire()
    assert shown(listing) == ["j2", "j1"]
    finish(catalogue)
    assert shown(listing) == ["j2"]


def test_closed_lists_are_kept_no_more() -> None:
    catalogue, _, _ = make()
    listing = catalogue.listing(group=DONE)
    catalogue.close(listing)
    finish(catalogue)
    catalogue.put([job(1)])
    assert (len(listing), listing.version) == (0, 0)


def test_positions_outside_are_empty_or_errors() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(n) for n in range(3)])
    listing = catalogue.listing()
    assert listing.visible(2, 10) == [catalogue.get("j0")]
    assert listing.visible(5, 10) == listing.visible(-3, 0) == []
    assert listing.index_of("nothing") is None
    assert list(listing.keys()) == ["j2", "j1", "j0"]
    for index in (-1, 3):
        with pytest.raises(IndexError):
            listing.row_at(index)


def test_users_come_with_their_counts_and_newest_job() -> None:
    catalogue, _, _ = make()
    catalogue.put([job(1), job(2, "error"), job(3, user=None)])
    assert set(catalogue.user_counts()) == {"tux", ""}
    assert catalogue.user_counts()["tux"]["failed"] == 1
    assert (catalogue.newest_of("tux"), catalogue.newest_of("nobody")) == (2.0, 0.0)
    catalogue.remove(["j1", "j2", "j3"])
    assert (len(catalogue), dict(catalogue.user_counts()), catalogue.counts()["all"]) == (0, {}, 0)


def test_every_column_sorts_rows_of_which_nothing_is_known() -> None:
    catalogue, _, _ = make()
    catalogue.put([row_of(Job(id=f"x{n}")) for n in range(3)])
    catalogue.put([job(n, random.choice(["running", "success"]), heartbeat=5.0) for n in range(3)])
    for column in SORT_COLUMNS:
        for descending in (False, True):
            listing = catalogue.listing(sort=Sort(column, descending))
            finish(catalogue)
            assert len(set(shown(listing))) == 6
