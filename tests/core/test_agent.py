"""A host's agent, with real jobs whose supervisors are killed or frozen."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from gnjobs import control, events
from gnjobs.agent import Agent
from gnjobs.health import Presence
from gnjobs.identity import boot_id, host_name, pid_namespace
from gnjobs.kills import kill_job
from gnjobs.launching import launch
from gnjobs.records import Job
from gnjobs.roles import Actor
from gnjobs.store import JobStore
from tests.end_to_end.terminal import gnjobs
from tests.servers import Server
from tests.supervised import KEYS, SupervisedJob, python
from tests.waiting import wait_for

SLEEP = python("import time; time.sleep(1000)")
TUX = Actor.admin("tux")


@pytest.fixture
def store(server: Server) -> JobStore:
    return JobStore.from_url(server.url)


@pytest.fixture
def agent(store: JobStore) -> Iterator[Agent]:
    working = Agent(store, every=0.2)
    thread = threading.Thread(target=working.run)
    thread.start()
    wait_for(lambda: store.client.zscore(KEYS.hosts, host_name()))
    yield working
    working.stop()
    thread.join()


@pytest.fixture
def job(server: Server) -> Iterator[SupervisedJob]:
    made = SupervisedJob(server, SLEEP)
    made.supervise()
    made.wait_for("running")
    wait_for(lambda: made.read().pid, 20)
    yield made
    made.end()


def kill_supervisor(job: SupervisedJob, store: JobStore) -> Job:
    """End the supervisor as the kernel does, and let its beat be old."""
    job.processes[0].kill()
    job.processes[0].wait()
    store.client.hset(KEYS.job(job.id), "heartbeat", store.now() - 100)
    return job.read()


def test_a_job_of_which_nothing_runs_is_lost(store: JobStore, job: SupervisedJob, agent: Agent) -> None:
    record = job.read()
    os.kill(record.pid, signal.SIGSTOP)
    job.processes[0].kill()
    job.processes[0].wait()
    os.kill(record.pid, signal.SIGKILL)
    store.client.hset(KEYS.job(job.id), "heartbeat", store.now() - 100)
    lost = job.wait_for("lost", limit=20)
    assert "nothing of it runs" in lost.error
    assert wait_for(lambda: store.client.zscore(KEYS.unfinished, job.id) is None)
    assert "lost" in [event.kind for event in events.read_events(store.client, KEYS)]


def test_an_orphan_that_still_runs_is_kept_until_it_is_killed(
    store: JobStore, job: SupervisedJob, agent: Agent
) -> None:
    orphan = kill_supervisor(job, store)
    wait_for(lambda: "orphaned" in [event.kind for event in events.read_events(store.client, KEYS)], 20)
    wait_for(lambda: store.now() - job.read().heartbeat < 5, 20, "the agent to beat")
    assert job.read().status == "running"
    steps = list(kill_job(store, job.id, actor=TUX, reason="orphan"))
    assert steps[-1].verified, steps
    assert job.read().status == "killed"
    assert job.alive() == []
    assert orphan.pid


def test_who_asks_from_elsewhere_is_answered_by_the_agent(
    store: JobStore, job: SupervisedJob, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.processes[0].send_signal(signal.SIGSTOP)
    stream = KEYS.host_control(host_name())
    request = control.ControlRequest("", "kill", job=job.id, by="tux", reason="frozen", grace=1.0)
    request_id = control.send_request(store.client, stream, request)
    until = time.monotonic() + 30.0
    last = None
    for step in control.read_answers(store.client, stream, request_id, lambda: until):
        if step is not None:
            last = step
            if step.final:
                break
    assert last is not None
    assert last.verified, last
    assert job.read().status == "killed"
    assert job.alive() == []


def test_a_second_agent_says_why_it_does_not_work(server: Server) -> None:
    command = gnjobs("agent", "--redis-url", server.url)
    first = subprocess.Popen(command)
    try:
        wait_for(lambda: server.client().zscore(KEYS.hosts, host_name()), 20)
        second = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert "already runs" in second.stderr
    finally:
        first.terminate()
        assert first.wait(10) == 0


def test_a_job_is_started_for_who_asks(store: JobStore, agent: Agent) -> None:
    job = store.create(["true"])
    launch(job, via="agent", store=store)
    wait_for(lambda: store.get(job.id).status == "success", 20)


def stale(store: JobStore) -> Job:
    """A job that ran here under a supervisor that is gone."""
    job = store.create(["true"])
    here = {"status": "running", "host": host_name(), "boot-id": boot_id(), "pid-namespace": pid_namespace()}
    store.client.hset(KEYS.job(job.id), mapping=here | {"supervisor-pid": 1, "heartbeat": 1})
    return job


def test_a_job_that_cannot_be_written_keeps_no_other_from_its_end(store: JobStore) -> None:
    other, broken = stale(store), stale(store)
    store.client.hset(KEYS.job(broken.id), "child:c1", KEYS.child_output(broken.id, "c1"))
    store.client.set(KEYS.child(broken.id, "c1"), "no hash")
    Agent(store).look_around()
    assert store.get(other.id).status == "lost"


def test_what_only_a_second_look_finds_is_not_lost(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = stale(store)
    seen = iter([Presence("gone"), Presence("running", "1 process runs")])
    monkeypatch.setattr("gnjobs.agent.look", lambda _: next(seen))
    Agent(store).look_around()
    assert store.get(job.id).status == "running"


def test_a_forged_record_kills_no_bystander(store: JobStore, agent: Agent) -> None:
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        job = store.create(["true"])
        forged = {
            "status": "running",
            "pid": bystander.pid,
            "supervisor-pid": bystander.pid,
            "host": host_name(),
        }
        forged |= {
            "boot-id": boot_id(),
            "pid-namespace": pid_namespace(),
            "heartbeat": 1,
            "supervisor-started": 1,
        }
        store.client.hset(KEYS.job(job.id), mapping=forged)
        wait_for(lambda: store.get(job.id).status == "lost", 20)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
