"""Regular expressions that people type, hostile ones among them."""

import time

import pytest

from gnjobs.errors import FilterError
from gnjobs.watch.filters import parse_filter
from gnjobs.watch.patterns import LONGEST_PATTERN, SECONDS_IN_ALL, Pattern
from gnjobs.watch.rows import JobRow

SLOW, ITS_TEXT = "^(.*?,){30}P", "1," * 60


def test_a_slow_one_is_given_up() -> None:
    slow = Pattern(SLOW)
    started = time.process_time()
    for _ in range(1000):
        assert not slow.is_in(ITS_TEXT)
    assert slow.is_spent
    assert time.process_time() - started < 10 * SECONDS_IN_ALL


@pytest.mark.parametrize("text", ["", "(", "*", "[a", "(?P<x>", "a{2,1}", "\\", "a" * (LONGEST_PATTERN + 1)])
def test_none_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(FilterError) as refused:
        Pattern(text)
    assert "\n" not in str(refused.value)


def test_what_python_would_warn_of_is_taken() -> None:
    assert Pattern("[[a]b").is_in("ab")


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [(r"row \d+", "Row 12 row 7", [(0, 6), (7, 12)]), ("Row", "row Row", [(4, 7)]), (r"\D+", "1ab2", [(1, 3)]),
     ("x*", "ab", [])],
)  # fmt: skip
def test_capitals_count_only_where_there_are_some(
    pattern: str, text: str, spans: list[tuple[int, int]]
) -> None:
    assert Pattern(pattern).spans(text) == spans


def row(label: str, user: str) -> JobRow:
    return JobRow(key="1", label=label, user=user)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("re:^qc", True),
        ('re:"^QC .*july$"', True),
        ("re:^smith", False),
        ("re:j?smith$", True),
        ("-re:QC", False),
    ],
)
def test_a_filter_matches_any_of_a_jobs_texts(text: str, found: bool) -> None:
    assert parse_filter(text).matches(row("QC average, July", "jsmith"), 0.0) is found


def test_a_filter_that_is_too_slow_says_so_and_matches_nothing() -> None:
    found = parse_filter(f"re:{SLOW}")
    assert not any(found.matches(row(ITS_TEXT, "x"), 0.0) for _ in range(100))
    assert found.is_too_slow
