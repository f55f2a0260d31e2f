"""Records that name processes which are not the job's: nobody signals them, whoever reads the record."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
import psutil
import pytest

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.control.looks import find_here
from gnjobs.control.orphans import Orphan
from gnjobs.processes.host import boot_id, host_name, own_account, pid_namespace
from gnjobs.processes.presence import Looks
from gnjobs.processes.proc import process_start, read_command
from gnjobs.processes.table import ProcessView
from gnjobs.records import requests
from gnjobs.records.actor import Actor
from gnjobs.records.environment import ENV_CHILD
from gnjobs.records.keys import Keys
from gnjobs.records.requests import KillStep
from gnjobs.store import JobStore
from tests.support.command import run
from tests.support.mirror import loaded_mirror
from tests.support.os_accounts import AS_NOBODY, can_change_account
from tests.support.servers import Server
from tests.support.supervised import KEYS, supervised
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")
Process = subprocess.Popen[bytes]


@pytest.fixture(params=["bystander", "another account's"])
def bystander(request: pytest.FixtureRequest) -> Iterator[Process]:
    """A process that belongs to no job."""
    is_another = request.param != "bystander"
    if is_another and not can_change_account():
        pytest.skip("only root can act as another account")
    started = subprocess.Popen([*(AS_NOBODY if is_another else ()), "sleep", "1000"])
    wait_for(lambda: read_command(started.pid)[:1] == ["sleep"])
    yield started
    started.kill()
    started.wait()


def identity(pid: int, **other: object) -> dict[str, object]:
    """What a record says whose job's process and supervisor are both this one."""
    start = process_start(pid)
    return {
        "status": "running",
        "host": host_name(),
        "account": own_account(),
        "boot-id": boot_id(),
        "pid-namespace": pid_namespace(),
        "heartbeat": 1,
        "started": 1,
        "pid": pid,
        "process-started": start,
        "supervisor-pid": pid,
        "supervisor-started": start,
        **other,
    }


FORGERIES: dict[str, Callable[[int], dict[str, object]]] = {
    "its pid and start": identity,
    "a reused pid": lambda pid: identity(pid, **{"process-started": 1, "supervisor-started": 1}),
    "another boot": lambda pid: identity(pid, **{"boot-id": "another"}),
    "no boot": lambda pid: identity(pid, **{"boot-id": "", "pid-namespace": ""}),
    "another namespace": lambda pid: identity(pid, **{"pid-namespace": "pid:[1]"}),
    "left by an earlier kill": lambda pid: identity(pid, **{"status": "killed", "left-running": pid}),
}


def forged(store: JobStore, fields: dict[str, object]) -> str:
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), mapping=fields)
    child = {"status": "running", "pid": fields["pid"], "process-started": fields["process-started"]}
    store.client.hset(KEYS.child(job.id, "c"), mapping=child)
    store.client.hset(KEYS.job(job.id), "child:c", KEYS.child_output(job.id, "c"))
    return job.id


def ask(store: JobStore, stream: str, request: requests.ControlRequest) -> KillStep:
    """Send a request and wait for its last answer."""
    asked = requests.send_request(store.client, stream, request)
    until = time.monotonic() + 30.0
    key = KEYS.answers(request.job or "")
    answers = requests.read_answers(store.client, key, asked, lambda: until)
    return next(answer for answer in answers if answer is not None and answer.final)


@pytest.mark.sampled
@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("child", [None, "c"])
def test_the_asker_signals_nobody(
    store: JobStore, bystander: Process, forgery: str, child: str | None
) -> None:
    job_id = forged(store, FORGERIES[forgery](bystander.pid))
    steps = list(kill_job(store, job_id, child, actor=TUX, grace=0.0, supervisor_timeout=0.1))
    assert steps[-1].final
    assert bystander.poll() is None
    if forgery == "its pid and start":
        assert not steps[-1].verified, steps  # it may be the job's, for all that can be known


@pytest.mark.parametrize("forgery", ["its pid and start", "a reused pid"])
def test_the_agent_signals_nobody(store: JobStore, bystander: Process, forgery: str) -> None:
    agent = Agent(store)
    job_id = forged(store, FORGERIES[forgery](bystander.pid) | {"status": "stopping", "stop-requested": 1})
    agent.look_around()
    request = requests.ControlRequest("1-1", "kill", job=job_id, by="tux", grace=0.0)
    assert list(agent._steps(request))[-1].final
    agent._finish_kill(store.get(job_id))
    agent._pool.join(30.0)
    assert bystander.poll() is None


def test_a_system_process_is_signalled_by_nobody(store: JobStore) -> None:
    for pid in (1, *([2] if process_start(2) else [])):  # a container has no threads of the kernel
        job_id = forged(store, identity(pid))
        signalled = [
            step.pids for step in kill_job(store, job_id, actor=TUX, grace=0.0) if step.kind == "killing"
        ]
        assert signalled == []


def test_the_supervisor_signals_nobody(server: Server, store: JobStore, bystander: Process) -> None:
    with supervised(server, ["sleep", "1000"]) as job:
        job.wait_for("running")
        own = wait_for(lambda: job.read().pid)
        start = process_start(bystander.pid)
        lies = {"pid": bystander.pid, "process-started": start, "left-running": bystander.pid}
        store.client.hset(KEYS.job(job.id), mapping=lies)
        store.client.hset(KEYS.child(job.id, "c"), mapping={"status": "running", **lies})
        store.client.hset(KEYS.job(job.id), "child:c", KEYS.child_output(job.id, "c"))
        stream = KEYS.admin_requests
        ask(store, stream, requests.ControlRequest("", "kill", job.id, child="c", grace=0.0))
        assert bystander.poll() is None
        done = ask(store, stream, requests.ControlRequest("", "kill", job.id, grace=0.0))
        assert done.verified, done
        assert process_start(own) is None or job.alive() == []
        assert bystander.poll() is None


def test_a_process_that_only_looks_like_a_supervisor_is_not_taken_for_one(store: JobStore) -> None:
    """With the right start and command line, but without the job's mark."""
    pretender = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", "gnjobs.supervisor"])
    try:
        wait_for(lambda: "gnjobs.supervisor" in read_command(pretender.pid))
        job_id = forged(store, identity(pretender.pid))
        steps = list(kill_job(store, job_id, actor=TUX, grace=0.0, supervisor_timeout=0.1))
        assert not steps[-1].verified, steps
        assert pretender.poll() is None
    finally:
        pretender.kill()
        pretender.wait()


@pytest.mark.parametrize("kind", ["stack", "files"])
def test_the_agent_looks_into_no_process_that_only_a_record_names(store: JobStore, kind: str) -> None:
    """Neither below what it calls the supervisor, nor among what it says that was seen."""
    with psutil.Popen(["sh", "-c", "sleep 1000.75; true"]) as parent:
        (bystander,) = wait_for(parent.children)
        job_id = forged(store, identity(parent.pid, **{"user-id": "jsmith"}))
        seen = [{"pid": bystander.pid, "started": process_start(bystander.pid)}, {"pid": 1, "started": 1}] * 9
        store.client.set(KEYS.processes(job_id), json.dumps({"at": 1, "processes": seen}))
        agent = Agent(store)
        try:
            (said,) = agent._steps(requests.ControlRequest("1-1", kind, job=job_id, by="tux"))
            assert not find_here(store, store.get(job_id), None)
            assert "sleep" not in said.text
            orphan = Orphan(store, store.get(job_id), ProcessView())
            assert list(orphan._find(ProcessView())) == []
            assert list(orphan._known) == [bystander.pid]
        finally:
            bystander.kill()
            parent.kill()


def test_of_what_only_redis_calls_a_jobs_the_agent_tells_nothing_but_numbers(
    server: Server, store: JobStore
) -> None:
    """Whoever writes records may add any process of the job's account."""
    with supervised(server, ["sleep", "1000"]) as job, subprocess.Popen(["sleep", "1000"]) as bystander:
        (own,) = wait_for(job.alive)
        job.processes[0].kill()
        job.processes[0].wait()
        seen = [{"pid": bystander.pid, "started": process_start(bystander.pid)}]
        store.client.set(KEYS.processes(job.id), json.dumps({"at": 1, "processes": seen}))
        view = ProcessView()
        orphan = Orphan(store, job.read(), view)
        found = [msgspec.structs.replace(each, idle_since=0.0) for each in orphan._find(view)]
        measuring = orphan._signs._measure
        told = {each.pid: each.waits for each in measuring._tell(found, 1e9, lambda _: 0.0, is_due=True)}
        bystander.kill()
    assert told == {own.pid: "waits for its own timer", bystander.pid: None}


OTHER = Keys("another")
PREFIXES = (KEYS.prefix, OTHER.prefix)


@pytest.mark.parametrize("whose", ["its own, 80 MB", "another prefix's"])
def test_what_is_stored_of_processes_hides_no_job_and_tells_of_one_alone(
    store: JobStore, bystander: Process, whose: str
) -> None:
    gone = {"pid": 2**22, "process-started": 1, "supervisor-pid": 2**22 + 1, "supervisor-started": 1}
    job_id = forged(store, identity(bystander.pid) | gone)
    if whose == "another prefix's":
        seen = [{"pid": bystander.pid, "started": process_start(bystander.pid)}]
        store.client.set(OTHER.processes(job_id), json.dumps({"at": 1, "processes": seen}))
    else:
        store.client.set(KEYS.processes(job_id), b"x" * (80 << 20))
    options = [part for prefix in PREFIXES for part in ("--prefix", prefix)]

    def is_dead() -> bool:  # what just begins somewhere may be anybody's for a moment
        listed = map(json.loads, run(store.url, "ls", "--json", *options).stdout.splitlines())
        return [each["health"] for each in listed if each["id"] == job_id] == ["dead"]

    wait_for(is_dead)
    with loaded_mirror(store.url, prefixes=PREFIXES, look=Looks()) as seen_here:
        (key,) = [row.key for row in seen_here.rows().values() if row.id == job_id]
        wait_for(lambda: (row := seen_here.row(key)) and row.state == "DEAD")
        assert "away" not in {state.kind for state in seen_here.states}


def test_a_child_that_only_its_record_calls_ended_is_named_as_left(server: Server, store: JobStore) -> None:
    running = f"{ENV_CHILD}=c sleep 1000 & exec sleep 1000"
    with supervised(server, ["sh", "-c", running]) as job:
        job.wait_for("running")
        wait_for(
            lambda: any(each.environ().get(ENV_CHILD) for each in job.alive()), what="the child's process"
        )
        store.client.hset(KEYS.child(job.id, "c"), "status", "success")
        store.client.hset(KEYS.job(job.id), "child:c", KEYS.child_output(job.id, "c"))
        last = list(kill_job(store, job.id, child_id="c", actor=TUX, grace=0.0))[-1]
        assert (last.kind, last.verified, len(last.pids)) == ("left", False, 1), last
        assert list(kill_job(store, job.id, actor=TUX, grace=0.0))[-1].verified
