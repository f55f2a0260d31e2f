"""What lies in Redis after lines were written, on a server that behaves."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from gnjobs.errors import AnotherWriter, OutputRemoved
from gnjobs.output_window import BATCH_BYTES, LONGEST_LINE
from gnjobs.output_writer import OutputWriter
from tests.servers import Server
from tests.waiting import wait_for

KEY = "k"


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def writer(server: Server) -> Iterator[OutputWriter]:
    writer = OutputWriter(server.url, KEY)
    yield writer
    writer.close(0)


def stored_lines(client: redis.Redis, key: str = KEY) -> list[bytes]:
    return [line for _, fields in client.xrange(key) for line in fields[b"data"].split(b"\n")]


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
    assert (writer.lines, writer.acknowledged) == (6, 6)


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
        wait_for(lambda number=number: client.xlen(KEY) and writer.acknowledged == number)


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
    sizes = [len(fields[b"data"]) for _, fields in client.xrange(KEY)]
    assert 700_000 < sum(sizes) <= 1_100_000
    assert stored_lines(client)[-1].startswith(b"399 ")


def test_nothing_is_trimmed_where_no_bound_is_set(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, KEY, max_bytes=0) as writer:
        writer.write_many(["x" * 10_000] * 300)
    assert len(stored_lines(client)) == 300


def test_what_was_there_before_counts_towards_the_bound(server: Server, client: redis.Redis) -> None:
    for _ in range(2):
        with OutputWriter(server.url, KEY, max_bytes=1_000_000) as writer:
            writer.write_many(["x" * 10_000] * 90)
    assert sum(len(fields[b"data"]) for _, fields in client.xrange(KEY)) <= 1_100_000


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


def test_a_removed_hash_is_not_made_again(server: Server, client: redis.Redis) -> None:
    with OutputWriter(server.url, KEY, hash_key="h") as writer:
        writer.partial("50 %")
        writer.write("a")
        assert writer.flush(10)
        wait_for(lambda: "cmdstat_eval" in client.info("commandstats"))
    assert not client.exists("h")


def test_a_removed_output_is_not_made_again(writer: OutputWriter, client: redis.Redis) -> None:
    writer.write("a")
    assert writer.flush(10)
    client.delete(KEY)
    writer.write("b")
    assert not writer.flush(10)
    assert isinstance(writer.error, OutputRemoved)
    writer.write("c")
    assert not writer.close(10)
    assert not client.exists(KEY)


def test_a_removed_output_is_not_made_again_on_a_new_connection(
    writer: OutputWriter, client: redis.Redis
) -> None:
    writer.write("a")
    assert writer.flush(10)
    client.delete(KEY)
    client.client_kill_filter(_type="normal", skipme=True)
    writer.write("b")
    assert not writer.flush(10)
    assert isinstance(writer.error, OutputRemoved)
    assert not client.exists(KEY)


@pytest.mark.parametrize("number", [2, 3, 500])
def test_another_writer_is_reported(writer: OutputWriter, client: redis.Redis, number: int) -> None:
    writer.write("a")
    assert writer.flush(10)
    client.xadd(KEY, {"at": 1, "kind": "out", "data": "theirs"}, id=f"{number}-0")
    writer.write("b\nc")
    assert not writer.flush(10)
    assert isinstance(writer.error, AnotherWriter)
    assert "\n" not in str(writer.error)


def test_another_writer_with_the_same_id_is_reported(writer: OutputWriter, client: redis.Redis) -> None:
    """The same number on the server is not taken for our own line unless it is exactly that."""
    writer.write("a")
    assert writer.flush(10)
    client.xadd(KEY, {"at": 1, "kind": "out", "data": "theirs"}, id="2-0")
    client.client_kill_filter(_type="normal", skipme=True)
    writer.write("ours")
    assert not writer.flush(10)
    assert isinstance(writer.error, AnotherWriter)
    assert stored_lines(client) == [b"a", b"theirs"]


@pytest.mark.parametrize("form", ["foreign stream", "list"])
def test_a_key_that_holds_something_else_is_left_alone(
    server: Server, client: redis.Redis, form: str
) -> None:
    if form == "list":
        client.rpush(KEY, "x")
    else:
        client.xadd(KEY, {"a": 1})
    before = client.dump(KEY)
    with OutputWriter(server.url, KEY) as writer:
        writer.write("a")
        assert not writer.flush(10)
        assert isinstance(writer.error, AnotherWriter)
    assert client.dump(KEY) == before


def test_a_closed_writer_says_so(writer: OutputWriter) -> None:
    assert writer.close(10)
    with pytest.raises(RuntimeError, match="closed"):
        writer.write("a")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_copy_refuses_to_write(writer: OutputWriter, client: redis.Redis) -> None:
    writer.write("a")
    pid = os.fork()
    if pid == 0:
        refused = 0
        for action in (lambda: writer.write("b"), lambda: writer.partial("b"), writer.flush, writer.close):
            try:
                action()
            except RuntimeError as error:
                refused += "forked" in str(error) and "\n" not in str(error)
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    writer.write("c")
    assert writer.close(10)
    assert stored_lines(client) == [b"a", b"c"]


def run_python(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_is_stored_when_the_interpreter_ends(server: Server, client: redis.Redis) -> None:
    code = """
import sys
from gnjobs.output_writer import OutputWriter
writer = OutputWriter(sys.argv[1], sys.argv[2])
writer.write_many(map(str, range(100_000)))
writer.write("last")
"""
    run_python(code, server.url, KEY)
    assert len(stored_lines(client)) == 100_001


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_everything_is_stored_when_a_child_of_multiprocessing_ends(
    server: Server, client: redis.Redis, method: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = tmp_path_factory.mktemp("script") / "children.py"
    script.write_text("""
import multiprocessing, sys
from gnjobs.output_writer import OutputWriter
def child(url, key):
    writer = OutputWriter(url, key)
    writer.write_many(map(str, range(100_000)))
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    started = [context.Process(target=child, args=(sys.argv[1], f"{sys.argv[2]}{n}")) for n in range(2)]
    for process in started: process.start()
    for process in started: process.join()
    sys.exit(any(process.exitcode for process in started))
""")
    done = subprocess.run([sys.executable, str(script), server.url, KEY, method], timeout=60, check=False)
    assert done.returncode == 0
    assert [len(stored_lines(client, f"{KEY}{number}")) for number in range(2)] == [100_000] * 2


def test_a_forked_child_that_ends_normally_leaves_its_parents_lines_alone(
    server: Server, client: redis.Redis
) -> None:
    code = """
import os, sys
from gnjobs.output_writer import OutputWriter
with OutputWriter(sys.argv[1], sys.argv[2]) as writer:
    writer.write("a")
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    writer.write("b")
"""
    run_python(code, server.url, KEY)
    assert stored_lines(client) == [b"a", b"b"]
