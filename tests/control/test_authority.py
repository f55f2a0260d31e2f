"""Who may ask for what: streams by asker, requests that expire, and answers that no asker writes."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from click.testing import CliRunner

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.processes.host import host_name, own_account, pid_namespace
from gnjobs.records import requests
from gnjobs.records.actor import Actor
from gnjobs.records.listener import ControlListener
from gnjobs.records.requests import ControlRequest, send_request, step
from gnjobs.store import JobStore
from gnjobs_tui.cli.main import cli
from tests.support.os_accounts import AS_NOBODY, needs_accounts
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, supervised
from tests.support.waiting import wait_for


@pytest.fixture
def job(server: Server) -> Iterator[SupervisedJob]:
    with supervised(server, ["sleep", "600"], user_id="jsmith") as job:
        wait_for(job.alive)
        yield job


def heeded_behind(store: JobStore, job: SupervisedJob) -> None:
    """Wait until the supervisor has heard everything that was asked so far: it answers what comes behind."""
    last = ControlRequest("", "kill", job.id, child="no/child")
    asked = send_request(store.client, KEYS.admin_requests, last)
    until = time.monotonic() + 30
    answers = requests.read_answers(store.client, KEYS.answers(job.id), asked, lambda: until)
    assert next(answer for answer in answers if answer is not None).kind == "refused"


def test_nobody_else_is_heeded_than_admins_and_the_owner(store: JobStore, job: SupervisedJob) -> None:
    kill = ControlRequest("", "kill", job.id, by="jsmith", grace=0.1)
    host = host_name()
    others = (KEYS.control(job.id), KEYS.host_control(host), KEYS.host_starts(host))
    for stream in (KEYS.user_requests("mallory"), *others):
        send_request(store.client, stream, kill)
    heeded_behind(store, job)
    assert job.alive()
    send_request(store.client, KEYS.user_requests("jsmith"), kill)
    assert job.wait_for().stop_by == "jsmith"


def test_an_owner_that_a_record_names_later_is_not_heeded(store: JobStore, job: SupervisedJob) -> None:
    store.client.hset(KEYS.job(job.id), "user-id", "mallory")
    send_request(store.client, KEYS.user_requests("mallory"), ControlRequest("", "kill", job.id, grace=0.1))
    heeded_behind(store, job)
    assert job.alive()


def test_a_curator_asks_in_her_own_stream(store: JobStore, job: SupervisedJob) -> None:
    steps = list(kill_job(store, job.id, actor=Actor("jane", "curator", ("jsmith",)), grace=1.0))
    assert steps[-1].verified, steps
    (entry,) = store.client.xrange(KEYS.user_requests("jsmith"), "-", "+")[-1:]
    assert entry[1][b"job"] == job.id.encode()
    assert not [e for e in store.client.xrange(KEYS.admin_requests) if e[1].get(b"job") == job.id.encode()]


def test_an_answer_in_the_stream_of_requests_is_none(store: JobStore, job: SupervisedJob) -> None:
    """An asker who may write requests alone can make nobody believe that everything is gone."""
    stop = threading.Event()
    forged = step("written", "verified: 1 of 1 gone", verified=True, final=True)

    def forge() -> None:
        while not stop.wait(0.001):
            for entry_id, fields in store.client.xrevrange(KEYS.admin_requests, count=5):
                if fields.get(b"job") == job.id.encode():
                    name = f"{KEYS.admin_requests}/{entry_id.decode()}"
                    requests.answer(store.client, KEYS.admin_requests, name, forged)

    forger = threading.Thread(target=forge)
    forger.start()
    job.processes[0].send_signal(signal.SIGSTOP)
    try:
        steps = kill_job(store, job.id, actor=Actor.admin("tux"), grace=0.1, supervisor_timeout=1.0)
        last = list(steps)[-1]
    finally:
        stop.set()
        forger.join()
    assert last.text != forged.text
    assert job.alive() == []


@contextmanager
def forged_answers(store: JobStore, job: SupervisedJob, record: dict[str, str]) -> Iterator[None]:
    """Somebody who answers every kill of the job with a lie, and writes something into its record before."""
    stop = threading.Event()

    def forge() -> None:
        while not stop.wait(0.005):
            for entry_id, fields in store.client.xrevrange(KEYS.admin_requests, count=5):
                if fields.get(b"job") == job.id.encode():
                    if record:
                        store.client.hset(KEYS.job(job.id), mapping=record)
                    name = f"{KEYS.admin_requests}/{entry_id.decode()}"
                    said = step("written", "verified: 1 of 1 gone", verified=True, final=True)
                    requests.answer(store.client, KEYS.answers(job.id), name, said)

    forger = threading.Thread(target=forge)
    forger.start()
    try:
        yield
    finally:
        stop.set()
        forger.join()


def test_a_forged_answer_that_all_is_gone_is_not_believed(store: JobStore, job: SupervisedJob) -> None:
    """Where somebody who may write answers and records lies, also of whose mark its processes bear."""
    job.processes[0].send_signal(signal.SIGSTOP)
    with forged_answers(store, job, {"status": "killed", "mark": "x"}):
        last = list(kill_job(store, job.id, actor=Actor.admin("tux"), supervisor_timeout=5.0))[-1]
    assert (last.kind, last.verified) == ("left", False)
    assert f"{job.alive()[0].pid} (says that it is of job {job.id})" in last.text


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[psutil.Popen]:
    """A process with this environment, for the time of a with block."""
    with psutil.Popen(command, env=environment | {"PATH": os.environ["PATH"]}) as process:
        try:
            yield process
        finally:
            process.kill()


def end_at_once(job: SupervisedJob) -> None:
    """Kill its supervisor, then its processes; what only says that it is the job's stays."""
    (supervisor,) = job.processes
    below = psutil.Process(supervisor.pid).children(recursive=True)
    supervisor.kill()
    supervisor.wait()
    for process in below:
        process.kill()
    psutil.wait_procs(below)


SPOILT: dict[str, dict[str, str] | None] = {
    "a string": None,
    "nothing but its status": {"status": "running"},
    "waiting": {"status": "pending"},
    "elsewhere": {"host": "elsewhere"},
}


@pytest.mark.sampled
@pytest.mark.parametrize("is_alive", [True, False], ids=["supervisor alive", "supervisor dead"])
@pytest.mark.parametrize("record", SPOILT)
def test_what_runs_here_is_ended_or_named_whatever_stands_in_place_of_its_record(
    store: JobStore, job: SupervisedJob, monkeypatch: pytest.MonkeyPatch, record: str, is_alive: bool
) -> None:
    monkeypatch.setattr("gnjobs.control.kill._WRITING_SECONDS", 2.0)
    if not is_alive:
        job.processes[0].kill()
        job.processes[0].wait()
    key, fields = KEYS.job(job.id), SPOILT[record]
    if record in ("a string", "nothing but its status"):
        store.client.unlink(key)
    elif record == "waiting":
        store.client.hdel(key, "supervisor-pid")
    if fields is None:
        store.client.set(key, "x")
    else:
        store.client.hset(key, mapping=fields)
    last = list(kill_job(store, job.id, actor=Actor.admin("tux"), grace=0.0))[-1]
    is_ended = is_alive or record in ("waiting", "elsewhere")
    assert (job.alive() == []) == is_ended, last
    assert is_ended or f"yet it runs here: {job.alive()[0].pid}" in last.text


ELSEWHERE = {
    "host": {"host": "elsewhere"},
    "namespace": {"pid-namespace": "pid:[1]", "boot-id": "another"},
    "ended elsewhere": {"host": "elsewhere", "status": "killed", "mark": "x"},
    "never started": {"status": "pending", "supervisor-pid": "", "mark": "x"},
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_what_runs_here_is_not_called_gone_wherever_a_record_places_it(
    store: JobStore, job: SupervisedJob, place: str
) -> None:
    """Somebody who may write records forges answers, and before that where the job is."""
    job.processes[0].send_signal(signal.SIGSTOP)
    store.client.hset(KEYS.job(job.id), mapping=ELSEWHERE[place])
    with forged_answers(store, job, {"status": "killed"}):
        last = list(kill_job(store, job.id, actor=Actor.admin("tux"), supervisor_timeout=5.0))[-1]
    assert (last.kind, last.verified) == ("left", False), last
    is_ended = place in ("host", "namespace")
    assert ("runs on another machine" if is_ended else f"yet it runs here: {job.alive()[0].pid}") in last.text


@pytest.mark.sampled
@needs_accounts
@pytest.mark.parametrize("account", [AS_NOBODY, []], ids=["another account's copy", "its own, as another's"])
def test_while_anything_bears_its_mark_no_kill_is_verified(
    store: JobStore, job: SupervisedJob, account: list[str]
) -> None:
    """Whose the job's processes are is what its own code can write into its record."""
    (process,) = job.alive()
    own = process.environ() | {"GNJOBS_MARK": "copied"}
    with running([*account, "sleep", "600"], own) as other:
        wait_for(lambda: other.name() == "sleep")
        store.client.hset(KEYS.job(job.id), mapping={"account": "nobody", "mark": "0" * 64})
        last = list(kill_job(store, job.id, actor=Actor.admin("tux")))[-1]
    assert (last.kind, last.verified) == ("left", False), last
    assert last.text.endswith(f"; yet it runs here: {other.pid} of {'nobody' if account else own_account()}")


CHANGED = {
    "server": {"GNJOBS_REDIS_URL": "redis://127.0.0.2:1/0"},
    "prefix": {"GNJOBS_PREFIX": "another"},
    "job": {"GNJOBS_JOB_ID": "another"},
}
ENDED = {"status": "killed", "pid": "", "process-started": ""}


@pytest.mark.sampled
@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize("record", [{}, ENDED], ids=["an honest record", "a record that ended"])
def test_no_kill_is_verified_of_what_bears_the_token_and_says_that_it_is_elsewhere(
    server: Server, store: JobStore, changed: str, record: dict[str, str]
) -> None:
    """A job's own code ends its supervisor, and chooses what its environment says."""
    with supervised(server, ["sleep", "600"]) as job:
        (process,) = wait_for(job.alive)
        own = wait_for(lambda: process.environ().get("GNJOBS_MARK") and process.environ())
        with running(["sleep", "600"], own | CHANGED[changed]) as other:
            wait_for(lambda: other.name() == "sleep")
            end_at_once(job)
            if record:
                store.client.hset(KEYS.job(job.id), mapping=record)
            last = list(kill_job(store, job.id, actor=Actor.admin("tux"), grace=0.1))[-1]
            assert other.poll() is None
    assert (last.kind, last.verified, last.pids) == ("left", False, (other.pid,)), last


FORGED = {
    "account": {"account": "no-such"},
    "mark": {"account": "nobody", "mark": "0" * 64},
    "boot": {"account": "no-such", "boot-id": "another"},
    "never begun": {"account": "no-such", "status": "pending", "launch-host": host_name(), "created": 1},
}


@pytest.mark.sampled
@pytest.mark.parametrize("record", FORGED)
def test_whatever_its_record_says_what_bears_a_jobs_id_here_is_left_running(
    server: Server, store: JobStore, record: str
) -> None:
    """Also without a mark: neither who asks for a kill nor an agent calls it gone."""
    with supervised(server, ["sleep", "600"]) as job:
        (process,) = wait_for(job.alive)
        own = wait_for(lambda: process.environ().get("GNJOBS_MARK") and process.environ())
        del own["GNJOBS_MARK"]
        with running(["sleep", "600"], own) as other:
            wait_for(lambda: other.name() == "sleep")
            end_at_once(job)
            fields = {**ENDED, "status": "running", "heartbeat": 1, "launch-namespace": pid_namespace()}
            store.client.hset(KEYS.job(job.id), mapping=fields | FORGED[record])
            Agent(store).look_around()
            assert not job.read().is_final
            last = list(kill_job(store, job.id, actor=Actor.admin("tux"), grace=0.1))[-1]
            assert other.poll() is None
    assert (last.kind, last.verified, last.pids) == ("left", False, (other.pid,)), last
    assert f"of {own_account()} runs" in last.text


def test_what_was_asked_before_the_job_began_does_not_reach_a_later_one_of_its_id(
    server: Server, store: JobStore
) -> None:
    job = SupervisedJob(server, ["sleep", "600"])
    try:
        send_request(store.client, KEYS.admin_requests, ControlRequest("", "kill", job.id, grace=0.1))
        asked_at = store.now()
        wait_for(lambda: store.now() > asked_at + 0.3)
        job.supervise()
        wait_for(job.alive)
        heeded_behind(store, job)
        assert job.read().status == "running"
    finally:
        job.end()


def test_old_requests_are_refused(store: JobStore) -> None:
    heard: list[ControlRequest] = []
    stream = KEYS.host_control("of-old-requests")
    old = int((store.now() - 400) * 1000)
    store.client.xadd(stream, {"request": "kill", "job": "old-job"}, id=f"{old}-0")
    ControlListener(store.url, KEYS, [stream], heard.append, last_seconds=1000.0).start()
    send_request(store.client, stream, ControlRequest("", "kill", "new-job"))
    wait_for(lambda: heard)
    assert [request.job for request in heard] == ["new-job"]
    answered = [fields[b"step"] for _, fields in store.client.xrange(KEYS.answers("old-job"))]
    assert b"requests are valid for 300 s" in answered[0]


def test_a_request_from_the_future_is_refused_since_it_would_never_expire(store: JobStore) -> None:
    heard: list[ControlRequest] = []
    stream = KEYS.host_control("of-future-requests")
    for seconds, job in ((30, "soon"), (7200, "later")):
        entry = f"{int((store.now() + seconds) * 1000)}-0"
        store.client.xadd(stream, {"request": "kill", "job": job}, id=entry)
    ControlListener(store.url, KEYS, [stream], heard.append, last_seconds=10.0).start()
    answered = wait_for(lambda: store.client.xrange(KEYS.answers("later")))
    assert b"ahead of the server's" in answered[0][1][b"step"]
    assert [request.job for request in heard] == ["soon"]


def test_what_a_user_asks_about_others_jobs_is_not_even_heard(store: JobStore) -> None:
    agent = Agent(store)
    agent._rounds.overdue = {"agunns": ("agunn", math.inf), "hers": ("mallory", math.inf)}
    asked = [
        ControlRequest(f"{KEYS.user_requests('mallory')}/1-1", "kill", job)
        for job in ("agunns", "hers", None)
    ]
    assert [agent._is_for_us(request) for request in asked] == [False, True, False]


def test_whatever_a_record_holds_its_kill_ends_in_one_line(store: JobStore) -> None:
    job = store.create(["true"])
    odd = b"\x1b]52;c;x\x07\xff"
    fields = {"status": "running", "supervisor-pid": 1, "slurm-job": odd, "host": odd, "launch-host": odd}
    store.client.hset(KEYS.job(job.id), mapping=fields)
    last = list(kill_job(store, job.id, actor=Actor.admin("tux"), supervisor_timeout=0.1))[-1]
    assert (last.final, last.verified) == (True, False)
    done = CliRunner().invoke(cli, ["kill", job.id, "--redis-url", store.url, "--grace", "0"])
    assert isinstance(done.exception, SystemExit | None), done.exception


def test_answers_without_end_keep_no_kill_from_going_on(
    store: JobStore, job: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job may have its writer's credential, and stop its supervisor."""
    monkeypatch.setattr("gnjobs.control.kill._WRITING_SECONDS", 0.5)
    monkeypatch.setattr("gnjobs.control.kill.KILL_SECONDS", 0.5)
    job.processes[0].send_signal(signal.SIGSTOP)
    stop = threading.Event()

    def lie() -> None:
        while not stop.wait(0.1):
            for entry_id, fields in store.client.xrevrange(KEYS.admin_requests, count=1):
                if fields.get(b"job") == job.id.encode():
                    name = f"{KEYS.admin_requests}/{entry_id.decode()}"
                    for _ in range(150):
                        requests.answer(
                            store.client, KEYS.answers(job.id), name, step("answered", "still at it")
                        )

    liar = threading.Thread(target=lie)
    liar.start()
    try:
        steps = list(kill_job(store, job.id, actor=Actor.admin("tux"), force=True))
    finally:
        stop.set()
        liar.join()
    assert steps[-1].verified, steps
    assert [each.text for each in steps].count("still at it") == 100
    assert job.alive() == []
