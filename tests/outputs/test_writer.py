"""What lies in Redis after lines were written, on a server that behaves."""

import threading
import time

import pytest
import redis

from gnjobs.outputs.window import BATCH_BYTES, LONGEST_LINE
from gnjobs.outputs.writer import OutputWriter
from tests.support.outputs import KEY, stored_lines
from tests.support.servers import Server
from tests.support.waiting import wait_for


def stored_bytes(client: redis.Redis) -> int:
    """How many bytes of lines lie in Redis."""
    return sum(len(fields[b"data"]) for _, fields in client.xrange(KEY))


def test_an_entrys_id_is_the_number_of_its_last_line(writer: OutputWriter, client: redis.Redis) -> None:
    before = int(time.time() * 1000)
    writer.write("a")
    writer.write_many(["b", b"c", "d\ne"], "err")
    writer.write("", "out")
    assert writer.flush(10)
    entries = client.xrange(KEY)
    ids = [entry_id for entry_id, _ in entries]
    assert ids[-1] == b"6-0"
    assert all(list(fields) == [b"at", b"kind", b"data"] for _, fields in entries)
    assert all(before <= int(fields[b"at"]) <= time.time() * 1000 for _, fields in entries)
    number = 0
    for entry_id, fields in entries:
        number += fields[b"data"].count(b"\n") + 1
        assert entry_id == b"%d-0" % number
    assert [fields[b"kind"] for _, fields in entries] == [b"out", b"err", b"out"]
    assert stored_lines(client) == [b"a", b"b", b"c", b"d", b"e", b""]
    assert writer.lines == 6


def test_lines_are_split_at_newlines_only(writer: OutputWriter, client: redis.Redis) -> None:
    text = "a\rb\x0bc\x0cd\x85e\u2028f"
    writer.write(text)
    assert writer.close(10)
    assert stored_lines(client) == [text.encode()]


def test_what_was_not_utf8_is_stored_as_it_was(writer: OutputWriter, client: redis.Redis) -> None:
    data = bytes(byte for byte in range(256) if byte != 10)
    writer.write(data.decode("utf-8", "surrogateescape"))
    writer.write("\ud800")
    assert writer.close(10)
    assert stored_lines(client) == [data, b"\xed\xa0\x80"]


def test_a_long_line_is_split(writer: OutputWriter, client: redis.Redis) -> None:
    writer.write_many(["x" * (LONGEST_LINE + 5), "y" * LONGEST_LINE, "z"])
    assert writer.close(10)
    assert [len(line) for line in stored_lines(client)] == [LONGEST_LINE, 5, LONGEST_LINE, 1]


def test_many_lines_go_into_few_entries(writer: OutputWriter, client: redis.Redis) -> None:
    lines = [f"line {number}" for number in range(50_000)]
    writer.write_many(lines)
    assert writer.close(30)
    assert stored_lines(client) == [line.encode() for line in lines]
    entries = client.xrange(KEY)
    assert len(entries) < 50
    assert all(len(fields[b"data"]) <= BATCH_BYTES for _, fields in entries)


def test_lines_of_any_length_keep_their_numbers(writer: OutputWriter, client: redis.Redis) -> None:
    lines = ["x" * (number * number % 3001) + "\ny" * (number % 7 == 0) for number in range(3000)]
    writer.write_many(lines)
    writer.write_many([line.encode() for line in lines])
    writer.write_many([*lines[:10], b"\xff", *lines[10:20]])
    writer.write_many([])
    assert writer.close(30)
    expected = "\n".join([*lines, *lines, *lines[:10], "\udcff", *lines[10:20]])
    assert stored_lines(client) == expected.encode("utf-8", "surrogateescape").split(b"\n")
    number = 0
    for entry_id, fields in client.xrange(KEY):
        number += fields[b"data"].count(b"\n") + 1
        assert entry_id == b"%d-0" % number


def test_lines_written_one_by_one_are_gathered(writer: OutputWriter, client: redis.Redis) -> None:
    for number in range(20_000):
        writer.write(f"line {number}")
    assert writer.close(30)
    assert len(stored_lines(client)) == 20_000
    assert client.xlen(KEY) < 2000


def test_a_line_is_stored_soon_without_being_asked_for(writer: OutputWriter, client: redis.Redis) -> None:
    for number in range(1, 4):
        writer.write(f"line {number}")
        wait_for(lambda number=number: len(stored_lines(client)) == number)


def test_threads_may_share_a_writer(writer: OutputWriter, client: redis.Redis) -> None:
    def write(name: str) -> None:
        for number in range(500):
            writer.write(f"{name} {number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close(10)
    lines = [line.decode().split() for line in stored_lines(client)]
    assert len(lines) == 2000
    for name in "abcd":
        assert [int(number) for found, number in lines if found == name] == list(range(500))


def test_the_stream_expires(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, KEY, expire_seconds=1000) as writer:
        writer.write("a")
        assert writer.flush(10)
        assert 990 <= client.ttl(KEY) <= 1000
        client.expire(KEY, 5000)
        writer.write("b")
        assert writer.flush(10)
        assert client.ttl(KEY) > 4000


def test_the_oldest_lines_are_trimmed(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, KEY, max_bytes=1_000_000) as writer:
        for number in range(400):
            writer.write(f"{number} " + "x" * 10_000)
            if number % 20 == 0:
                assert writer.flush(10)
    assert 700_000 < stored_bytes(client) <= 1_100_000
    assert stored_lines(client)[-1].startswith(b"399 ")


def test_what_waited_is_stored_within_the_bound(own_server: Server) -> None:
    own_server.kill()
    with OutputWriter(own_server.url, KEY, max_bytes=1_000_000) as writer:
        writer.write_many(["x" * 10_000] * 190)
        assert not writer.flush(0)
        own_server.start()
    assert 700_000 < stored_bytes(own_server.client()) <= 1_100_000


def test_what_is_sent_again_is_stored_within_the_bound(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, KEY, max_bytes=1_000_000) as writer:
        writer.write_many(["x" * 10_000] * 90)
        assert writer.flush(10)
        client.client_pause(60_000, all=False)
        writer.write("y" * 900_000)
        (waiting,) = wait_for(lambda: [each for each in client.client_list() if each["cmd"] == "exec"])
        client.client_kill_filter(_id=waiting["id"])
        client.client_unpause()
    assert 900_000 <= stored_bytes(client) <= 1_100_000


def test_nothing_is_trimmed_where_no_bound_is_set(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, KEY, max_bytes=0) as writer:
        writer.write_many(["x" * 10_000] * 300)
    assert len(stored_lines(client)) == 300


def test_what_was_there_before_counts_towards_the_bound(server: Server, client: redis.Redis) -> None:
    for _ in range(2):
        with OutputWriter(server.url, KEY, max_bytes=1_000_000) as writer:
            writer.write_many(["x" * 10_000] * 90)
    assert stored_bytes(client) <= 1_100_000


def test_a_second_writer_goes_on_after_the_first(server: Server, client: redis.Redis) -> None:
    for text in ("a\nb", "c"):
        with OutputWriter(server.url, KEY) as writer:
            writer.write(text)
    assert [entry_id for entry_id, _ in client.xrange(KEY)] == [b"2-0", b"3-0"]


def test_an_unfinished_line_is_shown_in_the_hash(server: Server, client: redis.Redis) -> None:
    client.hset("h", "status", "running")
    with OutputWriter(server.url, KEY, hash_key="h") as writer:
        writer.partial("10 %\r20 %\r")
        wait_for(lambda: client.hget("h", "partial-line") == b"20 %")
        writer.partial("30 %")
        writer.partial("")
        wait_for(lambda: client.hget("h", "partial-line") == b"")


def test_an_unfinished_line_is_written_at_most_once_a_second(server: Server, client: redis.Redis) -> None:
    client.hset("h", "status", "running")
    with OutputWriter(server.url, KEY, hash_key="h") as writer:
        writer.partial("first")
        wait_for(lambda: client.hget("h", "partial-line") == b"first")
        before = client.info("commandstats")["cmdstat_eval"]["calls"]
        start = time.monotonic()
        for number in range(100):
            writer.partial(f"{number} %")
            time.sleep(0.001)
        wait_for(lambda: client.hget("h", "partial-line") == b"99 %")
        assert client.info("commandstats")["cmdstat_eval"]["calls"] - before <= time.monotonic() - start + 1


def test_a_closed_writer_says_so(writer: OutputWriter) -> None:
    assert writer.close(10)
    with pytest.raises(RuntimeError, match="closed"):
        writer.write("a")
