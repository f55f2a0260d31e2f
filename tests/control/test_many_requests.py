"""Many requests: few at a time, equal ones as one, and nobody kept waiting by the others."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.processes.host import host_name
from gnjobs.records.actor import Actor
from gnjobs.records.listener import ControlListener
from gnjobs.records.pool import RequestPool
from gnjobs.records.requests import ControlRequest, KillStep, read_answers, send_request, step
from gnjobs.store import JobStore
from gnjobs.supervisor.answers import Answers
from tests.support.agents import agent_at_work
from tests.support.servers import Server
from tests.support.supervised import KEYS, supervised
from tests.support.waiting import wait_for


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


def test_what_is_asked_of_two_runs_of_a_job_is_not_one() -> None:
    """One of them is over by now, and whoever asked for the other is not told of that."""
    go, told = threading.Event(), list[tuple[str, str]]()

    def handle(request: ControlRequest) -> Iterator[KillStep]:
        go.wait(60)
        yield step("written", request.digest or "", verified=True, final=True)

    pool = RequestPool(handle, lambda request, said: told.append((request.id, said.text)), KEYS)
    for number, digest in enumerate(("first", "second", "second")):
        pool.take(ControlRequest(f"s/{number}", "kill", "nightly", digest=digest))
    go.set()
    wait_for(lambda: len(told) == 3)
    assert sorted(told) == [("s/0", "first"), ("s/1", "second"), ("s/2", "second")]


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


@pytest.mark.parametrize("kind", ["kill", "start"])
def test_nothing_that_was_asked_of_a_job_is_done_to_a_later_one_of_its_id(store: JobStore, kind: str) -> None:
    """The request may have waited in the agent, or the agent for its connection."""
    store.create(["true"], job_id="nightly")
    asked = send_request(store.client, KEYS.host_control(host_name()), ControlRequest("", kind, "nightly"))
    store.client.delete(KEYS.job("nightly"))
    wait_for(lambda: store.now() * 1000 > int(asked.rpartition("/")[2].partition("-")[0]) + 10)
    store.create(["true"], job_id="nightly")
    with agent_at_work(store):
        answers = read_answers(store.client, KEYS.answers("nightly"), asked, lambda: float("inf"))
        last = next(each for each in answers if each is not None and each.final)
    assert last.text == "it was asked of an earlier job of this id"
    assert store.get("nightly").status == "pending"


def test_a_kill_that_an_agent_finishes_is_of_the_job_that_it_saw(store: JobStore) -> None:
    store.create(["true"], job_id="seen")
    store.client.hset(KEYS.job("seen"), mapping={"supervisor-pid": 1, "stop-requested": store.now()})
    seen = store.get("seen")
    store.client.delete(KEYS.job("seen"))
    agent, made = Agent(store), store.now()
    wait_for(lambda: store.now() > made + 0.01)
    store.create(["true"], job_id="seen")
    agent._finish_kill(seen)
    agent._pool.join(30)
    assert store.get("seen").status == "pending"


def test_a_job_of_a_clock_that_is_ahead_is_killed_all_the_same(store: JobStore) -> None:
    job, asked = store.create(["true"]), int(store.now() * 1000)
    store.client.hset(KEYS.job(job.id), "created", store.now() + 3600)
    request = ControlRequest(f"{KEYS.host_control(host_name())}/{asked}-0", "kill", job.id)
    assert list(Agent(store)._do(request))[-1].verified
    assert store.get(job.id).status == "killed"


def test_what_names_a_run_is_done_to_that_whatever_its_record_says_of_its_age(
    server: Server, store: JobStore
) -> None:
    """Whoever writes records may keep a job as young as the moment."""
    with supervised(server, ["sleep", "600"]) as job:
        wait_for(job.alive)
        job.processes[0].kill()
        job.processes[0].wait()
        request = ControlRequest("", "kill", job.id, by="tux", grace=0.5, digest=job.read().mark)
        asked = send_request(store.client, KEYS.host_control(host_name()), request)
        wait_for(lambda: store.now() * 1000 > replace(request, id=asked).asked_ms + 10)
        store.client.hset(KEYS.job(job.id), "created", store.now())
        with agent_at_work(store):
            answers = read_answers(store.client, KEYS.answers(job.id), asked, lambda: float("inf"))
            last = next(each for each in answers if each is not None and each.final)
        assert last.verified, last


def test_no_job_is_started_whose_launcher_waits_no_longer(store: JobStore) -> None:
    """It was told that nobody answered, and may have made another one."""
    job_id = store.create(["true"]).id
    store.client.hset(KEYS.job(job_id), "created", store.now() - 60)
    asked = f"{KEYS.host_starts(host_name())}/{int((store.now() - 11) * 1000)}-0"
    (said,) = Agent(store)._do(ControlRequest(asked, "start", job_id))
    assert said.text == "it was asked too long ago: nobody waits for the start any more"


def test_a_request_is_of_the_run_that_it_names_or_of_one_that_had_begun() -> None:
    """However the server's clock was set meanwhile."""
    asked = ControlRequest("s/5000-0", "kill", "nightly", digest="the first")
    assert asked.is_of("the first", 6.0)
    assert not asked.is_of("the second", 4.0)
    assert not asked.is_of(None, 4.0)
    assert [replace(asked, digest=None).is_of("the second", since) for since in (4.0, 6.0)] == [True, False]


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
