"""Who may ask for what: streams by asker, answers that no asker writes, requests that expire and are few at a time."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
from click.testing import CliRunner

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.processes.host import host_name, login_name
from gnjobs.records import requests
from gnjobs.records.actor import Actor
from gnjobs.records.listener import ControlListener
from gnjobs.records.pool import RequestPool
from gnjobs.records.requests import ControlRequest, KillStep, send_request, step
from gnjobs.store import JobStore
from gnjobs.supervisor.loop import Answers
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


@pytest.mark.parametrize(
    ("record", "why"),
    [({}, "yet its status is running"), ({"status": "killed", "mark": "x"}, "yet it runs here")],
    ids=["the answer", "the record, too"],
)
def test_a_forged_answer_that_all_is_gone_is_not_believed(
    store: JobStore, job: SupervisedJob, monkeypatch: pytest.MonkeyPatch, record: dict[str, str], why: str
) -> None:
    """Where somebody who may write answers and records lies."""
    monkeypatch.setattr("gnjobs.control.kill._WRITING_SECONDS", 0.5)
    job.processes[0].send_signal(signal.SIGSTOP)
    with forged_answers(store, job, record):
        last = list(kill_job(store, job.id, actor=Actor.admin("tux"), supervisor_timeout=5.0))[-1]
    assert (last.kind, last.verified) == ("left", False)
    assert why in last.text
    assert job.alive()


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
    assert f"yet it runs here: {job.alive()[0].pid}" in last.text


@needs_accounts
@pytest.mark.parametrize("account", [AS_NOBODY, []], ids=["another account's copy", "its own, as another's"])
def test_while_anything_bears_its_mark_no_kill_is_verified(
    store: JobStore, job: SupervisedJob, account: list[str]
) -> None:
    """Whose the job's processes are is what its own code can write into its record."""
    (process,) = job.alive()
    own = process.environ() | {"GNJOBS_MARK": "copied", "PATH": os.environ["PATH"]}
    with psutil.Popen([*account, "sleep", "600"], env=own) as other:
        wait_for(lambda: other.name() == "sleep")
        store.client.hset(KEYS.job(job.id), mapping={"account": "nobody", "mark": "0" * 64})
        last = list(kill_job(store, job.id, actor=Actor.admin("tux")))[-1]
        other.kill()
    assert (last.kind, last.verified) == ("left", False), last
    assert last.text.endswith(f"; yet it runs here: {other.pid} of {'nobody' if account else login_name()}")


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


def test_a_flood_in_a_users_stream_is_dropped_and_delays_no_admin(own_server: Server) -> None:
    """Before anything is queued or asked of the server for it."""
    client, heard = own_server.client(), list[ControlRequest]()
    streams = [KEYS.user_requests("mallory"), KEYS.admin_requests]
    listener = ControlListener(
        own_server.url, KEYS, streams, heard.append, last_seconds=30.0, block_seconds=0.5
    )
    listener.start()
    wait_for(lambda: client.info("commandstats").get("cmdstat_xread"))
    began = time.monotonic()
    pipe = client.pipeline(transaction=False)
    for _ in range(20_000):
        pipe.xadd(streams[0], {"request": "kill", "job": "hers", "by": "mallory"})
    pipe.execute()
    send_request(client, streams[1], ControlRequest("", "kill", "any", by="tux"))
    wait_for(lambda: "tux" in {request.by for request in heard})
    assert client.info("commandstats").get("cmdstat_xrevrange") is None  # whether it was answered before us
    hers = sum(request.by == "mallory" for request in heard)
    assert 100 <= hers <= 130 + 20 * (time.monotonic() - began)
    newest = client.xinfo_stream(streams[0])["last-generated-id"].decode()
    wait_for(lambda: listener._last[streams[0]] >= newest)
    assert sum(request.by == "mallory" for request in heard) <= 130 + 20 * (time.monotonic() - began)


def test_each_step_is_told_to_few_who_ask_for_the_same() -> None:
    told: list[tuple[str, KillStep]] = []

    def handle(_: ControlRequest) -> Iterator[KillStep]:
        wait_for(lambda: len(told) == 80)
        yield step("written", "done", verified=True, final=True)

    pool = RequestPool(handle, lambda request, said: told.append((request.id, said)), KEYS)
    for number in range(100):
        pool.take(ControlRequest(f"{KEYS.user_requests('mallory')}/{number}", "kill", "job", child="c"))
    wait_for(lambda: len(told) == 100)
    assert [said.kind for _, said in told] == ["refused"] * 80 + ["written"] * 20
    sent: list[ControlRequest] = []
    answers = Answers(
        cast("ControlListener", SimpleNamespace(answer=lambda request, _: sent.append(request))), KEYS
    )
    for number in range(100):
        answers.add_asker(ControlRequest(f"{KEYS.user_requests('mallory')}/{number}", "kill", "job"))
    answers.add_asker(ControlRequest(f"{KEYS.admin_requests}/1", "kill", "job", by="tux"))
    answers.start()
    answers.tell(step("gone", "1 gone"))
    wait_for(lambda: len(sent) == 21)
    assert sent[-1].by == "tux"


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


def test_equal_requests_are_one_and_the_others_are_few_at_a_time() -> None:
    go, at_work, most = threading.Event(), [0], [0]
    handled: list[str | None] = []
    told: list[tuple[str, KillStep]] = []
    lock = threading.Lock()

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        with lock:
            handled.append(request.job)
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        go.wait(60)
        with lock:
            at_work[0] -= 1
        yield step("written", "done", verified=True, final=True)

    pool = RequestPool(handle, lambda request, said: told.append((request.id, said)), KEYS)
    for number in range(3000):
        pool.take(ControlRequest(f"s/{number}", "kill", f"job-{number % 1500}"))
    refused = [name for name, said in told if said.kind == "refused"]
    go.set()
    wait_for(lambda: len(told) == 3000)
    assert most[0] <= 8
    assert sorted(handled) == sorted(f"job-{number}" for number in range(1000))
    assert len(refused) == 1000


def test_no_user_keeps_admins_or_other_users_waiting() -> None:
    go, done = threading.Event(), list[str | None]()
    told: list[tuple[str, KillStep]] = []

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        if request.by == "mallory":
            go.wait(60)
        done.append(request.by)
        yield step("written", "done", verified=True, final=True)

    pool = RequestPool(handle, lambda request, said: told.append((request.by, said)), KEYS)
    for number in range(200):
        hers = ControlRequest(
            f"{KEYS.user_requests('mallory')}/{number}", "kill", f"job-{number}", by="mallory"
        )
        pool.take(hers)
    assert len(told) == 100
    for asker, stream in (("tux", KEYS.admin_requests), ("jsmith", KEYS.user_requests("jsmith"))):
        pool.take(ControlRequest(f"{stream}/1", "kill", "job-0", by=asker))
    try:
        wait_for(lambda: len(done) == 2)
        assert set(done) == {"tux", "jsmith"}
    finally:
        go.set()
    wait_for(lambda: len(told) == 202)


def test_all_users_together_leave_workers_to_admins() -> None:
    go, done = threading.Event(), list[str | None]()

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        if request.by != "tux":
            go.wait(60)
        done.append(request.by)
        yield step("written", "done", verified=True, final=True)

    pool = RequestPool(handle, lambda _request, _said: None, KEYS)
    for number in range(20):
        pool.take(ControlRequest(f"{KEYS.user_requests(f'user-{number}')}/1", "kill", "job", by="user"))
    pool.take(ControlRequest(f"{KEYS.admin_requests}/1", "kill", "job", by="tux"))
    try:
        wait_for(lambda: done)
        assert done == ["tux"]
    finally:
        go.set()
    wait_for(lambda: len(done) == 21)


def test_of_several_graces_the_shortest_counts_and_an_admin_is_named(server: Server, store: JobStore) -> None:
    """So no owner shields her job from an admin by asking for a long one first."""
    stubborn = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]
    with supervised(server, stubborn, user_id="mallory") as job:
        job.wait_for_line("ready")
        hers = ControlRequest("", "kill", job.id, by="mallory", grace=3600.0)
        send_request(store.client, KEYS.user_requests("mallory"), hers)
        job.wait_for("stopping")
        last = list(kill_job(store, job.id, actor=Actor.admin("tux"), reason="runaway", grace=0.3))[-1]
        assert last.verified, last
        ended = job.wait_for("killed")
        assert (ended.stop_by, ended.stop_reason) == ("tux", "runaway")


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


@pytest.mark.parametrize("stream", [KEYS.admin_requests, KEYS.user_requests("jsmith")])
@pytest.mark.parametrize(("kind", "grace"), [("kill", 3600.0), ("files", 0.0)])
def test_kills_with_a_long_grace_and_looks_that_hang_keep_no_kill_waiting(
    stream: str, kind: str, grace: float
) -> None:
    go, done = threading.Event(), list[str | None]()

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        if request.job != "quick":
            go.wait(60)
        done.append(request.job)
        yield step("written", "done", verified=True, final=True)

    pool = RequestPool(handle, lambda _request, _said: None, KEYS)
    for number in range(40):
        pool.take(ControlRequest(f"{stream}/{number}", kind, f"slow-{number}", grace=grace))
    pool.take(ControlRequest(f"{stream}/99", "kill", "quick"))
    try:
        wait_for(lambda: done)
        assert done == ["quick"]
    finally:
        go.set()
    wait_for(lambda: len(done) == 41)


def test_an_application_keeps_no_admin_waiting_and_has_nothing_killed(store: JobStore) -> None:
    """By its stream the server proves that an application asks, which has jobs started and no more."""
    go, done = threading.Event(), list[str | None]()

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        if request.kind == "start":
            go.wait(60)
        done.append(request.job)
        yield step("written", "done", verified=True, final=True)

    starts, control = KEYS.host_starts(host_name()), KEYS.host_control(host_name())
    pool = RequestPool(handle, lambda _request, _said: None, KEYS)
    for number in range(40):
        pool.take(ControlRequest(f"{starts}/{number}", "start", f"job-{number}"))
    pool.take(ControlRequest(f"{control}/1", "kill", "job-0"))
    try:
        wait_for(lambda: done)
        assert done == ["job-0"]
    finally:
        go.set()
    wait_for(lambda: len(done) == 41)
    job = store.create(["true"])
    for kind in ("kill", "stack", "files"):
        (said,) = Agent(store)._steps(ControlRequest(f"{starts}/1-1", kind, job.id))
        assert (said.kind, said.text) == ("refused", f"{kind} is for admins and the job's owner to ask")
    assert store.get(job.id).status == "pending"


def test_a_failure_that_nobody_expected_is_answered_and_costs_no_worker() -> None:
    told: list[KillStep] = []

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        if request.job != "well":
            raise ValueError("embedded\nnull byte \x1b[31m")
        yield step("written", "done", verified=True, final=True)

    pool = RequestPool(handle, lambda _, said: told.append(said), KEYS)
    for number in range(20):
        pool.take(ControlRequest(f"s/{number}", "start", f"job-{number}"))
    pool.take(ControlRequest("s/well", "start", "well"))
    wait_for(lambda: len(told) == 21)
    refused = {said.text for said in told if said.kind == "refused"}
    assert refused == {"it failed: ValueError: embedded␊null byte ␛[31m"}
    pool.join(30)
    assert not pool._workers


def test_an_agent_gives_what_a_user_kills_at_most_a_minute(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    graces: list[float] = []
    monkeypatch.setattr("gnjobs.control.agent.kill_job", lambda *_, grace, **__: graces.append(grace) or [])
    for stream in (KEYS.user_requests("jsmith"), KEYS.host_control(host_name())):
        Agent(store)._steps(ControlRequest(f"{stream}/1-1", "kill", "job", grace=3600.0))
    assert graces == [60.0, 3600.0]


def test_thousands_of_requests_keep_no_agent_from_its_beat(server: Server, store: JobStore) -> None:
    agent = Agent(store, every=0.2)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        wait_for(lambda: store.client.zscore(KEYS.hosts, host_name()))
        pipe = store.client.pipeline(transaction=False)
        for number in range(3000):
            pipe.xadd(KEYS.host_control(host_name()), {"request": "kill", "job": f"no-such-{number}"})
        pipe.execute()
        beats = set()
        deadline = time.monotonic() + 100
        while len(beats) < 5:
            assert time.monotonic() < deadline
            beats.add(store.client.zscore(KEYS.hosts, host_name()))
            assert store.now() - max(beats) < 20
    finally:
        agent.stop()
        thread.join()
