"""Lengths of time and times, as they are read and said."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnjobs.text import (
    DAY,
    LONGEST,
    age_text,
    clock_text,
    count_text,
    duration_words,
    last_line,
    parse_duration,
    plural,
    silence_text,
)

NOW = datetime(2026, 7, 14, 12, 0).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("90", 90), ("1.5h", 5400), ("30d", 30 * DAY), ("15m", 900), ("15 min", 900), ("1w", 7 * DAY),
        (" 2H ", 7200), ("1d 2h 3m 4s", 93784), ("10s", 10),
    ],
)  # fmt: skip
def test_what_people_type(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_the_last_line_of_a_traceback_is_its_error() -> None:
    assert last_line("Traceback\n  x\nValueError: bad\n\n") == "ValueError: bad"
    assert last_line("the only one") == "the only one"
    assert last_line(" \n") == last_line(None) == ""


def test_one_is_said_otherwise_than_many() -> None:
    assert [plural(number, "fault") for number in (0, 1, 12_345)] == ["0 faults", "1 fault", "12 345 faults"]
    assert [plural(number, "match", "matches") for number in (1, 2)] == ["1 match", "2 matches"]


def test_digits_are_grouped_in_one_way() -> None:
    assert [count_text(number) for number in (0, 9999, 10_000, 1234567)] == [
        "0",
        "9999",
        "10 000",
        "1 234 567",
    ]


@pytest.mark.parametrize(
    "text",
    ["", " ", "h", "-5m", "5x", "1h2", "m5", "1e3", "nan", "inf", "٣h", "9" * 400, "101y", "40000d", "1..5h"],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="length of time") as said:
        parse_duration(text)
    assert len(str(said.value)) < 200


@given(st.floats(0, LONGEST, allow_nan=False))
def test_any_length_is_said_shortly_and_never_as_more_than_it_is(seconds: float) -> None:
    assert 2 <= len(age_text(seconds)) <= 11
    assert parse_duration(age_text(seconds)) <= seconds + 1e-6
    assert parse_duration(duration_words(seconds)) <= seconds + 1e-6


def test_ages_in_columns_and_sentences() -> None:
    assert [age_text(s) for s in (-5, 0, 59.9, 60, 3599, 3600, 7800, DAY, 3.2 * DAY)] == [
        "0s", "0s", "59s", "1m", "59m", "1h 00m", "2h 10m", "1d 0h", "3d 4h",
    ]  # fmt: skip
    assert [duration_words(s) for s in (-1, 4, 1380, 7200, 7800, 3.2 * DAY)] == [
        "0 s", "4 s", "23 min", "2 h", "2 h 10 min", "3 d",
    ]  # fmt: skip


def test_nothing_under_a_minute_is_a_silence() -> None:
    assert [silence_text(s) for s in (None, 0, 59, 60, 1380)] == ["", "", "", "1m", "23m"]


def test_times_are_as_exact_as_their_distance_asks() -> None:
    assert clock_text(None, NOW) == "–"
    assert clock_text(NOW - 3600, NOW) == "11:00"
    assert clock_text(NOW - 2 * DAY, NOW) == "Sun 12:00"
    assert "Jun" in clock_text(NOW - 30 * DAY, NOW)
    assert "2024" in clock_text(NOW - 700 * DAY, NOW)
    assert "2999" in clock_text(32503600000.0, NOW)
