"""Filters as operators type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnjobs.errors import FilterError
from gnjobs.health.verdict import Health
from gnjobs.records.fields import Job
from gnjobs.watch.filters import LONGEST_FILTER, matcher, parse_filter
from gnjobs.watch.rows import row_of

NOW = 100_000.0
STUCK = row_of(
    Job(
        id="3f2a91c0",
        status="running",
        label="QC average, July",
        user="jsmith",
        type="qc",
        host="gn-web1",
        message="7 of 12 files done",
        created=NOW - 7300,
        started=NOW - 7200,
        heartbeat=NOW - 1,
        last_output=NOW - 1201,
        cpu=0.0,
        idle_since=NOW - 1201,
        percent=62.0,
        children=12,
    ),
    verdict="stuck",
)
DONE = row_of(
    Job(id="b1", status="success", label="QC geno", user="agunn", type="qc", faults=2, created=NOW - 60)
)
FAILED = row_of(
    Job(id="c2", status="error", label="insert pheno", type="insert", error="ValueError: bad cell")
)
ROWS = {"stuck": STUCK, "done": DONE, "failed": FAILED}


def passing(text: str) -> set[str]:
    found = parse_filter(text)
    return {name for name, row in ROWS.items() if found.matches(row, NOW)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"stuck", "done", "failed"}),
        ("qc", {"stuck", "done"}),
        ("QC july", {"stuck"}),
        ('"average, july"', {"stuck"}),
        ("bad CELL", {"failed"}),
        ("3f2a", {"stuck"}),
        ("state:STUCK", {"stuck"}),
        ("state:running", set()),
        ("state:success,err", {"done", "failed"}),
        ("state:faults", {"done"}),
        ("state:trouble", {"stuck"}),
        ("state:all", {"stuck", "done", "failed"}),
        ("-state:trouble", {"done", "failed"}),
        ("!qc", {"failed"}),
        ("user:js", {"stuck"}),
        ("user:jsmith,AGUNN", {"stuck", "done"}),
        ("host:gn-web1 type:qc", {"stuck"}),
        ("host:gn-web1$ user:js", {"stuck"}),
        ("host:gn-web$", set()),
        ('user:jsmit$,"AGUNN"$', {"done"}),
        ("id:b", {"done"}),
        ('label:"QC g"', {"done"}),
        ("label:geno,pheno", {"done", "failed"}),
        ("age>2h", {"stuck"}),
        ("age<30m", {"done"}),
        ("run>=2h", {"stuck"}),
        ("run>2h", set()),
        ("silent>10m", {"stuck"}),
        ("silent<10m", set()),
        ("faults>0", {"done"}),
        ("faults=0", {"stuck", "failed"}),
        ("percent>50 percent<63%", {"stuck"}),
        ("cpu<1", {"stuck"}),
        ("children>=12", {"stuck"}),
        ('"state:done"', set()),
        ("-", set()),
    ],
)
def test_what_passes(text: str, expected: set[str]) -> None:
    assert passing(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("state:", "needs a value"),
        ("state:sleepy", "no state begins with 'sleepy'"),
        ("age>soon", "a length of time"),
        ("faults>many", "a number"),
        ("age:2h", "age>"),
        ("user>3", "use user:"),
        ("slient>10m", r"unknown key slient> \(known: age"),
        ("owner:me", r"unknown key owner: \(known: state"),
        ('label:"open', "not closed"),
        ("x" * (LONGEST_FILTER + 1), "at most"),
    ],
)
def test_what_is_refused_in_one_line(text: str, part: str) -> None:
    with pytest.raises(FilterError, match=part) as caught:
        parse_filter(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    refusal, found = "", parse_filter("")
    try:
        found = parse_filter(text)
    except FilterError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert {found.matches(row, NOW) for row in ROWS.values()} <= {True, False}


def test_a_filter_is_its_text_and_knows_whether_time_changes_it() -> None:
    found = parse_filter("state:STUCK,DEAD age>2h -label:test foo")
    assert str(found) == "state:STUCK,DEAD age>2h -label:test foo"
    assert (bool(found), found.timed) == (True, True)
    assert not parse_filter(" ")
    assert not parse_filter("silent>10m").timed


def test_a_judged_job_can_be_matched_without_a_row() -> None:
    matches = matcher("state:STUCK age>1m", now=NOW)
    job = Job(id="a", status="running", created=NOW - 100)
    assert matches(job, Health("stuck"))
    assert not matches(job, Health())
