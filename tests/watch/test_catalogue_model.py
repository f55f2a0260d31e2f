"""The catalogue against a plain model of it: whatever happens in whatever order, lists and counts are right."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gnjobs.health.states import ALL, GROUP_RUNNING, GROUPS, TROUBLE, group_of
from gnjobs.watch.filters import Filter, parse_filter
from gnjobs.watch.listing import DEFAULT_SORT, SORT_COLUMNS, Sort
from gnjobs.watch.rows import JobRow
from tests.support.catalogues import finish, job, make, shown

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
    {"filter": parse_filter("-mhall"), "group": GROUP_RUNNING, "sort": Sort("created")},
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
