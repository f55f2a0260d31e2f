"""Outputs that are no numbered lines, read as if they were: others' streams, lists, texts, and what cannot be read."""

import pytest
import redis

from gnjobs.errors import OutputRestarted
from gnjobs.outputs.lines import Extent, Hole, Line
from gnjobs.outputs.reader import OutputReader
from tests.support.outputs import KEY, add, shown


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
    assert OutputReader(client, KEY).extent() == Extent(1, 2, "stream")


def test_somebody_elses_stream(client: redis.Redis) -> None:
    for number in range(1, 5001):
        client.xadd(KEY, {"text": f"line {number}"}, id=f"{1700000000000 + number}-0")
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(1, 5000, "stream")
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
    assert reader.extent() == Extent(1001, 3000, "stream")
    assert shown(reader.read(1, 1)) == [(1, 1000), (1001, "line 1001")]
    assert shown(reader.read(2999, 5)) == [(2999, "line 2999"), (3000, "line 3000")]


def test_a_list(client: redis.Redis) -> None:
    client.rpush(KEY, *[f"line {number}" for number in range(1, 2501)], b"\xff\ntwo")
    reader = OutputReader(client, KEY)
    assert reader.extent() == Extent(1, 2501, "list")
    assert reader.tail(1) == [Line(2501, None, "out", "\udcff\ntwo")]
    assert [item.number for item in reader.read(1, 9999) if isinstance(item, Line)] == list(range(1, 2502))
    assert shown(reader.read(0, 1)) == [(1, "line 1")]
    with pytest.raises(OutputRestarted):
        reader.follow(3000, 0.05)


class Portions(OutputReader):
    """Notes how many lines it is asked for at once."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        super().__init__(client, key)
        self.asked: list[int] = []

    def read(self, first: int, count: int) -> list[Line | Hole]:
        self.asked.append(count)
        return super().read(first, count)


@pytest.mark.parametrize(("length", "most"), [(500_000, 16), (10, 5000)])
def test_of_long_lines_few_are_read_at_once(client: redis.Redis, length: int, most: int) -> None:
    client.rpush(KEY, *["x" * length] * 50)
    reader = Portions(client, KEY)
    assert len(list(reader.iterate())) == 50
    assert max(reader.asked) == most


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
    assert reader.extent() == Extent(1, len(lines), "field" if field else "string")
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


def test_no_such_key(fake: redis.Redis) -> None:
    for field in (None, "stdout"):
        reader = OutputReader(fake, KEY, field)
        assert reader.extent() == Extent(1, 0, "none")
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
    assert reader.extent() == Extent(1, 0, "unreadable")
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
