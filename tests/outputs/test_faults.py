"""Every line once and in order, whatever happens to servers on the way."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from gnjobs.outputs.writer import OutputWriter
from tests.support.outputs import KEY, numbered, texts
from tests.support.servers import Server
from tests.support.waiting import wait_for


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
        own_server.restart()
        wait_for(lambda: texts(own_server) == numbered(1, 12), what="lines sent again without new ones")
        writer.write("line 13")
    assert texts(own_server) == numbered(1, 13)


def test_a_server_that_forgot_everything_gets_what_is_held(own_server: Server) -> None:
    with OutputWriter(own_server.url, KEY) as writer:
        writer.write_many(numbered(1, 5))
        assert writer.flush(10)
        own_server.restart()
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
        own_server.restart()
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
        own_server.restart()
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
    monkeypatch.setattr("gnjobs.outputs.connection._REPLY_TIMEOUT", 0.2)
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
