"""What a child told lasts though the server that confirmed it dies and has forgotten its last second."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from gnjobs.outputs.writer import OutputWriter
from gnjobs.records.environment import ENV_LASTING
from gnjobs.runtime.child import ChildOutput
from gnjobs.runtime.child_state import ChildState
from tests.support.one_child import HASH, KEY, KEYS, lines, prepare, state
from tests.support.servers import Server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

LASTING = 2.0


@pytest.fixture
def forgetting(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that will have forgotten, once it was killed, all but that there is a child."""
    monkeypatch.setenv(ENV_LASTING, str(LASTING))
    with own_server.client() as client:
        prepare(client)
        client.save()
    return own_server


def die_and_last(server: Server, child: ChildOutput) -> None:
    """Let the server forget its last seconds, and wait until the child's end lasts all the same."""
    server.restart()
    child.outlast()


def test_an_end_stays_though_the_output_was_removed_and_the_server_forgot_it(forgetting: Server) -> None:
    with forgetting.client() as client:
        with ChildOutput(KEY, forgetting.url) as child:
            child.print("hello")
            assert child.writer.flush(10)
            client.delete(KEY)
            child.fault({"row": 1})
        assert child.error is not None
        assert state(client).status == "success"
        die_and_last(forgetting, child)
        found = state(client)
        assert (found.status, found.faults, found.pid) == ("success", 1, os.getpid())
        assert not client.exists(KEY)


def test_a_silent_child_whose_start_was_forgotten_is_running_again(forgetting: Server) -> None:
    with forgetting.client() as client, ChildOutput(KEY, forgetting.url):
        wait_for(lambda: state(client).status == "running")
        forgetting.restart()
        wait_for(lambda: state(client).status == "running")


def test_a_hash_that_was_forgotten_is_made_again_as_it_was_made(forgetting: Server) -> None:
    with forgetting.client() as client:
        client.hset(HASH, mapping={"label": "a file", "may-fail": "1"})
        with ChildOutput(KEY, forgetting.url) as child:
            wait_for(lambda: state(client).status == "running")
            client.delete(HASH)
            child.print("hello")
        found = state(client)
        assert (found.status, found.label, found.may_fail) == ("success", "a file", True)


def test_an_end_that_a_dying_server_forgot_is_told_again(forgetting: Server) -> None:
    with forgetting.client() as client:
        with ChildOutput(KEY, forgetting.url) as child:
            child.print("hello")
            child.fault({"row": 1})
        assert state(client).status == "success"
        die_and_last(forgetting, child)
        found = state(client)
        assert (found.status, found.faults, found.pid) == ("success", 1, os.getpid())
        assert lines(client) == [("out", "hello"), ("fault", '{"row":1}')]


def test_an_end_that_took_long_to_store_is_watched_for_as_long_as_any(forgetting: Server) -> None:
    with forgetting.client() as client:
        child = ChildOutput(KEY, forgetting.url)
        wait_for(lambda: state(client).status == "running")
        forgetting.send(signal.SIGSTOP)
        ending = threading.Thread(target=child.succeed)
        ending.start()
        time.sleep(LASTING * 1.5)
        forgetting.send(signal.SIGCONT)
        ending.join(20)
        assert state(client).status == "success"
        die_and_last(forgetting, child)
        assert state(client).status == "success"


def test_an_end_behind_an_unnoticed_death_of_the_server_carries_everything(forgetting: Server) -> None:
    with forgetting.client() as client:
        with ChildOutput(KEY, forgetting.url) as child:
            child.fault({"row": 1})
            child.progress(1, 2)
            wait_for(lambda: state(client).percent == 50)
            forgetting.restart()
        found = state(client)
        assert (found.status, found.faults, found.percent, found.pid) == ("success", 1, 50, os.getpid())
        assert found.started
        child.outlast()


def remove_status(client: redis.Redis) -> None:
    client.hdel(HASH, "status", "transition-token")


def put_string(client: redis.Redis) -> None:
    client.set(HASH, "somebody else's")


@pytest.mark.parametrize("spoil", [remove_status, put_string])
@pytest.mark.parametrize("moment", ["before its end", "after its end"])
def test_a_spoilt_hash_keeps_no_child_from_ending(
    server: Server,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[redis.Redis], None],
    moment: str,
) -> None:
    monkeypatch.setenv(ENV_LASTING, "0.3")
    prepare(client)
    child = ChildOutput(KEY, server.url)
    wait_for(lambda: state(client).status == "running")
    if moment == "before its end":
        spoil(client)
    ending = threading.Thread(target=child.succeed, daemon=True)
    ending.start()
    ending.join(10)
    assert not ending.is_alive()
    if moment == "after its end":
        spoil(client)
    lasting = threading.Thread(target=child.outlast, daemon=True)
    lasting.start()
    lasting.join(10)
    assert not lasting.is_alive()


class FailsOnce(ChildState):
    """What a child says, of which the first word is lost by an error of any kind."""

    has_failed = False

    def send(self, client: redis.Redis, last_line: float) -> None:
        if not self.has_failed:
            self.has_failed = True
            raise UnicodeError("a host name")
        super().send(client, last_line)


def test_what_goes_wrong_otherwise_is_tried_again(server: Server, client: redis.Redis) -> None:
    prepare(client)
    said = FailsOnce(KEYS, "job", "c1")
    with OutputWriter(server.url, KEY, companion=said):
        said.update({"percent": 50})
        wait_for(lambda: state(client).percent == 50)
        said.end("success", {})
    assert said.has_failed
    assert state(client).status == "success"


def test_a_process_waits_once_for_all_that_has_to_last(own_server: Server) -> None:
    with own_server.client() as client:
        prepare(client)
        for name in ("c2", "c3", "c4"):
            client.hset(KEYS.job("job"), f"child:{name}", KEYS.child_output("job", name))
            client.hset(KEYS.child("job", name), "status", "pending")
    code = """
import sys
from gnjobs.outputs import at_exit
from gnjobs.outputs.writer import OutputWriter
from gnjobs.runtime.child import ChildOutput
from gnjobs.runtime.child_state import ChildState
import multiprocessing.util  # ends a process, too
at_exit._OUTLAST_SECONDS = 3.0
for key in sys.argv[2:]:
    ChildOutput(key, sys.argv[1]).succeed()
print("ended", flush=True)
sys.stdin.read()
"""
    keys = [KEYS.child_output("job", name) for name in ("c1", "c2", "c3", "c4")]
    with subprocess.Popen(
        [sys.executable, "-c", code, own_server.url, *keys], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ended\n"
        own_server.kill()
        begun = time.monotonic()
        process.stdin.close()
        assert process.wait(60) == 0
    assert 2.0 < time.monotonic() - begun < 5.9


def test_a_job_is_missed_for_so_many_answers_over_any_number_of_connections(client: redis.Redis) -> None:
    said = ChildState(KEYS, "job", "c1")
    began = time.monotonic()
    for _ in range(9):
        said.connected()
        said.send(client, 0.0)
        assert not said.is_settled(0.0)
    assert (said.due(0.0, has_lines=False) or 0.0) > began + 1.9  # its pauses last, whatever is connected
    prepare(client)
    said.send(client, 0.0)
    assert state(client).status == "running"
    client.flushall()
    for _ in range(10):
        assert not said.is_over
        said.connected()
        said.send(client, 0.0)
    assert said.is_over


def test_a_job_that_is_removed_after_its_child_ended_keeps_nobody_waiting(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_LASTING, "0.5")
    monkeypatch.setattr("gnjobs.runtime.child_state._MOST_MISSES", 3)
    prepare(client)
    child = ChildOutput(KEY, server.url)
    assert child.succeed()
    client.delete(KEYS.job("job"), HASH)
    lasting = threading.Thread(target=child.outlast, daemon=True)
    lasting.start()
    lasting.join(20)
    assert not lasting.is_alive()
    assert client.keys() == []


def test_an_end_that_stands_keeps_nobody_waiting_for_a_server_that_is_full(
    forgetting: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forgetting.client() as client:
        child = ChildOutput(KEY, forgetting.url)
        assert child.succeed()
        client.config_set("maxmemory", "1")
        client.client_kill_filter(_type="normal", skipme=True)
        lasting = threading.Thread(target=child.outlast, daemon=True)
        lasting.start()
        lasting.join(LASTING + 5.0)
        assert not lasting.is_alive()


def test_a_child_says_more_of_its_end_than_who_restored_it(forgetting: Server) -> None:
    with forgetting.client() as client:
        child = ChildOutput(KEY, forgetting.url)
        child.progress(3, 4)
        child.fail("bad cell")
        client.delete(HASH)
        client.hset(HASH, mapping={"status": "error", "transition-token": "the supervisor's"})
        client.client_kill_filter(_type="normal", skipme=True)
        child.outlast()
        found = state(client)
        assert (found.status, found.error, found.percent) == ("error", "bad cell", 75)


def test_a_connection_that_could_not_be_made_is_made_later(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(client)
    found, given = redis.Connection.__init__, iter([OSError(24, "Too many open files")])

    def fail_once(connection: redis.Connection, *arguments: Any, **options: Any) -> None:
        for error in given:
            raise error
        found(connection, *arguments, **options)

    monkeypatch.setattr(redis.Connection, "__init__", fail_once)
    with ChildOutput(KEY, server.url) as child:
        wait_for(lambda: child.writer.trouble)
    assert state(client).status == "success"
