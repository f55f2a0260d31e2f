"""Every line once and in order, whatever happens to connections and servers on the way."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from gnjobs.errors import AnotherWriter
from gnjobs.lines import Hole, Line
from gnjobs.output_connection import OutputConnection, Refused
from gnjobs.output_delivery import OutputDelivery
from gnjobs.output_reader import OutputReader
from gnjobs.output_window import OutputWindow
from gnjobs.output_writer import OutputWriter
from tests.proxy import Proxy, running_proxy
from tests.servers import Server
from tests.waiting import wait_for

KEY = "k"


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with running_proxy(server.port) as proxy:
        yield proxy


def read_back(server: Server, key: str = KEY) -> list[Line | Hole]:
    with server.client() as client:
        return list(OutputReader(client, key).iterate())


def texts(server: Server, key: str = KEY) -> list[str]:
    return [
        item.text if isinstance(item, Line) else f"{item.first} to {item.last} missing"
        for item in read_back(server, key)
    ]


def numbered(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last + 1)]


@pytest.fixture
def request_size(server: Server) -> int:
    """How many bytes a writer sends that stores the lines of the cutting tests in one go."""
    with running_proxy(server.port) as counting:
        counting.requests_left = 1_000_000
        write_two_groups(counting.url, "counted")
        assert counting.requests_left is not None
        return 1_000_000 - counting.requests_left


def write_two_groups(url: str, key: str) -> None:
    with OutputWriter(url, key) as writer:
        writer.write_many(numbered(1, 3))
        assert writer.flush(20)
        writer.write_many(numbered(4, 6), "err")
        assert writer.flush(20)


def test_a_cut_at_any_byte_of_what_is_sent(server: Server, proxy: Proxy, request_size: int) -> None:
    for position in range(0, request_size, 7):
        proxy.requests_left = position
        write_two_groups(proxy.url, f"k{position}")
        assert texts(server, f"k{position}") == numbered(1, 6)
    assert proxy.cuts > 50


def test_a_cut_at_any_byte_of_what_is_answered(server: Server, proxy: Proxy) -> None:
    """The lines had arrived, only the word of it was lost: they are not stored again."""
    position = 0
    while position == 0 or proxy.cuts:
        proxy.cuts = 0
        proxy.replies_left = position
        write_two_groups(proxy.url, f"k{position}")
        assert texts(server, f"k{position}") == numbered(1, 6)
        position += 17
    assert position > 500


class Deliverer:
    """A writer without its thread, so that a test decides what comes when."""

    def __init__(self, url: str) -> None:
        self.window = OutputWindow(keep_bytes=10**6)
        self.connection = OutputConnection(url, KEY)
        changed = threading.Condition()
        self.delivery = OutputDelivery(self.connection, KEY, self.window, changed, max_bytes=0, expire=100)
        self.delivery.ensure_connected()

    def add(self, *lines: str) -> None:
        for line in lines:
            self.window.add("out", line.encode(), 1.0)
            self.window.close_batch()

    def reconnect(self) -> None:
        self.delivery.drop()
        self.delivery.ensure_connected()


@pytest.fixture
def deliverer(server: Server) -> Iterator[Deliverer]:
    deliverer = Deliverer(server.url)
    yield deliverer
    deliverer.delivery.drop()


def store_as_if_by_an_older_connection(server: Server, deliverer: Deliverer) -> None:
    """A server that hung may work off what a connection had sent after its writer gave that connection up."""
    older = OutputConnection(server.url, KEY)
    older.open()
    window = deliverer.window
    older.store(window.group(), 0, window.acknowledged, create=True, keep_from=None, expire=100)
    older.close()


def test_our_own_lines_that_arrive_late_are_not_taken_for_somebody_elses(
    server: Server, deliverer: Deliverer
) -> None:
    deliverer.add("a", "b\nc")
    store_as_if_by_an_older_connection(server, deliverer)
    with pytest.raises(Refused):
        deliverer.delivery.deliver()
    assert deliverer.window.acknowledged == 0
    deliverer.reconnect()
    assert deliverer.window.acknowledged == 3
    deliverer.add("d")
    deliverer.delivery.deliver()
    assert texts(server) == ["a", "b", "c", "d"]


def test_an_id_that_is_not_new_counts_as_stored_only_if_the_line_is_ours(
    server: Server, deliverer: Deliverer
) -> None:
    deliverer.add("a")
    with server.client() as client:
        client.xadd(KEY, {"at": 1000, "kind": "out", "data": "A"}, id="1-0")
    with pytest.raises(Refused):
        deliverer.delivery.deliver()
    with pytest.raises(AnotherWriter):
        deliverer.reconnect()


def test_somebody_elses_lines_between_ours_are_noticed(server: Server, deliverer: Deliverer) -> None:
    deliverer.add("a")
    deliverer.delivery.deliver()
    with server.client() as client:
        client.xadd(KEY, {"at": 1000, "kind": "out", "data": "theirs"}, id="2-0")
    deliverer.add("b\nc")
    with pytest.raises(Refused):
        deliverer.delivery.deliver()
    with pytest.raises(AnotherWriter):
        deliverer.reconnect()


def test_a_server_that_ends_where_no_entry_of_ours_did(server: Server, deliverer: Deliverer) -> None:
    deliverer.add("a\nb\nc")
    deliverer.delivery.deliver()
    with server.client() as client:
        client.delete(KEY)
        client.xadd(KEY, {"at": 1000, "kind": "out", "data": "a\nb"}, id="2-0")
    with pytest.raises(AnotherWriter):
        deliverer.reconnect()


def test_the_last_id_counts_although_its_entry_was_trimmed(server: Server, deliverer: Deliverer) -> None:
    deliverer.add("a", "b")
    deliverer.delivery.deliver()
    with server.client() as client:
        client.xtrim(KEY, maxlen=0, approximate=False)
        deliverer.reconnect()
        assert deliverer.window.acknowledged == 2
        deliverer.add("c")
        deliverer.delivery.deliver()
        assert [entry_id for entry_id, _ in client.xrange(KEY)] == [b"3-0"]


def restart(server: Server) -> None:
    server.kill()
    server.start()


def save(server: Server) -> None:
    with server.client() as client:
        client.save()


def test_a_server_that_forgot_its_last_second_gets_it_again(own_server: Server) -> None:
    with OutputWriter(own_server.url, KEY) as writer:
        writer.write_many(numbered(1, 5))
        assert writer.flush(10)
        save(own_server)
        writer.write_many(numbered(6, 9))
        writer.flush(10)
        writer.write_many(numbered(10, 12), "err")
        assert writer.flush(10)
        restart(own_server)
        wait_for(lambda: texts(own_server) == numbered(1, 12), what="lines sent again without new ones")
        writer.write("line 13")
    assert texts(own_server) == numbered(1, 13)


def test_a_server_that_forgot_everything_gets_what_is_held(own_server: Server) -> None:
    with OutputWriter(own_server.url, KEY) as writer:
        writer.write_many(numbered(1, 5))
        assert writer.flush(10)
        restart(own_server)
        wait_for(lambda: texts(own_server) == numbered(1, 5))
        with own_server.client() as client:
            assert client.ttl(KEY) > 0


def test_what_is_lost_for_good_is_a_hole(own_server: Server) -> None:
    with OutputWriter(own_server.url, KEY) as writer:
        writer._window.keep_seconds = 0.0
        writer.write_many(numbered(1, 5))
        assert writer.flush(10)
        save(own_server)
        writer.write_many(numbered(6, 9))
        assert writer.flush(10)
        wait_for(lambda: not writer._window.kept)
        restart(own_server)
        assert writer.flush(10)
        writer.write("line 10")
    assert texts(own_server) == [*numbered(1, 5), "6 to 9 missing", "line 10"]


def test_what_was_sent_is_held_until_the_server_answers_again(own_server: Server) -> None:
    """A server that hangs while the time of holding passes may still forget."""
    with OutputWriter(own_server.url, KEY) as writer:
        writer._window.keep_seconds = 0.3
        writer.write("line 1")
        assert writer.flush(10)
        own_server.send(signal.SIGSTOP)
        watch = threading.Event()
        assert not watch.wait(0.6)
        assert writer._window.kept
        own_server.kill()
        own_server.start()
        wait_for(lambda: texts(own_server) == ["line 1"])


def test_lines_are_kept_while_the_server_is_away(own_server: Server) -> None:
    with OutputWriter(own_server.url, KEY) as writer:
        own_server.kill()
        writer.write_many(numbered(1, 1000))
        assert not writer.flush(0.1)
        wait_for(lambda: writer.trouble)
        own_server.start()
        assert writer.flush(10)
        wait_for(lambda: writer.trouble is None)
        assert texts(own_server) == numbered(1, 1000)


def test_a_full_buffer_makes_the_job_wait(own_server: Server) -> None:
    with OutputWriter(own_server.url, KEY, buffer_bytes=10_000) as writer:
        own_server.kill()
        thread = threading.Thread(target=lambda: [writer.write(line) for line in numbered(1, 3000)])
        thread.start()
        wait_for(lambda: writer.lines > 500)
        lines = wait_for(lambda: writer._window.pending >= 10_000 and writer.lines)
        thread.join(0.2)
        assert thread.is_alive()
        assert writer.lines == lines < 3000
        own_server.start()
        thread.join(20)
        assert writer.flush(10)
        assert texts(own_server) == numbered(1, 3000)


def test_closing_gives_up_when_it_is_told_to(own_server: Server) -> None:
    writer = OutputWriter(own_server.url, KEY)
    own_server.kill()
    writer.write("a")
    assert not writer.close(0.1)


def test_a_server_that_hangs(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnjobs.output_connection._REPLY_TIMEOUT", 0.2)
    with OutputWriter(own_server.url, KEY) as writer:
        writer.write("line 1")
        assert writer.flush(10)
        own_server.send(signal.SIGSTOP)
        writer.write("line 2")
        wait_for(lambda: "imeout" in (writer.trouble or ""))
        own_server.send(signal.SIGCONT)
        writer.write("line 3")
        assert writer.flush(10)
    assert texts(own_server) == numbered(1, 3)


def read_only(client: redis.Redis) -> Callable[[], object]:
    client.replicaof("127.0.0.1", "1")
    return lambda: client.replicaof("no", "one")


def out_of_memory(client: redis.Redis) -> Callable[[], object]:
    client.config_set("maxmemory", "1")
    return lambda: client.config_set("maxmemory", "0")


def unable_to_save(client: redis.Redis) -> Callable[[], object]:
    in_the_way = Path(str(client.config_get("dir")["dir"])) / str(
        client.config_get("dbfilename")["dbfilename"]
    )
    in_the_way.mkdir()
    client.config_set("stop-writes-on-bgsave-error", "yes")
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    return lambda: client.config_set("save", "")


def forbidden(client: redis.Redis) -> Callable[[], object]:
    client.execute_command("ACL", "SETUSER", "default", "-xadd")
    return lambda: client.execute_command("ACL", "SETUSER", "default", "+xadd")


@pytest.mark.parametrize("fault", [read_only, out_of_memory, unable_to_save, forbidden])
def test_a_server_that_refuses_for_a_while(
    own_server: Server, fault: Callable[[redis.Redis], Callable[[], object]]
) -> None:
    with own_server.client(decode_responses=True) as client, OutputWriter(own_server.url, KEY) as writer:
        writer.write("line 1")
        assert writer.flush(10)
        mend = fault(client)
        try:
            writer.write("line 2")
            wait_for(lambda: writer.trouble)
            assert "\n" not in str(writer.trouble)
            writer.write("line 3")
        finally:
            mend()
        assert writer.flush(10)
        assert writer.error is None
    assert texts(own_server) == numbered(1, 3)


def test_a_server_that_loads_its_data(own_server: Server) -> None:
    with own_server.client() as client, OutputWriter(own_server.url, KEY) as writer:
        writer.write("line 1")
        assert writer.flush(10)
        client.mset({f"other {number}": os.urandom(5000) for number in range(20)})
        client.save()
        own_server.kill()
        own_server.options = ("--key-load-delay", "30000", "--loading-process-events-interval-bytes", "1024")
        starting = threading.Thread(target=own_server.start)
        starting.start()
        writer.write("line 2")
        wait_for(lambda: "loading" in (writer.trouble or ""))
        starting.join()
        assert writer.flush(10)
    assert texts(own_server) == numbered(1, 2)


ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 400)),
    st.tuples(st.just("errors"), st.integers(1, 3)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("cut"), st.just(0)),
    st.tuples(st.just("cut requests"), st.integers(0, 3000)),
    st.tuples(st.just("cut replies"), st.integers(0, 1500)),
    st.tuples(st.just("new writer"), st.just(0)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTIONS, min_size=1, max_size=12))
def test_every_line_once_and_in_order(
    shared_proxy: tuple[Server, Proxy], actions: list[tuple[str, int]]
) -> None:
    server, proxy = shared_proxy
    proxy.requests_left = proxy.replies_left = None
    with server.client() as client:
        client.delete(KEY)
    expected: list[str] = []
    writer = OutputWriter(proxy.url, KEY)
    for action, amount in actions:
        match action:
            case "write" | "errors":
                lines = numbered(len(expected) + 1, len(expected) + amount)
                writer.write_many(lines, "out" if action == "write" else "err")
                expected += lines
            case "flush":
                assert writer.flush(20)
            case "cut":
                proxy.cut()
            case "cut requests":
                proxy.requests_left = amount
            case "cut replies":
                proxy.replies_left = amount
            case "new writer":
                assert writer.close(20)
                writer = OutputWriter(proxy.url, KEY)
    assert writer.close(20)
    assert writer.error is None
    assert texts(server) == expected


@pytest.fixture(scope="module")
def shared_proxy(_shared_server: Server) -> Iterator[tuple[Server, Proxy]]:
    with running_proxy(_shared_server.port) as proxy:
        yield _shared_server, proxy
