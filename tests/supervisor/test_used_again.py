"""A job's id that is used again: what a supervisor, or whoever else, says of the earlier job changes nothing of it."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis

from gnjobs.errors import NoSuchJob
from gnjobs.records.ends import end_children
from gnjobs.records.environment import ENV_CREATED, ENV_JOB, ENV_LASTING, ENV_PREFIX
from gnjobs.records.keys import Keys
from gnjobs.records.requests import ControlRequest, send_request
from gnjobs.records.statuses import KILLED, RUNNING, SUCCESS
from gnjobs.runtime.child import ChildOutput
from gnjobs.runtime.child_state import ChildState
from gnjobs.store import JobStore
from gnjobs.supervisor.claim import GivenUp, claim
from gnjobs.supervisor.launch import note_launch
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.setup import for_supervisor, read_settings
from gnjobs.supervisor.wakeups import Wakeups
from tests.support.servers import Server
from tests.support.supervised import python, supervised
from tests.support.waiting import wait_for

KEYS = Keys()
RECORD, CHILD = KEYS.job("j"), KEYS.child("j", "c")
EARLIER: dict[Any, str] = {"status": "pending", "command": "true", "created": "1700000000.000001"}
LATER: dict[Any, str] = {
    "status": "pending",
    "command": "false",
    "created": "1700000000.000002",
    "faults": "3",
}


def use_again(client: redis.Redis, key: str = RECORD) -> dict[bytes, bytes]:
    """Put another job in the place of one; returns its whole record."""
    client.delete(key)
    client.hset(key, mapping=LATER)
    client.hset(CHILD, mapping={"status": "running"})
    return {name.encode(): value.encode() for name, value in LATER.items()}


@pytest.fixture
def link(server: Server) -> RecordLink:
    """That of the earlier job, which runs and has a child."""
    server.client().hset(RECORD, mapping=EARLIER)
    made = RecordLink(server.url, KEYS, "j")
    made.read()
    assert made.claim({"lines": 0})[0] == "done"
    made.statement.children = {"c": KEYS.child_output("j", "c")}
    return made


def say(link: RecordLink) -> bool:
    pipe = link.client.pipeline(transaction=False)
    link.say(pipe, {"lines": 7})
    return bool(pipe.execute()[0])


def mend_after_a_restart(link: RecordLink) -> bool:
    link._run_id = "another"
    return link.mend()


@pytest.mark.parametrize("write", [say, mend_after_a_restart, RecordLink.mend])
def test_what_is_said_of_a_running_job_is_said_of_no_later_one(
    server: Server, link: RecordLink, write: Callable[[RecordLink], bool]
) -> None:
    assert write(link)
    later = use_again(server.client())
    assert not write(link)
    assert server.client().hgetall(RECORD) == later


def test_an_end_is_that_of_no_later_job(server: Server, link: RecordLink) -> None:
    link.move({RUNNING}, SUCCESS, {"exit-code": 0})
    later = use_again(server.client())
    assert link.has_lasted()
    assert link.move({RUNNING}, SUCCESS, {"exit-code": 0})[0] == "gone"
    assert server.client().hgetall(RECORD) == later


def test_a_supervisor_that_stays_after_the_end_of_its_job_leaves_a_later_one_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_LASTING, "0.5")
    with supervised(server, ["true"], created="1700000000.000001") as job:
        job.wait_for("success")
        later = use_again(server.client(), KEYS.job(job.id))
        assert job.processes[0].wait(30) == 0
        assert server.client().hgetall(KEYS.job(job.id)) == later


def test_a_supervisor_whose_record_is_anothers_writes_nothing_more(server: Server) -> None:
    shows = "import time\nwhile True: time.sleep(0.1), print(end=f'\\r{time.time()}', flush=True)"
    with supervised(server, python(shows), created="1700000000.000001") as job:
        wait_for(lambda: server.client().exists(KEYS.processes(job.id)), 30, "a snapshot")
        wait_for(lambda: job.read().partial_line)
        server.client().delete(KEYS.processes(job.id))
        later = use_again(server.client(), KEYS.job(job.id))
        assert job.processes[0].stderr is not None
        assert b"its record was removed" in job.processes[0].stderr.readline()
        assert server.client().hgetall(KEYS.job(job.id)) == later
        assert not server.client().exists(KEYS.processes(job.id))


def test_a_child_says_nothing_of_a_later_jobs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client()
    monkeypatch.setenv(ENV_JOB, "j")
    monkeypatch.setenv(ENV_CREATED, EARLIER["created"])
    later = use_again(client)
    state = ChildState(KEYS, "j", "c")
    state.update({"percent": 7})
    state.end(SUCCESS, {})
    state.send(client, 0.0)
    assert not state.has_ended
    assert client.hgetall(CHILD) == {b"status": b"running"}
    assert client.hgetall(RECORD) == later


def test_a_child_of_a_job_in_another_prefix_is_not_taken_for_a_later_jobs_since_it_has_our_id(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_JOB, "j")
    monkeypatch.setenv(ENV_PREFIX, "another")
    monkeypatch.setenv(ENV_CREATED, EARLIER["created"])
    server.client().hset(RECORD, mapping=LATER)
    with ChildOutput(KEYS.child_output("j", "c"), server.url) as child:
        child.print("a line")
    assert server.client().hget(CHILD, "status") == b"success"


def test_a_childs_unfinished_line_is_shown_in_no_later_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_JOB, "j")
    monkeypatch.setenv(ENV_CREATED, EARLIER["created"])
    use_again(server.client())
    child = ChildOutput(KEYS.child_output("j", "c"), server.url)
    child.writer.partial("half a line")
    wait_for(lambda: child.writer._partial is None)
    child.writer.close(0.1)
    assert server.client().hgetall(CHILD) == {b"status": b"running"}


def test_whoever_ends_a_job_ends_no_child_of_a_later_one(server: Server) -> None:
    store = JobStore.from_url(server.url, KEYS.prefix)
    store.client.hset(RECORD, mapping=EARLIER)
    job = store.get("j")
    use_again(store.client)
    store.client.hset(RECORD, "child:c", KEYS.child_output("j", "c"))
    end_children(store, job, KILLED, {})
    assert store.child("j", "c").status == RUNNING
    with pytest.raises(NoSuchJob):
        store.again(job)


def test_a_kill_of_an_earlier_job_is_not_heeded_though_it_was_asked_later_by_the_servers_clock(
    server: Server,
) -> None:
    """The clock may have been set back before the later job began."""
    with supervised(server, ["sleep", "100"]) as job:
        job.wait_for("running")
        stream = KEYS.admin_requests
        send_request(job.client, stream, ControlRequest("", "kill", job.id, reason="first", digest="another"))
        send_request(job.client, stream, ControlRequest("", "kill", job.id, reason="ours", grace=0.5))
        assert job.wait_for("killed").stop_reason == "ours"


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_a_supervisor_that_begins_late_leaves_a_later_job_alone(
    server: Server, number: signal.Signals | None
) -> None:
    """It may have waited in Slurm's queue, or for Redis."""
    server.client().hset(RECORD, mapping=LATER)
    link, wakeups = RecordLink(server.url, KEYS, "j", EARLIER["created"]), Wakeups()
    if number is not None:
        wakeups.post(number)
    with pytest.raises(GivenUp):
        claim(link, wakeups, {}, asked="what the earlier one was to run")
    assert server.client().hgetall(RECORD) == {name.encode(): value.encode() for name, value in LATER.items()}


def test_a_supervisor_knows_which_job_of_its_id_it_was_started_for(server: Server) -> None:
    job = JobStore.from_url(server.url, KEYS.prefix).create(["true"])
    assert read_settings(for_supervisor({}, server.url, KEYS.prefix, job)).created == job.run != ""


def test_a_launch_of_an_earlier_job_is_noted_in_no_later_one(server: Server) -> None:
    """Which would then be called lost by the agent while it waits to be launched."""
    store = JobStore.from_url(server.url, KEYS.prefix)
    store.client.hset(RECORD, mapping=EARLIER)
    seen = store.get("j")
    note_launch(seen, server.url, KEYS.prefix)
    assert store.get("j").launch_host is not None
    later = use_again(store.client)
    note_launch(seen, server.url, KEYS.prefix, {"account": "tux"})
    assert store.client.hgetall(RECORD) == later


def test_a_launch_of_what_says_not_when_it_was_created_is_noted(server: Server) -> None:
    store = JobStore.from_url(server.url, KEYS.prefix)
    store.client.hset(RECORD, mapping={"status": "pending", "command": "true"})
    note_launch(store.get("j"), server.url, KEYS.prefix)
    assert store.get("j").launch_host is not None
