"""A host's agent, with real jobs whose supervisors are killed or frozen."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial

import psutil
import pytest

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.records import requests
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.requests import ControlRequest, KillStep, step
from gnjobs.store import JobStore
from tests.support.agents import agent_at_work, look_until
from tests.support.odd_server import REPLIES, odd_server
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, supervised
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")


@pytest.fixture(autouse=True)
def _quick_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent waits less for frozen supervisors, and for what ignores TERM."""
    monkeypatch.setattr("gnjobs.control.agent.kill_job", partial(kill_job, grace=0.5, supervisor_timeout=1.0))


@pytest.fixture
def agent(store: JobStore) -> Iterator[Agent]:
    with agent_at_work(store) as agent:
        yield agent


def kill_supervisor(job: SupervisedJob, store: JobStore) -> Job:
    """End the supervisor as the kernel does, and let its beat be old."""
    job.processes[0].kill()
    job.processes[0].wait()
    store.client.hset(KEYS.job(job.id), "heartbeat", store.now() - 100)
    return job.read()


def test_a_job_of_which_nothing_runs_is_lost(store: JobStore, sleeper: SupervisedJob, agent: Agent) -> None:
    record = sleeper.read()
    os.kill(record.pid, signal.SIGSTOP)
    sleeper.processes[0].kill()
    sleeper.processes[0].wait()
    os.kill(record.pid, signal.SIGKILL)
    store.client.hset(KEYS.job(sleeper.id), mapping={"heartbeat": store.now() - 100, "keep": "1000"})
    lost = sleeper.wait_for("lost")
    assert wait_for(lambda: store.client.ttl(KEYS.job(sleeper.id)) <= 1000)
    assert "nothing of it runs" in lost.error
    assert wait_for(lambda: store.client.zscore(KEYS.unfinished, sleeper.id) is None)
    assert wait_for(lambda: "lost" in [event.kind for event in store.events()])


def test_an_orphan_that_still_runs_is_kept_until_it_is_killed(
    store: JobStore, sleeper: SupervisedJob, agent: Agent
) -> None:
    orphan = kill_supervisor(sleeper, store)
    wait_for(lambda: "orphaned" in [event.kind for event in store.events()])
    wait_for(lambda: store.now() - sleeper.read().heartbeat < 5, what="the agent to beat")
    kept = sleeper.read()
    assert kept.status == "running"
    assert f"the agent of {host_name()} beats for it" in kept.error
    steps = list(kill_job(store, sleeper.id, actor=TUX, reason="orphan"))
    assert steps[-1].verified, steps
    assert sleeper.read().status == "killed"
    assert sleeper.alive() == []
    assert orphan.pid


def orphaned(store: JobStore, job: SupervisedJob) -> Iterator[KillStep]:
    """A kill of a job that lost its supervisor, held where its asker is about to look for processes."""
    kill_supervisor(job, store)
    return held(kill_job(store, job.id, actor=TUX, reason="orphan"), "answered")


def held(kill: Iterator[KillStep], kind: str) -> Iterator[KillStep]:
    """A kill that goes on after its first step of this kind only when it is asked for the next."""
    assert any(each.kind == kind for each in kill)
    return kill


def test_an_agent_that_looks_before_the_killer_has_written_calls_the_job_killed(
    store: JobStore, sleeper: SupervisedJob
) -> None:
    kill = held(orphaned(store, sleeper), "gone")
    assert sleeper.alive() == []
    store.client.hset(KEYS.job(sleeper.id), "heartbeat", store.now() - 100)
    look_until(store, sleeper.id, "killed")
    ended = sleeper.read()
    assert (ended.status, ended.stop_by, ended.stop_reason) == ("killed", "tux", "orphan")
    assert [(event.kind, event.by) for event in store.events()][-1] == ("killed", "tux")
    assert list(kill)[-1].verified
    assert sleeper.read().finished == ended.finished


def test_of_two_killers_the_one_that_finds_nothing_left_calls_the_job_killed(
    store: JobStore, sleeper: SupervisedJob
) -> None:
    late = orphaned(store, sleeper)
    early = held(kill_job(store, sleeper.id, actor=Actor.admin("jane"), reason="runaway"), "gone")
    assert list(late)[-1].verified
    ended = sleeper.read()
    assert (ended.status, ended.stop_by, ended.stop_reason) == ("killed", "jane", "runaway")
    assert list(early)[-1].verified


def test_an_orphan_that_ended_before_anybody_asked_is_lost(store: JobStore, sleeper: SupervisedJob) -> None:
    kill = orphaned(store, sleeper)
    os.kill(sleeper.read().pid, signal.SIGKILL)
    wait_for(lambda: not sleeper.alive())
    assert list(kill)[-1].verified
    assert sleeper.read().status == "lost"


def test_who_asks_from_elsewhere_is_answered_by_the_agent(
    store: JobStore, sleeper: SupervisedJob, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper.processes[0].send_signal(signal.SIGSTOP)
    stream = KEYS.host_control(host_name())
    request = requests.ControlRequest("", "kill", job=sleeper.id, by="tux", reason="frozen", grace=1.0)
    request_id = requests.send_request(store.client, stream, request)
    until = time.monotonic() + 30.0
    last = None
    answers = KEYS.answers(sleeper.id)
    for answered in requests.read_answers(store.client, answers, request_id, lambda: until):
        if answered is not None:
            last = answered
            if answered.final:
                break
    assert last is not None
    assert last.verified, last
    assert sleeper.read().status == "killed"
    assert sleeper.alive() == []


def test_what_was_asked_while_no_agent_heard_it_is_done(store: JobStore, sleeper: SupervisedJob) -> None:
    sleeper.processes[0].send_signal(signal.SIGSTOP)
    stream = KEYS.host_control(host_name())
    answered = requests.send_request(store.client, stream, requests.ControlRequest("", "dance", sleeper.id))
    requests.answer(store.client, KEYS.answers(sleeper.id), answered, step("refused", "no", final=True))
    asked = requests.send_request(
        store.client, stream, requests.ControlRequest("", "kill", job=sleeper.id, grace=1.0)
    )
    agent = Agent(store, every=0.2)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        assert sleeper.wait_for("killed").stop_by == "?"
        entries = store.client.xrange(KEYS.answers(sleeper.id))
        answers = [fields[b"answer"].decode() for _, fields in entries]
        answers = [name for name in answers if name.startswith(stream)]
        assert set(answers) == {answered, asked}
        assert answers.count(answered) == 1
    finally:
        agent.stop()
        thread.join()


def test_a_kill_whose_supervisor_died_over_it_is_finished(
    store: JobStore, server: Server, agent: Agent
) -> None:
    with supervised(server, ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]) as job:
        job.wait_for_line("ready")
        asked = requests.ControlRequest("", "kill", job=job.id, by="jane", reason="runaway", grace=600)
        requests.send_request(store.client, KEYS.admin_requests, asked)
        job.wait_for("stopping")
        kill_supervisor(job, store)
        done = job.wait_for("killed")
        assert (done.stop_by, done.stop_reason) == ("jane", "runaway")
        assert job.alive() == []


@pytest.mark.parametrize("greets", [False, True])
def test_an_agent_outlives_whatever_answers_in_place_of_redis(
    server: Server, proxy: Proxy, store: JobStore, greets: bool
) -> None:
    """Any account may listen on the port of a server that is away."""
    with agent_at_work(JobStore.from_url(proxy.url), store.client):
        with odd_server(greets=greets) as odd:
            proxy.target = odd.port
            proxy.cut()
            wait_for(lambda: all(odd.given[reply] >= 3 for reply in REPLIES))
        proxy.target = server.port
        proxy.cut()
        store.client.delete(KEYS.hosts)
        wait_for(lambda: store.client.zscore(KEYS.hosts, host_name()))
        job, control = store.create(["true"]), KEYS.host_control(host_name())
        asked = requests.send_request(store.client, control, ControlRequest("", "dance", job.id))
        answers = requests.read_answers(store.client, KEYS.answers(job.id), asked, lambda: 1e12)
        assert next(filter(None, answers)).text == "an agent can't dance"


def test_an_agent_keeps_no_ended_children_that_nobody_waits_for(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the code that it starts can give it by `CLONE_PARENT`."""
    agent = Agent(store)
    with subprocess.Popen(["true"]) as child:
        wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        agent.look_around()
        assert psutil.pid_exists(child.pid)
        monkeypatch.setattr("gnjobs.control.agent._NOBODY_WAITS_SECONDS", 0.0)
        agent._tidy_at = 0.0
        agent.look_around()
        assert not psutil.pid_exists(child.pid)


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
        wait_for(lambda: store.get(job.id).status == "lost")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
