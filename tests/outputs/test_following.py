"""An output followed while it is written."""

import threading
import time

import pytest
import redis

from gnjobs.errors import OutputRestarted
from gnjobs.outputs.lines import Hole, Line
from gnjobs.outputs.reader import OutputReader
from gnjobs.outputs.writer import OutputWriter
from tests.support.outputs import KEY, add, shown
from tests.support.servers import Server
from tests.support.waiting import wait_for


def test_a_line_that_still_grows_is_awaited(fake: redis.Redis) -> None:
    fake.set(KEY, "a\nb")
    reader = OutputReader(fake, KEY)
    assert shown(reader.follow(1, 0.05)) == [(2, "b")]
    later = threading.Timer(0.05, lambda: fake.append(KEY, "ig\nc\n"))
    later.start()
    assert shown(reader.follow(1, 5)) == [(2, "big"), (3, "c")]
    later.join()


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
    with server.client(socket_timeout=0.3) as client:
        assert OutputReader(client, KEY).follow(0, 0.7) == []
        add(client, 1, "a")
        reader = OutputReader(client, KEY)
        assert reader.follow(1, 0.7) == []


def test_a_key_that_comes_to_be_while_it_is_followed(client: redis.Redis, server: Server) -> None:
    found: list[Line | Hole] = []
    reader = OutputReader(client, KEY)
    thread = threading.Thread(target=lambda: found.extend(reader.follow(0, 10)))
    thread.start()
    with server.client() as other:
        other.rpush(KEY, "a")
    thread.join(20)
    assert wait_for(lambda: shown(found)) == [(1, "a")]
