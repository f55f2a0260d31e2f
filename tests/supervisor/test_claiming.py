"""A supervisor that is told to stop before its job has begun: the job ends as killed, and nobody runs it."""

import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnjobs.processes.table import ProcessView
from gnjobs.records.events import Events
from gnjobs.records.fields import Job
from gnjobs.records.listener import ControlListener
from gnjobs.records.requests import ControlRequest, send_request
from gnjobs.store import JobStore
from gnjobs.supervisor.launch import launch, run_and_wait
from tests.support.servers import BINARIES, SYNCED, Server, running_server
from tests.support.supervised import KEYS, SupervisedJob
from tests.support.waiting import wait_for


@pytest.fixture
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("lasting"), BINARIES["valkey"], *SYNCED) as server:
        yield server


def wait_for_attempt(server: Server, job: SupervisedJob) -> None:
    """Start its supervisor while the server is away, and wait until it asks for it."""
    with socket.create_server(("127.0.0.1", server.port)) as closed_door:
        closed_door.settimeout(20)
        job.supervise()
        closed_door.accept()[0].close()


def test_what_was_stopped_before_redis_answered_is_killed(lasting: Server) -> None:
    job = SupervisedJob(lasting, ["true"])
    lasting.kill()
    try:
        wait_for_attempt(lasting, job)
        job.processes[0].terminate()
        lasting.start()
        done = job.wait_for("killed")
        assert "its supervisor got SIGTERM" in done.stop_reason
        assert done.started is None
        assert job.processes[0].wait(60) == 128 + signal.SIGTERM
        client = lasting.client()
        assert client.zscore(KEYS.unfinished, job.id) is None
        assert "killed" in [event.kind for event in Events(client, KEYS, lasting.url)()]
    finally:
        job.end()


def test_a_second_signal_makes_it_leave(lasting: Server) -> None:
    job = SupervisedJob(lasting, ["true"])
    lasting.kill()
    try:
        wait_for_attempt(lasting, job)

        def told_again() -> bool:
            job.processes[0].terminate()
            return job.processes[0].poll() is not None

        wait_for(told_again)
        assert b"before that was reported" in job.processes[0].stderr.read()
    finally:
        job.end()


@pytest.mark.parametrize(
    "change", [{"command": "touch {told}"}, {"cwd": "/"}, {"user-id": "mallory"}, {"job-type": "insert"}]
)
def test_a_record_that_was_changed_after_its_creation_runs_nothing(
    store: JobStore, tmp_path: Path, change: dict[str, str]
) -> None:
    told = tmp_path / "told"
    job = store.create(["touch", str(tmp_path / "asked")], user_id="jsmith", cwd=str(tmp_path))
    changed = {name: value.format(told=told) for name, value in change.items()}
    store.client.hset(KEYS.job(job.id), mapping=changed)
    assert run_and_wait(job, store) == 1
    ended = store.get(job.id)
    assert (ended.status, ended.error) == (
        "error",
        "its record was changed after it was launched, so it was not started",
    )
    assert list(tmp_path.iterdir()) == []
    assert [event.kind for event in store.events() if event.job == job.id] == ["failed"]


def test_whoever_changes_a_record_while_it_is_created_changes_nothing_of_what_is_launched(
    store: JobStore, tmp_path: Path
) -> None:
    """The job that `create` returns is what was asked for, not what its key holds by then."""

    class ChangedAtOnce(JobStore):
        def get(self, job_id: str) -> Job:
            self.client.hset(KEYS.job(job_id), "command", f"touch {tmp_path}/mallory")
            return super().get(job_id)

    job = ChangedAtOnce(store.client, store.keys, store.url).create(["true"])
    assert (job.command, job.status) == ("true", "pending")


def test_whenever_a_launched_supervisor_is_stopped_its_job_ends(server: Server) -> None:
    chance = random.Random(7)
    store = JobStore.from_url(server.url)
    jobs = [store.create(["sleep", "1000"]) for _ in range(8)]
    for job in jobs:
        launch(job, store=store)
        supervisor = wait_for(lambda job=job: supervisor_of(job.id))
        time.sleep(chance.uniform(0.0, 0.3))  # at any moment of its start
        os.kill(supervisor, signal.SIGTERM)
    for job in jobs:
        wait_for(lambda job=job: store.get(job.id).status == "killed")
    wait_for(lambda: not any(supervisor_of(job.id) for job in jobs))


def supervisor_of(job_id: str) -> int | None:
    marks = ProcessView().marks.items()
    return next((pid for pid, mark in marks if mark is not None and mark.job == job_id), None)


def test_a_request_is_heard_that_came_before_the_listener_found_the_server(lasting: Server) -> None:
    stream = KEYS.host_control("host")
    heard: list[ControlRequest] = []
    lasting.kill()
    with socket.create_server(("127.0.0.1", lasting.port)) as closed_door:
        closed_door.settimeout(20)
        ControlListener(lasting.url, KEYS, [stream], heard.append, last_seconds=30.0).start()
        closed_door.accept()[0].close()
    lasting.start()
    request_id = send_request(lasting.client(), stream, ControlRequest("", "kill", job="x"))
    wait_for(lambda: heard)
    assert [request.id for request in heard] == [request_id]
