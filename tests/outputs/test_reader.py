"""Numbered lines, read in any part, with what is missing from them."""

from itertools import pairwise

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from gnjobs.outputs.lines import Extent, Line
from gnjobs.outputs.reader import OutputReader
from tests.support.outputs import KEY, add, shown


def test_numbered_lines(client: redis.Redis) -> None:
    add(client, 3, "a", "b", "c")
    add(client, 4, "d", kind="err")
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(1, 4, "numbered")
    assert reader.read(2, 2) == [Line(2, 1700000000.0, "out", "b"), Line(3, 1700000000.0, "out", "c")]
    assert shown(reader.read(3, 10)) == [(3, "c"), (4, "d")]
    assert reader.read(5, 10) == reader.read(1, 0) == []
    assert shown(reader.tail(2)) == [(3, "c"), (4, "d")]
    assert shown(reader.tail(9)) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert shown(list(reader.iterate(2, 3))) == [(2, "b"), (3, "c")]


def test_missing_lines_are_a_hole(client: redis.Redis) -> None:
    add(client, 2, "a", "b")
    add(client, 110_001, "c")
    reader = OutputReader(client, KEY)
    expected = [(1, "a"), (2, "b"), (3, 110_000), (110_001, "c")]
    assert shown(reader.read(1, 10)) == shown(list(reader.iterate())) == expected
    assert shown(reader.read(50_000, 1)) == [(50_000, 110_000), (110_001, "c")]
    assert shown(list(reader.iterate(2, 50))) == [(2, "b"), (3, 50)]


def test_overlapping_lines_are_skipped(client: redis.Redis) -> None:
    add(client, 3, "a", "b", "c")
    add(client, 4, "B", "C", "d")
    add(client, 5, "A", "B", "C", "D", "e", "f", "g")
    reader = OutputReader(client, KEY)
    assert shown(reader.read(1, 10)) == [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "g")]


def test_a_trimmed_beginning(client: redis.Redis) -> None:
    for number in range(1, 10):
        add(client, 2 * number, "x", f"line {2 * number}")
    client.xtrim(KEY, minid="7-0", approximate=False)
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(7, 18, "numbered")
    assert shown(reader.read(1, 2)) == [(1, 6), (7, "x"), (8, "line 8")]
    assert shown(reader.tail(100))[0] == (7, "x")


def test_everything_was_trimmed(client: redis.Redis) -> None:
    add(client, 7, "a")
    client.xtrim(KEY, maxlen=0, approximate=False)
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(8, 7, "numbered")
    assert reader.tail(3) == []
    assert reader.follow(7, 0.05) == []


def test_an_entry_of_very_many_lines(client: redis.Redis) -> None:
    add(client, 100_000, *[str(number) for number in range(1, 100_001)])
    reader = OutputReader(client, KEY)
    assert shown(reader.read(77_777, 2)) == [(77_777, "77777"), (77_778, "77778")]
    assert shown(reader.tail(1)) == [(100_000, "100000")]
    assert len(list(reader.iterate())) == 100_000


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), min_size=1, max_size=30),
    st.integers(1, 200),
    st.integers(0, 50),
)
def test_any_part_of_any_stream(
    fake_client: redis.Redis, entries: list[tuple[int, int]], first: int, count: int
) -> None:
    """Whatever part is read: the numbers rise by one, and what is missing is a hole of exactly that size."""
    fake_client.delete(KEY)
    there: set[int] = set()
    last = 0
    for lines, gap in entries:
        last += lines + gap
        there.update(range(last - lines + 1, last + 1))
        add(fake_client, last, *[f"line {number}" for number in range(last - lines + 1, last + 1)])
    found = OutputReader(fake_client, KEY).read(first, count)
    wanted = sorted(number for number in there if number >= first)[:count]
    assert [item.number for item in found if isinstance(item, Line)] == wanted
    assert all(item.text == f"line {item.number}" for item in found if isinstance(item, Line))
    spans = [
        (item.number, item.number) if isinstance(item, Line) else (item.first, item.last) for item in found
    ]
    assert all(after[0] == before[1] + 1 for before, after in pairwise(spans))
    assert not spans or spans[0][0] == first


@pytest.fixture(scope="module")
def fake_client() -> redis.Redis:
    import fakeredis

    return fakeredis.FakeStrictRedis(protocol=2)


def test_an_entry_of_another_form_inside_is_a_line_too(client: redis.Redis) -> None:
    add(client, 1, "a")
    client.xadd(KEY, {"who": "me", "what": "x\ny"}, id="2-0")
    client.xadd(KEY, {"one": "alone"}, id="3-0")
    add(client, 4, "b")
    reader = OutputReader(client, KEY)
    assert shown(reader.read(1, 9)) == [(1, "a"), (2, '{"who":"me","what":"x\\ny"}'), (3, "alone"), (4, "b")]
