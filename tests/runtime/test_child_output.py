"""Children that something else starts: their output, their state, and how they end."""

import logging
import os
import subprocess
import sys
import threading
import time
from functools import partial

import msgspec
import pytest
import redis

from gnjobs.errors import InvalidName, NotInJob
from gnjobs.outputs.adapters import OutputFile, OutputHandler
from gnjobs.processes.proc import process_start
from gnjobs.records.environment import ENV_URL
from gnjobs.runtime.child import ChildOutput
from tests.support.one_child import HASH, KEY, lines, prepare, state
from tests.support.servers import Server
from tests.support.waiting import wait_for


@pytest.fixture
def client(client: redis.Redis) -> redis.Redis:
    prepare(client)
    return client


def test_a_child_that_succeeds(server: Server, client: redis.Redis) -> None:
    before = time.time()
    with ChildOutput(KEY, server.url) as child:
        wait_for(lambda: state(client).status == "running")
        child.print("hello\nworld")
        child.log("reading", "DEBUG")
        child.fault({"row": 5})
        child.record({"rows": 10})
        child.result([1, 2])
        child.message("reading rows")
        child.progress(5, 20, "rows")
    found = state(client)
    assert (found.status, found.percent, found.done, found.total, found.unit) == (
        "success",
        25,
        5,
        20,
        "rows",
    )
    assert (found.message, found.label, found.faults) == ("reading rows", "a file", 1)
    assert (found.pid, found.process_started) == (os.getpid(), process_start(os.getpid()))
    times = [found.started, found.last_output, found.finished]
    assert all(moment is not None and before <= moment <= time.time() for moment in times)
    assert found.unreadable == ()
    assert [kind for kind, _ in lines(client)] == ["out", "out", "log", "fault", "record", "result"]
    assert msgspec.json.decode(lines(client)[2][1]) == {
        "level": "DEBUG",
        "logger": "c1",
        "message": "reading",
    }


def test_the_output_is_whole_when_the_status_is_final(server: Server, client: redis.Redis) -> None:
    with ChildOutput(KEY, server.url) as child:
        for number in range(20_000):
            child.print(f"line {number}")
        thread = threading.Thread(target=child.succeed)
        thread.start()
        wait_for(lambda: state(client).status == "success")
        assert len(lines(client)) == 20_000
        thread.join()


def test_a_child_that_raises(server: Server, client: redis.Redis) -> None:
    with pytest.raises(ValueError, match="boom"), ChildOutput(KEY, server.url):
        raise ValueError("boom \ud800")
    found = state(client)
    assert found.status == "error"
    assert found.error is not None
    assert found.error.startswith("Traceback")
    assert "ValueError: boom" in found.error
    assert lines(client)[0][0] == "err"


@pytest.mark.parametrize(
    ("code", "status"), [(0, "success"), (None, "success"), (3, "error"), ("why", "error")]
)
def test_a_child_that_exits(server: Server, client: redis.Redis, code: object, status: str) -> None:
    with pytest.raises(SystemExit), ChildOutput(KEY, server.url):
        sys.exit(code)  # type: ignore[arg-type]
    assert state(client).status == status


def test_a_child_may_end_once(server: Server, client: redis.Redis) -> None:
    with ChildOutput(KEY, server.url) as child:
        assert child.fail("no such file")
        assert child.succeed()
    assert (state(client).status, state(client).error) == ("error", "no such file")


def test_a_final_status_of_somebody_else_stays(server: Server, client: redis.Redis) -> None:
    with ChildOutput(KEY, server.url) as child:
        wait_for(lambda: state(client).status == "running")
        client.hset(HASH, "status", "lost")
        child.print("still here")
    assert state(client).status == "lost"
    assert lines(client) == [("out", "still here")]


def test_a_child_that_is_being_killed_does_not_call_it_an_error(server: Server, client: redis.Redis) -> None:
    with ChildOutput(KEY, server.url) as child:
        wait_for(lambda: state(client).status == "running")
        client.hset(HASH, "status", "stopping")
        child.fail("terminated")
    assert state(client).status == "stopping"


def test_progress_is_stored_a_few_times_a_second_and_the_last_one_always(
    server: Server, client: redis.Redis
) -> None:
    with ChildOutput(KEY, server.url) as child:
        wait_for(lambda: state(client).status == "running")
        before = client.info("commandstats")["cmdstat_eval"]["calls"]
        start = time.monotonic()
        for done in range(1, 30_001):
            child.progress(done, 30_000)
        wait_for(lambda: state(client).done == 30_000)
        calls = client.info("commandstats")["cmdstat_eval"]["calls"] - before
        assert calls <= 2 + 4 * (time.monotonic() - start)


@pytest.mark.parametrize("through", ["child", "logging", "print"])
def test_lines_alone_keep_the_child_from_looking_silent(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    monkeypatch.setattr("gnjobs.runtime.child_state._LAST_OUTPUT_EVERY", 0.2)
    with ChildOutput(KEY, server.url) as child:
        logger = logging.Logger("rows")
        logger.addHandler(OutputHandler(child.writer))
        say = {
            "child": child.print,
            "logging": logger.warning,
            "print": partial(print, file=OutputFile(child.writer)),
        }[through]
        wait_for(lambda: state(client).status == "running")
        for _ in range(2):
            start = time.time()
            say("a")
            wait_for(lambda start=start: (state(client).last_output or 0) >= start)


def test_faults_count_on_when_the_output_is_opened_again(server: Server, client: redis.Redis) -> None:
    for _ in range(2):
        child = ChildOutput(KEY, server.url)
        child.fault({"row": 1})
        assert child.writer.close(10)
    assert state(client).faults == 2
    assert len(lines(client)) == 2


def test_odd_values(server: Server, client: redis.Redis) -> None:
    class Scalar(float):
        """Such as numpy's."""

    with ChildOutput(KEY, server.url) as child:
        child.progress(Scalar(2.5), Scalar(2.0), "\ud800", "x" * 5000)
        child.progress(float("nan"))
        child.progress(True, 0)
    found = state(client)
    assert (found.done, found.total, found.percent) == (1, 2, 100)
    assert len(found.message or "") == 1000


def test_the_hash_expires(server: Server, client: redis.Redis) -> None:
    with ChildOutput(KEY, server.url) as child:
        child.print("a")
    assert client.ttl(HASH) > 29 * 86400
    assert client.ttl(KEY) > 29 * 86400


def test_an_expiry_that_is_set_stays(server: Server, client: redis.Redis) -> None:
    client.expire(HASH, 90 * 86400)
    with ChildOutput(KEY, server.url):
        pass
    assert client.ttl(HASH) > 80 * 86400


def test_a_child_nobody_prepared_is_made(server: Server, client: redis.Redis) -> None:
    client.delete(HASH)
    with ChildOutput(KEY, server.url) as child:
        child.progress(1, 2)
    assert (state(client).status, state(client).percent) == ("success", 50)


def test_the_environment_says_where_redis_is(
    server: Server, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_URL, server.url)
    with ChildOutput(KEY):
        pass
    assert state(client).status == "success"


def test_without_a_url_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV_URL, raising=False)
    with pytest.raises(NotInJob, match=ENV_URL):
        ChildOutput(KEY)


def test_a_key_that_is_no_childs_output_is_refused(server: Server) -> None:
    with pytest.raises(InvalidName):
        ChildOutput("p:jobs", server.url)


def test_a_process_that_just_ends_has_stored_everything(server: Server, client: redis.Redis) -> None:
    code = """
import sys
from gnjobs.runtime.child import ChildOutput
child = ChildOutput(sys.argv[1], sys.argv[2])
for number in range(5000):
    child.print(str(number))
    child.progress(number + 1, 5000)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, KEY, server.url], timeout=60, check=True)
    assert len(lines(client)) == 5000
    assert (state(client).status, state(client).percent) == ("running", 100)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_copy_refuses(server: Server, client: redis.Redis) -> None:
    with ChildOutput(KEY, server.url) as child:
        pid = os.fork()
        if pid == 0:
            refused = 0
            for action in (lambda: child.print("b"), lambda: child.progress(1), child.succeed):
                try:
                    action()
                except RuntimeError:
                    refused += 1
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert state(client).status == "success"


def test_the_start_of_a_process() -> None:
    assert process_start(os.getpid()) == process_start(os.getpid())
    assert process_start(2**22 + 1) is None
