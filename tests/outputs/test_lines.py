import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnjobs.outputs.lines import Entry, Hole, Line, encode_json, entry_number, read_entry, up_to
from gnjobs.records.values import encode_text
from tests.support.hostile import TEXTS

FIELDS = {b"at": b"1700000000123", b"kind": b"out", b"data": b"a\nb\nc"}


def test_a_hole_of_one_line_is_one() -> None:
    assert [Hole(5, last).words for last in (5, 7)] == ["line 5 is missing", "lines 5 to 7 are missing"]


def test_what_is_cut_at_a_line_ends_with_it() -> None:
    items = [Hole(1, 3), Line(4, None, "out", "a"), Hole(5, 9)]
    assert [up_to(items, last)[-1] for last in (2, 4, 6)] == [Hole(1, 2), items[1], Hole(5, 6)]
    assert up_to(items, 0) == []


def test_an_entry_ends_at_its_number() -> None:
    entry = read_entry(b"10-0", FIELDS)
    assert entry is not None
    assert (entry.first, entry.last, entry.at, entry.kind) == (8, 10, 1700000000.123, "out")
    assert [(line.number, line.text) for line in entry.lines(9, 5)] == [(9, "b"), (10, "c")]


@pytest.mark.parametrize(
    ("entry_id", "fields"),
    [
        (b"10-1", FIELDS),
        (b"0-0", FIELDS),
        (b"1000000000000-0", FIELDS),
        (b"10-0", {b"kind": b"out", b"at": b"1", b"data": b"x"}),
        (b"10-0", {b"at": b"1", b"kind": b"out"}),
        (b"10-0", FIELDS | {b"more": b""}),
    ],
)
def test_other_entries_are_not_numbered_lines(entry_id: bytes, fields: dict[bytes, bytes]) -> None:
    assert read_entry(entry_id, fields) is None


def test_the_largest_number() -> None:
    assert entry_number(b"999999999999-0") == 10**12 - 1


def test_a_time_that_is_none_is_unknown() -> None:
    entry = read_entry(b"1-0", FIELDS | {b"at": b"soon", b"data": b""})
    assert entry is not None
    assert [(line.at, line.text) for line in entry.lines(1, 9)] == [(None, "")]


@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 70))
def test_any_part_of_an_entry_can_be_taken(total: int, start: int, count: int) -> None:
    texts = [f"line {number}" for number in range(total)]
    entry = Entry(101, 100 + total, None, "out", "\n".join(texts).encode())
    assert [line.text for line in entry.lines(101 + start, count)] == texts[start : start + count]


@given(st.binary())
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    assert encode_text(data.decode("utf-8", "surrogateescape")) == data


@given(st.text(st.characters(exclude_categories=()) | st.sampled_from("\ud800\udfff\udc80\udcff")))
def test_any_text_can_be_encoded(text: str) -> None:
    assert isinstance(encode_text(text), bytes)


class _Scalar:
    def item(self) -> int:
        return 7


_CIRCLE: list[object] = []
_CIRCLE.append(_CIRCLE)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": float("nan")},
        {"a": "\ud800"},
        {(1, 2): 3},
        {"a": b"\xff"},
        object,
        _CIRCLE,
        2**200,
        *TEXTS.values(),
    ],
)
def test_any_value_is_one_line_of_json(value: object) -> None:
    data = encode_json(value)
    assert b"\n" not in data
    json.loads(data)


def test_numbers_of_other_libraries_stay_numbers() -> None:
    assert encode_json({"row": _Scalar()}) == b'{"row":7}'
