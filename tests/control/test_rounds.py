"""An agent's rounds over the unfinished jobs of its host: what is lost, what still runs, and who waits for whom."""

import os
import subprocess
from collections.abc import Callable

import psutil
import pytest

from gnjobs.control import orphans
from gnjobs.control.agent import Agent
from gnjobs.control.orphans import Rounds
from gnjobs.processes import traces
from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.processes.presence import look
from gnjobs.processes.seen import Presence
from gnjobs.processes.table import ProcessView, read_mark
from gnjobs.records.fields import Job
from gnjobs.store import JobStore
from tests.support.agents import look_until
from tests.support.lost_replies import lose_first_reply
from tests.support.os_accounts import AS_NOBODY, needs_accounts
from tests.support.supervised import KEYS
from tests.support.waiting import wait_for


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


def test_a_job_whose_worker_runs_here_is_not_called_lost_whatever_its_record_says(store: JobStore) -> None:
    job_id = forge_orphan(store, 0)
    words = ["sh", "-c", "sleep 600 & wait", "scripts.worker", "x", KEYS.jobs, job_id]
    worker = psutil.Popen(words)
    try:
        wait_for(worker.children)
        rounds = Rounds(store, lambda _: None)
        for _ in range(3):
            rounds.go(store.now())
        assert store.get(job_id).status == "running"
    finally:
        for each in (*worker.children(), worker):
            each.kill()
        worker.wait()
    look_until(store, job_id, "lost")


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

        def is_next() -> bool:  # unless something begins just now, of which nobody can tell yet whose it is
            lost = forge_orphan(store, 0)
            rounds.go(store.now())
            return store.get(lost).status == "lost"

        wait_for(is_next)
        beats = [store.get(each).heartbeat for each in forged]

        def are_seen_again() -> bool:
            rounds.go(store.now())
            return all(store.get(each).heartbeat > beat for each, beat in zip(forged, beats, strict=True))

        wait_for(are_seen_again)
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
        monkeypatch.setattr(traces, "folder_of_memory", lambda _: None)
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


def test_a_job_that_was_claimed_while_it_was_called_lost_stays_listed_and_is_kept(store: JobStore) -> None:
    """Its launch may have been repeated in the last moment, or its supervisor was slow."""
    job = store.create(["true"], keep=20.0)
    store.client.hset(KEYS.job(job.id), "status", "running")
    store.client.set(KEYS.processes(job.id), "[]")
    assert not Rounds(store, lambda _: None)._write_lost_launch(job, store.now())
    assert store.client.zscore(KEYS.unfinished, job.id) is not None
    assert store.client.exists(KEYS.processes(job.id))
    assert store.client.ttl(KEYS.job(job.id)) > 20


def stale(store: JobStore) -> Job:
    """A job that ran here under a supervisor that is gone."""
    job = store.create(["true"])
    here = {"status": "running", "host": host_name(), "boot-id": boot_id(), "pid-namespace": pid_namespace()}
    store.client.hset(KEYS.job(job.id), mapping=here | {"supervisor-pid": 1, "heartbeat": 1})
    return job


def test_an_end_whose_reply_was_lost_is_told_all_the_same(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = lose_first_reply(monkeypatch)
    job = stale(store)
    look_until(store, job.id, "lost")
    assert lost == [("done", "lost")]
    assert [event.kind for event in store.events(since=0.0) if event.job == job.id] == ["lost"]


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
