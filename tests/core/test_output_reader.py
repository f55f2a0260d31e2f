"""Outputs of every form, read as numbered lines."""

import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from gnjobs.errors import OutputRestarted
from gnjobs.lines import Extent, Hole, Line
from gnjobs.output_reader import OutputReader
from gnjobs.output_writer import OutputWriter
from tests.servers import Server
from tests.waiting import wait_for

KEY = "k"


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


def add(client: redis.Redis, last: int, *texts: str, kind: str = "out") -> None:
    client.xadd(KEY, {"at": 1700000000000, "kind": kind, "data": "\n".join(texts)}, id=f"{last}-0")


def shown(found: list[Line | Hole]) -> list[object]:
    return [(item.number, item.text) if isinstance(item, Line) else (item.first, item.last) for item in found]


def test_numbered_lines(client: redis.Redis) -> None:
    add(client, 3, "a", "b", "c")
    add(client, 4, "d", kind="err")
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(1, 4, "numbered", trimmed=False)
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
    assert reader.extent() == Extent(7, 18, "numbered", trimmed=True)
    assert shown(reader.read(1, 2)) == [(1, 6), (7, "x"), (8, "line 8")]
    assert shown(reader.tail(100))[0] == (7, "x")


def test_everything_was_trimmed(client: redis.Redis) -> None:
    add(client, 7, "a")
    client.xtrim(KEY, maxlen=0, approximate=False)
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(8, 7, "numbered", trimmed=True)
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


@pytest.mark.parametrize(
    ("entry_id", "fields"),
    [
        ("1700000000000-0", {"at": 1, "kind": "out", "data": "x"}),
        ("5-1", {"at": 1, "kind": "out", "data": "x"}),
        ("5-0", {"at": 1, "kind": "out", "data": "x", "more": 1}),
        ("5-0", {"data": "x", "kind": "out", "at": 1}),
    ],
)
def test_streams_that_are_not_numbered_lines(
    client: redis.Redis, entry_id: str, fields: dict[str, object]
) -> None:
    add(client, 1, "a")
    client.xadd(KEY, fields, id=entry_id)
    assert OutputReader(client, KEY).extent() == Extent(1, 2, "stream", trimmed=False)


def test_somebody_elses_stream(client: redis.Redis) -> None:
    for number in range(1, 5001):
        client.xadd(KEY, {"text": f"line {number}"}, id=f"{1700000000000 + number}-0")
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(1, 5000, "stream", trimmed=False)
    assert reader.read(2, 1) == [Line(2, 1700000000.002, "out", "line 2")]
    for _ in range(2):
        for first in (1, 999, 1000, 1001, 2500, 4000, 4001):
            assert shown(reader.read(first, 2)) == [
                (first, f"line {first}"),
                (first + 1, f"line {first + 1}"),
            ]
    assert shown(reader.tail(1)) == [(5000, "line 5000")]
    assert len(list(reader.iterate())) == 5000
    assert reader.follow(5000, 0.05) == []
    client.xadd(KEY, {"text": "more"}, id="1800000000000-0")
    assert shown(reader.follow(5000, 5)) == [(5001, "more")]


def test_somebody_elses_stream_that_was_trimmed(client: redis.Redis) -> None:
    for number in range(1, 3001):
        client.xadd(KEY, {"text": f"line {number}"})
    client.xtrim(KEY, maxlen=2000, approximate=False)
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(1001, 3000, "stream", trimmed=True)
    assert shown(reader.read(1, 1)) == [(1, 1000), (1001, "line 1001")]
    assert shown(reader.read(2999, 5)) == [(2999, "line 2999"), (3000, "line 3000")]


def test_a_list(client: redis.Redis) -> None:
    client.rpush(KEY, *[f"line {number}" for number in range(1, 2501)], b"\xff\ntwo")
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(1, 2501, "list", trimmed=False)
    assert reader.tail(1) == [Line(2501, None, "out", "\udcff\ntwo")]
    assert [item.number for item in reader.read(1, 9999) if isinstance(item, Line)] == list(range(1, 2502))
    assert shown(reader.read(0, 1)) == [(1, "line 1")]
    with pytest.raises(OutputRestarted):
        reader.follow(3000, 0.05)


@pytest.mark.parametrize("field", [None, "stdout"])
@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"\n", [""]),
        (b"\xff\r\x85", ["\udcff\r\udc85"]),
        (b"one", ["one"]),
    ],
)
def test_a_text(fake: redis.Redis, field: str | None, value: bytes, lines: list[str]) -> None:
    if field is None:
        fake.set(KEY, value)
    else:
        fake.hset(KEY, field, value)
    reader = OutputReader(fake, KEY, field)
    assert reader.extent() == Extent(1, len(lines), "field" if field else "string", trimmed=False)
    assert shown(reader.read(1, 99)) == list(enumerate(lines, 1))
    assert shown(reader.read(2, 1)) == list(enumerate(lines, 1))[1:2]


def test_an_empty_text(fake: redis.Redis) -> None:
    fake.set(KEY, "")
    reader = OutputReader(fake, KEY)
    assert reader.extent().last == 0
    assert reader.read(1, 9) == []


def test_a_long_text(client: redis.Redis) -> None:
    """Lines across the borders of chunks, found from either end, also after it has grown."""
    lines = [f"{number} " + "x" * (number % 3000) for number in range(1, 5001)]
    client.set(KEY, "\n".join(lines[:3000]))
    reader = OutputReader(client, KEY)
    assert reader.extent().last == 3000
    client.append(KEY, "\n" + "\n".join(lines[3000:]))
    for first in (1, 1500, 2999, 3000, 3001, 4999):
        assert [item.text for item in reader.read(first, 2) if isinstance(item, Line)] == lines[
            first - 1 : first + 1
        ]
    assert [item.text for item in reader.iterate() if isinstance(item, Line)] == lines


def test_a_text_without_end_is_cut(client: redis.Redis) -> None:
    client.set(KEY, b"x" * 5_000_000 + b"\nlast")
    reader = OutputReader(client, KEY)
    assert reader.extent().last == 2
    first, last = reader.read(1, 2)
    assert isinstance(first, Line)
    assert isinstance(last, Line)
    assert len(first.text) <= 1024 * 1024 + 1
    assert first.text.endswith("x…")
    assert (last.number, last.text) == (2, "last")


def test_a_text_that_was_replaced(fake: redis.Redis) -> None:
    reader = OutputReader(fake, KEY)
    fake.set(KEY, "a\nb\nc\n")
    assert reader.extent().last == 3
    fake.set(KEY, "A\nB\nC\nD\n")
    assert shown(reader.read(1, 9)) == [(1, "A"), (2, "B"), (3, "C"), (4, "D")]
    fake.set(KEY, "x\n")
    with pytest.raises(OutputRestarted):
        reader.follow(4, 0.05)


def test_a_line_that_still_grows_is_awaited(fake: redis.Redis) -> None:
    fake.set(KEY, "a\nb")
    reader = OutputReader(fake, KEY)
    assert shown(reader.follow(1, 0.05)) == [(2, "b")]
    later = threading.Timer(0.05, lambda: fake.append(KEY, "ig\nc\n"))
    later.start()
    assert shown(reader.follow(1, 5)) == [(2, "big"), (3, "c")]
    later.join()


def test_no_such_key(fake: redis.Redis) -> None:
    for field in (None, "stdout"):
        reader = OutputReader(fake, KEY, field)
        assert reader.extent() == Extent(1, 0, "none", trimmed=False)
        assert reader.read(1, 9) == reader.tail(9) == reader.follow(0, 0.01) == list(reader.iterate()) == []


@pytest.mark.parametrize(
    "form", ["set", "zset", "hash", "string with field", "list with field", "huge field"]
)
def test_what_cannot_be_read_as_lines(client: redis.Redis, form: str) -> None:
    field = None
    match form:
        case "set":
            client.sadd(KEY, "a")
        case "zset":
            client.zadd(KEY, {"a": 1})
        case "hash":
            client.hset(KEY, "a", "b")
        case "string with field":
            client.set(KEY, "x")
            field = "stdout"
        case "list with field":
            client.rpush(KEY, "x")
            field = "stdout"
        case "huge field":
            client.hset(KEY, "stdout", b"x" * (64 * 1024 * 1024 + 1))
            field = "stdout"
    reader = OutputReader(client, KEY, field)
    assert reader.extent() == Extent(1, 0, "unreadable", trimmed=False)
    assert reader.read(1, 9) == reader.tail(9) == reader.follow(0, 0.01) == list(reader.iterate()) == []


@pytest.mark.parametrize("after", ["list", "string", "set", "stream", "nothing"])
@pytest.mark.parametrize("before", ["numbered", "list", "string", "field"])
def test_a_key_that_changes_its_type(client: redis.Redis, before: str, after: str) -> None:
    def fill(form: str) -> None:
        client.delete(KEY)
        match form:
            case "numbered":
                add(client, 1, "x")
            case "list":
                client.rpush(KEY, "x")
            case "string":
                client.set(KEY, "x")
            case "set":
                client.sadd(KEY, "x")
            case "stream":
                client.xadd(KEY, {"text": "x"})
            case "field":
                client.hset(KEY, "stdout", "x")

    reader = OutputReader(client, KEY, "stdout" if before == "field" else None)
    fill(before)
    assert len(reader.read(1, 9)) == 1
    fill(after)
    expected = 0 if before == "field" or after in ("set", "nothing") else 1
    assert len(reader.read(1, 9)) <= 1
    assert len(reader.tail(9)) == expected


def test_following_a_writer(server: Server, client: redis.Redis) -> None:
    reader = OutputReader(client, KEY)
    found: list[Line | Hole] = []

    def follow() -> None:
        while len(found) < 3000:
            found.extend(reader.follow(len(found), 5))

    thread = threading.Thread(target=follow)
    thread.start()
    with OutputWriter(server.url, KEY) as writer:
        for number in range(1, 3001):
            writer.write(f"line {number}")
    thread.join(20)
    assert shown(found) == [(number, f"line {number}") for number in range(1, 3001)]


def test_a_line_is_seen_when_it_comes(client: redis.Redis) -> None:
    add(client, 1, "a")
    reader = OutputReader(client, KEY)
    later = threading.Timer(0.05, lambda: add(client, 3, "b", "c"))
    later.start()
    start = time.monotonic()
    assert shown(reader.follow(1, 20)) == [(2, "b"), (3, "c")]
    assert time.monotonic() - start < 10
    later.join()


def test_following_says_what_is_missing(client: redis.Redis) -> None:
    add(client, 1, "a")
    reader = OutputReader(client, KEY)
    add(client, 5, "e")
    assert shown(reader.follow(1, 1)) == [(2, 4), (5, "e")]
    assert shown(reader.follow(3, 1)) == [(4, 4), (5, "e")]


def test_following_a_little_at_a_time(client: redis.Redis) -> None:
    add(client, 12_000, *map(str, range(1, 12_001)))
    reader = OutputReader(client, KEY)
    cursor = 0
    while cursor < 12_000:
        portion = reader.follow(cursor, 1)
        assert [item.number for item in portion if isinstance(item, Line)] == list(
            range(cursor + 1, cursor + 1 + len(portion))
        )
        cursor += len(portion)


def test_an_output_that_began_anew_is_noticed(client: redis.Redis) -> None:
    add(client, 9, "x")
    reader = OutputReader(client, KEY)
    assert reader.follow(9, 0.01) == []
    client.delete(KEY)
    with pytest.raises(OutputRestarted):
        reader.follow(9, 0.01)
    add(client, 2, "a", "b")
    with pytest.raises(OutputRestarted):
        reader.follow(9, 0.01)
    assert shown(reader.follow(0, 1)) == [(1, 1), (2, "b")] or shown(reader.read(1, 9)) == [
        (1, "a"),
        (2, "b"),
    ]


def test_following_with_a_short_timeout_of_the_socket(server: Server) -> None:
    with server.client(socket_timeout=0.5) as client:
        assert OutputReader(client, KEY).follow(0, 1.2) == []
        add(client, 1, "a")
        reader = OutputReader(client, KEY)
        assert reader.follow(1, 1.2) == []


def test_a_key_that_comes_to_be_while_it_is_followed(client: redis.Redis, server: Server) -> None:
    found: list[Line | Hole] = []
    reader = OutputReader(client, KEY)
    thread = threading.Thread(target=lambda: found.extend(reader.follow(0, 10)))
    thread.start()
    with server.client() as other:
        other.rpush(KEY, "a")
    thread.join(20)
    assert wait_for(lambda: shown(found)) == [(1, "a")]
