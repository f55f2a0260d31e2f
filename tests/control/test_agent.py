"""A host's agent, with real jobs whose supervisors are killed or frozen."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import psutil
import pytest

from gnjobs.control import orphans
from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.control.orphans import Rounds
from gnjobs.processes import find
from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.processes.presence import look
from gnjobs.processes.seen import Presence
from gnjobs.processes.table import ProcessView, read_mark
from gnjobs.records import events, requests
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.requests import ControlRequest, KillStep, step
from gnjobs.store import JobStore
from tests.support.agents import agent_at_work
from tests.support.odd_server import REPLIES, odd_server
from tests.support.os_accounts import AS_NOBODY, needs_accounts
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


def look_until(store: JobStore, job_id: str, status: str) -> None:
    """Look around until a job is called so: what just begins somewhere may be anybody's for a moment."""
    agent = Agent(store)
    wait_for(
        lambda: agent.look_around() or store.get(job_id).status == status, what=f"{job_id} to be {status}"
    )


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
    assert wait_for(lambda: "lost" in [event.kind for event in events.read_events(store.client, KEYS)])


def test_an_orphan_that_still_runs_is_kept_until_it_is_killed(
    store: JobStore, sleeper: SupervisedJob, agent: Agent
) -> None:
    orphan = kill_supervisor(sleeper, store)
    wait_for(lambda: "orphaned" in [event.kind for event in events.read_events(store.client, KEYS)])
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
    assert [(event.kind, event.by) for event in events.read_events(store.client, KEYS)][-1] == (
        "killed",
        "tux",
    )
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


def test_every_stale_entry_of_the_unfinished_goes_and_none_of_the_others(store: JobStore) -> None:
    store.client.zadd(KEYS.unfinished, {f"gone-{number}": number + 1 for number in range(12_000)})
    jobs = [store.create(["true"]).id for _ in range(3)]
    agent = Agent(store)
    for _ in range(3):
        agent.look_around()
    assert store.client.zcard(KEYS.unfinished) == len(jobs)


def test_a_running_job_that_never_beat_is_lost_when_nothing_of_it_runs(store: JobStore) -> None:
    job = stale(store)
    store.client.hdel(KEYS.job(job.id), "heartbeat")
    store.client.hset(KEYS.job(job.id), "created", store.now() - 100)
    look_until(store, job.id, "lost")


def test_a_job_whose_supervisor_died_before_it_began_is_lost(store: JobStore) -> None:
    then = store.now() - 100
    dead, waiting, elsewhere = (store.create(["true"]).id for _ in range(3))
    for job_id, host in ((dead, host_name()), (waiting, host_name()), (elsewhere, "elsewhere")):
        where = {"launch-host": host, "launch-namespace": pid_namespace()}
        store.client.hset(KEYS.job(job_id), mapping={"launched": then, "created": then, **where})
    # That it had begun can be forgotten: a child says so.
    store.client.hset(KEYS.job(dead), "child:c", KEYS.child_output(dead, "c"))
    store.client.hset(KEYS.child(dead, "c"), "status", "running")
    supervisor = subprocess.Popen(["sleep", "1000"], env=os.environ | {"GNJOBS_JOB_ID": waiting})
    try:
        wait_for(lambda: (mark := read_mark(supervisor.pid)) is not None and mark.job == waiting)
        look_until(store, dead, "lost")
        assert [store.get(job_id).status for job_id in (dead, waiting, elsewhere)] == [
            "lost",
            "pending",
            "pending",
        ]
        assert store.child(dead, "c").status == "lost"
    finally:
        supervisor.kill()
        supervisor.wait()


def forge_orphan(store: JobStore, pid: int) -> str:
    job = store.create(["true"])
    lost = {
        "status": "running",
        "host": host_name(),
        "boot-id": boot_id(),
        "heartbeat": 1,
        "left-running": pid,
    }
    lost |= {"pid-namespace": pid_namespace(), "supervisor-pid": 999_999, "supervisor-started": 1}
    store.client.hset(KEYS.job(job.id), mapping=lost)
    return job.id


def test_forged_orphans_share_one_view_of_the_processes_and_what_is_new_is_looked_at_first(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        forged = [forge_orphan(store, other.pid) for _ in range(3)]
        rounds, views = Rounds(store, lambda _: None), []
        init = ProcessView.__init__
        monkeypatch.setattr(
            ProcessView, "__init__", lambda view, *args: (views.append(view), init(view, *args))[1]
        )
        rounds.go(store.now())
        assert len(views) == 1
        assert all(store.get(each).orphaned for each in forged)
        monkeypatch.setattr(orphans, "_LOOK_SECONDS", 0.0)  # one a round
        lost = forge_orphan(store, 0)
        rounds.go(store.now())
        assert store.get(lost).status == "lost"
        beats = [store.get(each).heartbeat for each in forged]
        for _ in forged:
            rounds.go(store.now())
        assert all(store.get(each).heartbeat > beat for each, beat in zip(forged, beats, strict=True))
    finally:
        other.kill()
        other.wait()


@needs_accounts
@pytest.mark.parametrize(("account", "status"), [("daemon", "lost"), ("nobody", "pending")])
def test_a_launched_job_waits_for_nothing_of_another_account_that_cannot_be_inspected(
    store: JobStore, conceal: Callable[..., None], account: str, status: str
) -> None:
    job_id, then = store.create(["true"]).id, store.now() - 100
    where = {"launch-host": host_name(), "launch-namespace": pid_namespace(), "account": account}
    store.client.hset(KEYS.job(job_id), mapping={"launched": then, "created": then, **where})
    with subprocess.Popen([*AS_NOBODY, "sleep", "600"]) as process:
        wait_for(lambda: psutil.Process(process.pid).name() == "sleep")
        conceal(process.pid)
        look_until(store, job_id, status)
        process.kill()


def test_a_thread_of_the_kernel_is_nothing_that_a_job_has_left(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        job = store.get(forge_orphan(store, other.pid))
        assert look(job).kind == "running"
        monkeypatch.setattr(find, "read_command", lambda _: [])
        wait_for(lambda: look(job).kind == "gone")  # what just begins may be anybody's for a moment
    finally:
        other.kill()
        other.wait()


def test_a_job_that_was_claimed_while_it_was_looked_for_keeps_its_children(store: JobStore) -> None:
    job = store.create(["true"])
    where = {"launch-host": host_name(), "launch-namespace": pid_namespace(), "launched": 1, "created": 1}
    store.client.hset(KEYS.job(job.id), mapping=where)
    seen = store.get(job.id)
    store.client.hset(
        KEYS.job(job.id), mapping={"status": "running", "child:c": KEYS.child_output(job.id, "c")}
    )
    store.client.hset(KEYS.child(job.id, "c"), "status", "running")
    Rounds(store, lambda _: None)._write_lost_launch(seen, store.now())
    assert (store.get(job.id).status, store.child(job.id, "c").status) == ("running", "running")


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
    for job in (other, broken):
        look_until(store, job.id, "lost")


@pytest.mark.parametrize("field", ["left-running", "account", "host"])
def test_no_field_of_a_record_keeps_the_agent_from_the_others(store: JobStore, field: str) -> None:
    other, odd = stale(store), stale(store)
    store.client.hset(KEYS.job(odd.id), field, "9" * 5000)
    look_until(store, other.id, "lost")


def test_the_agent_removes_index_entries_of_jobs_that_are_gone(store: JobStore) -> None:
    kept = store.create(["true"], user_id="jsmith")
    store.client.zadd(KEYS.jobs, {"gone": 1})
    store.client.zadd(KEYS.user_jobs("jsmith"), {"gone": 1})
    Agent(store).look_around()
    assert store.client.zrange(KEYS.jobs, 0, -1) == [kept.id.encode()]
    assert store.client.zrange(KEYS.user_jobs("jsmith"), 0, -1) == [kept.id.encode()]


def test_what_only_a_second_look_finds_is_not_lost(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = stale(store)
    seen = iter([Presence("gone"), Presence("running", "1 process runs")])
    monkeypatch.setattr("gnjobs.control.orphans.look", lambda *_: next(seen))
    Agent(store).look_around()
    assert store.get(job.id).status == "running"


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
        assert next(filter(None, answers)).text == "dance is nothing that an agent does"


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
