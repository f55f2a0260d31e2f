"""Kills of jobs that other programs run, whose workers are known by their command lines alone."""

import contextlib
import subprocess
import sys
from typing import Any

import psutil
import pytest

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.control.local_kill import LocalKill
from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.processes.proc import words_of
from gnjobs.processes.workers import worker_processes_of
from gnjobs.records.actor import Actor
from gnjobs.records.ends import StopRequest
from gnjobs.records.requests import ControlRequest, step
from gnjobs.store import JobStore
from tests.support import genenetwork_double as double
from tests.support.servers import Server
from tests.support.supervised import KEYS, supervised
from tests.support.uploader_double.web import create_job
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")


def sleeping(seconds: str) -> list[str]:
    return [sys.executable, "-c", f"import time; time.sleep({seconds})"]


def commands(store: JobStore, job_id: str) -> list[str]:
    return [each.command for each in worker_processes_of(store.get(job_id), store).processes]


def end(*processes: "subprocess.Popen[bytes]") -> None:
    for process in processes:
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.wait()


def test_a_queued_command_is_ended_and_its_worker_goes_on(server: Server) -> None:
    store, command = JobStore.from_url(server.url, "cmd"), sleeping("1000.25")
    job_id = double.gn3_command(server.client(), command, status="running")
    stranger = subprocess.Popen(command)  # the same command, and nobody's job
    worker = double.start_command_worker(command)
    try:
        wait_for(lambda: commands(store, job_id), 20)
        steps = list(kill_job(store, job_id, actor=TUX, reason="runaway", grace=2.0))
        assert 'written "killed by tux"; its record names no host' in steps[-1].text
        assert steps[-1].verified
        assert stranger.poll() is None
        assert worker.wait(20) == 0  # it learns that its command has ended
        record = server.client().hgetall(f"cmd::{job_id}")
        assert (record[b"status"], record[b"stop-by"]) == (b"error", b"tux")  # a word that its readers know
        assert store.get(job_id).status == "killed"
    finally:
        end(stranger)
        worker.kill()
        worker.wait()


def test_a_kill_of_what_waits_ends_no_job_with_the_same_command(server: Server) -> None:
    store, command = JobStore.from_url(server.url, "cmd"), sleeping("1000.125")
    running = double.gn3_command(server.client(), command, status="running")
    waiting = double.gn3_command(server.client(), command, status="queued")
    worker = double.start_command_worker(command)
    try:
        wait_for(lambda: commands(store, running), 20)
        steps = list(kill_job(store, waiting, actor=TUX, grace=0.0))
        assert (steps[-1].kind, steps[-1].verified, store.get(waiting).status) == ("left", False, "killed")
        assert commands(store, running)
        assert store.get(running).status == "running"
    finally:
        end(worker)


def test_what_two_records_call_theirs_is_not_touched(server: Server) -> None:
    """One may run elsewhere, and whoever writes records may have given it the command of the other."""
    store, command = JobStore.from_url(server.url, "cmd"), sleeping("1000.0625")
    owned = double.gn3_command(server.client(), command, status="running")
    spelt = " ".join(f"'{word}'  " for word in command)
    other = double.gn3_command(server.client(), command, status="running", cmd=spelt)
    server.client().zadd("cmd:jobs", {owned: 1})
    worker = double.start_command_worker(command)
    try:
        wait_for(lambda: commands(store, owned), 20)
        for job_id in (other, owned):
            last = list(kill_job(store, job_id, actor=TUX, grace=0.0))[-1]
            assert not last.verified
            assert "whose it is can't be told" in last.text
        server.client().hset(f"cmd::{other}", "status", "success")
        assert commands(store, owned)
        assert "1 of 1 gone" in list(kill_job(store, owned, actor=TUX, grace=0.0))[-1].text
    finally:
        end(worker)


def test_what_another_host_runs_is_not_called_gone_for_what_was_found_here(server: Server) -> None:
    """Any account can start a process whose command line is that of a worker."""
    store, told = JobStore.from_url(server.url), []
    for host in ({}, {"host": "elsewhere"}, {"host": host_name()}):
        job_id = create_job(server.client(), ["true"], "qc", **{"status": "running", **host})
        decoy = decoy_of(job_id)
        try:
            wait_for(lambda: commands(store, job_id), 20)  # noqa: B023 - within this turn
            told.append(list(kill_job(store, job_id, actor=TUX, grace=0.0))[-1].verified)
            assert store.get(job_id).status == "killed"
        finally:
            end(decoy)
    assert told == [True, False, True]


def decoy_of(job_id: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*sleeping("1000.03125"), "scripts.worker", "x", "gn-uploader:jobs", job_id])


HERE = {"host": host_name(), "boot-id": boot_id(), "pid-namespace": pid_namespace()}
GONE = {"supervisor-pid": 2**22 + 1, "supervisor-started": 5, "pid": 2**22 + 2, "process-started": 5}
FORGED: dict[str, tuple[dict[str, Any], bool]] = {
    "ours": ({"mark": "f" * 64}, False),
    "ours elsewhere": ({"mark": "f" * 64, "host": "elsewhere"}, False),
    "ours here": ({"mark": "f" * 64, **HERE}, True),
    "ours here and gone": (GONE | HERE, True),
    "ended": ({"status": "killed"}, True),
    "ended here": ({"status": "killed"} | HERE, True),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_worker_is_ended_here_whatever_its_record_says_and_taken_for_no_job_of_another_host(
    server: Server, forged: str
) -> None:
    store, (said, is_gone) = JobStore.from_url(server.url), FORGED[forged]
    job_id = create_job(server.client(), ["true"], "qc", **{"status": "running"} | said)
    worker = decoy_of(job_id)
    try:
        wait_for(lambda: commands(store, job_id), 20)
        last = list(kill_job(store, job_id, actor=TUX, grace=0.0, supervisor_timeout=0.1))[-1]
        assert (last.verified, worker.wait(20) < 0) == (is_gone, True), last
    finally:
        worker.kill()
        worker.wait()


def test_of_long_command_lines_no_more_is_taken_apart_than_could_be_a_workers(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any account can have many, with the job's id, too, and each look for a worker reads them all."""
    store, taken = JobStore.from_url(server.url), list[int]()
    monkeypatch.setattr(
        "gnjobs.processes.workers.words_of", lambda line: taken.append(len(line)) or words_of(line)
    )
    job_id = create_job(server.client(), ["true"], "qc", status="running")
    long = [*sleeping("1000.5"), *["a"] * 20_000]
    processes = [subprocess.Popen([*long, *end]) for end in ((), ["b", "", "gn-uploader:jobs", "", job_id])]
    processes.append(decoy_of(job_id))
    try:
        wait_for(lambda: len(commands(store, job_id)) == 1, 20)
        assert taken
        assert max(taken) < 20_000
    finally:
        end(*processes)


def test_no_kill_is_verified_while_a_worker_of_that_id_runs_that_may_not_be_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore.from_url(server.url)
    job_id = create_job(server.client(), ["true"], "qc", status="killed")
    worker = decoy_of(job_id)
    try:
        wait_for(lambda: commands(store, job_id), 20)
        local = LocalKill(store, store.get(job_id), None, StopRequest("tux", "", 0.0), 0.0, owner="jane")
        said = local.unless_seen(step("skipped", "it has ended", verified=True, final=True))
        assert (said.verified, said.pids) == (False, (worker.pid,))
    finally:
        end(worker)


def test_a_job_of_ours_whose_record_lost_its_supervisor_is_killed_by_that(server: Server) -> None:
    with supervised(server, ["sleep", "600"]) as job:
        job.wait_for("running")
        pid = wait_for(lambda: job.read().pid)
        job.client.hdel(KEYS.job(job.id), "supervisor-pid")
        job.client.hset(KEYS.job(job.id), "host", "elsewhere")
        decoy = decoy_of(job.id)
        try:
            last = list(kill_job(JobStore.from_url(server.url), job.id, actor=TUX))[-1]
            assert 'written "killed by tux"; yet it runs here' in last.text
            assert (last.pids, psutil.pid_exists(pid), decoy.poll()) == ((decoy.pid,), False, None)
        finally:
            end(decoy)


def test_where_two_jobs_run_the_same_command_neither_is_touched(server: Server) -> None:
    store, command = JobStore.from_url(server.url, "cmd"), sleeping("1000.5")
    job_id = double.gn3_command(server.client(), command, status="running")
    workers = [double.start_command_worker(command) for _ in range(2)]
    try:
        wait_for(lambda: len(worker_processes_of(store.get(job_id), store).hidden) == 2, 20)
        steps = list(kill_job(store, job_id, actor=TUX, grace=0.0))
        assert not steps[-1].verified
        assert "whose it is can't be told" in steps[-1].text
        assert [worker.poll() for worker in workers] == [None, None]
        assert store.get(job_id).status == "running"
    finally:
        end(*workers)


@pytest.mark.parametrize("words", [["redis://elsewhere:6379/3"], ["gn-uploader:jobs", "some-job"]])
def test_a_command_that_another_programs_worker_runs_is_nobodys_here(
    server: Server, words: list[str]
) -> None:
    """Whoever writes records chooses the command that they hold."""
    store, command = JobStore.from_url(server.url, "cmd"), sleeping("1000.375")
    job_id = double.gn3_command(server.client(), command, status="running")
    code = f"import subprocess; subprocess.run({command!r})"
    worker = subprocess.Popen([sys.executable, "-c", code, "scripts.worker", *words])
    try:
        wait_for(lambda: psutil.Process(worker.pid).children(), 20)
        (last,) = kill_job(store, job_id, actor=TUX, grace=0.0)
        assert (last.kind, last.verified) == ("refused", False)
        assert worker.poll() is None
    finally:
        end(worker)


def test_an_agent_ends_only_workers_that_name_the_job_and_only_for_admins(server: Server) -> None:
    store, command = JobStore.from_url(server.url, "cmd"), sleeping("1000.625")
    job_id = double.gn3_command(server.client(), command, status="running")
    worker = double.start_command_worker(command)
    try:
        wait_for(lambda: commands(store, job_id), 20)
        server.client().hset(
            f"cmd::{job_id}", mapping={"email": "mallory", "host": host_name(), "left-running": "1"}
        )
        agent = Agent(store)
        agent._finish_kill(store.get(job_id))
        agent._pool.join(30)
        for stream in (store.keys.host_control("h"), store.keys.user_requests("mallory")):
            last = list(agent._steps(ControlRequest(f"{stream}/1-1", "kill", job_id, force=True)))[-1]
            assert (last.kind, last.verified) == ("refused", False)
        assert worker.poll() is None
        assert commands(store, job_id)
    finally:
        end(worker)


@pytest.mark.parametrize("status", ["running", "killed"])
def test_a_worker_is_named_and_not_touched_where_it_can_not_be_told_whether_its_server_is_ours(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    store = JobStore.from_url(server.url)
    job_id = create_job(server.client(), ["true"], "qc", status=status)
    worker = decoy_of(job_id)
    try:
        wait_for(lambda: commands(store, job_id), 20)
        monkeypatch.setattr("gnjobs.processes.workers.names_the_same", lambda *_: None)
        last = list(kill_job(store, job_id, actor=TUX, grace=0.0, supervisor_timeout=0.1))[-1]
        assert (last.verified, worker.poll(), store.get(job_id).is_final) == (False, None, status == "killed")
        assert str(worker.pid) in last.text
    finally:
        end(worker)


@pytest.mark.parametrize("prefix", ["gn2", "cmd"])
def test_found_none_is_not_gone(server: Server, prefix: str) -> None:
    client, store = server.client(), JobStore.from_url(server.url, prefix)
    make = double.gn2_job if prefix == "gn2" else double.gn3_command
    job_id = make(client, sleeping("1000.75"))
    (last,) = kill_job(store, job_id, actor=TUX)
    assert not last.verified
    assert "no process of it was found" in last.text
    assert "may run it elsewhere or later" in last.text
    assert store.get(job_id).status == "killed"  # a worker of commands heeds that
    running = make(client, sleeping("1000.75"), status="running")
    (last,) = kill_job(store, running, actor=TUX)
    assert (last.kind, last.verified, store.get(running).status) == ("refused", False, "running")


def test_a_record_of_json_is_not_written(server: Server) -> None:
    store = JobStore.from_url(server.url, "GN_AUTH::JOBS")
    job_id = double.json_job(server.client(), "GN_AUTH::JOBS", status="started", search_results=[])
    before = server.client().hgetall(f"GN_AUTH::JOBS::{job_id}")
    words = [
        sys.executable,
        "-c",
        "import time; time.sleep(1000)",
        "-m",
        "scripts.search_phenotypes",
        "mouse",
        "x",
        job_id,
    ]
    script = subprocess.Popen([*words, "--host=http://127.0.0.1:9/"])
    try:
        wait_for(lambda: commands(store, job_id), 20)
        last = list(kill_job(store, job_id, actor=TUX, grace=0.0))[-1]
        assert last.text.startswith("verified: 1 of 1 gone; its status is running; its record names no host")
        assert script.wait(20) == -9
        assert server.client().hgetall(f"GN_AUTH::JOBS::{job_id}") == before
    finally:
        script.kill()
        script.wait()


def test_what_a_worker_has_started_and_calls_another_job_is_neither_ended_nor_forgotten(
    server: Server,
) -> None:
    store = JobStore.from_url(server.url)
    job_id = create_job(server.client(), ["true"], "qc", status="running")
    code = (
        "import os, subprocess\n"
        "for mark in ({}, {'GNJOBS_JOB_ID': 'another'}):\n"
        "    started = subprocess.Popen(['sleep', '600'], env=os.environ | mark)\n"
        "started.wait()\n"
    )
    worker = psutil.Popen([sys.executable, "-c", code, "scripts.worker", "x", "gn-uploader:jobs", job_id])
    started: list[psutil.Process] = []
    try:
        wait_for(lambda: [each.name() for each in worker.children()] == ["sleep", "sleep"], 20)
        started += worker.children()
        own, other = sorted(started, key=lambda each: "GNJOBS_JOB_ID" in each.environ())
        last = list(kill_job(store, job_id, actor=TUX, grace=0.0))[-1]
        assert (last.verified, worker.wait(20)) == (False, -9)
        assert f"left running: {other.pid} (says that it is of job another)" in last.text
        wait_for(lambda: not own.is_running() or own.status() == psutil.STATUS_ZOMBIE)
        assert other.status() == psutil.STATUS_SLEEPING
    finally:
        for each in (*started, worker):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
