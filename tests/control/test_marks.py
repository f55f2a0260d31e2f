"""A record leads to the processes of its own job alone, not to those of its id on another server or prefix."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from gnjobs.control.agent import Agent
from gnjobs.control.kill import kill_job
from gnjobs.control.local_kill import LocalKill
from gnjobs.processes import table
from gnjobs.processes.end import HeldProcess
from gnjobs.processes.find import processes_of, wanted_of
from gnjobs.processes.seen import Found
from gnjobs.processes.table import UNREAD, Mark, read_mark
from gnjobs.processes.workers import worker_processes_of
from gnjobs.records.actor import Actor
from gnjobs.records.ends import StopRequest
from gnjobs.records.environment import digest_of_mark
from gnjobs.records.fields import Job
from gnjobs.records.requests import ControlRequest, KillStep
from gnjobs.store import JobStore
from gnjobs.supervisor.launch import launch
from tests.support.servers import Server, running_server
from tests.support.supervised import KEYS, SupervisedJob, marked, python, supervised
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")
SLEEP = ["sleep", "600"]


@pytest.fixture
def orphan(server: Server) -> Iterator[SupervisedJob]:
    """A job of jsmith whose supervisor is gone, so that whoever kills it looks for its processes."""
    with supervised(server, SLEEP, user_id="jsmith") as job:
        wait_for(lambda: job.read().pid)
        job.processes[0].kill()
        job.processes[0].wait()
        yield job


@contextmanager
def copied(job: SupervisedJob, place: str, directory: Path) -> Iterator[JobStore]:
    """A store elsewhere with a copy of the job's whole record, as a restored dump or a forger makes it."""
    record = job.client.hgetall(KEYS.job(job.id))
    if place == "prefix":
        store = JobStore.from_url(job.url, "other")
        store.client.hset(store.keys.job(job.id), mapping=record)
        yield store
    else:
        with running_server(directory) as other:
            store = JobStore.from_url(other.url)
            store.client.hset(store.keys.job(job.id), mapping=record)
            yield store


@pytest.mark.sampled
@pytest.mark.parametrize("place", ["prefix", "server"])
def test_a_record_elsewhere_leads_to_no_process_of_this_job(
    orphan: SupervisedJob, place: str, tmp_path: Path
) -> None:
    with copied(orphan, place, tmp_path) as store:
        steps = list(kill_job(store, orphan.id, actor=TUX, force=True))
        assert not steps[-1].verified, steps
        assert "by way of" in steps[-1].text
        agent = Agent(store)
        agent.look_around()  # nor is it called lost, or beaten for
        assert store.get(orphan.id).heartbeat == orphan.read().heartbeat
        said = list(agent._steps(ControlRequest("s/1-1", "kill", orphan.id, by="tux", force=True)))
        assert not said[-1].verified, said
        store.client.hdel(store.keys.job(orphan.id), "mark", "supervisor-pid")
        list(kill_job(store, orphan.id, actor=TUX, force=True))
        assert orphan.alive()
        assert not store.get(orphan.id).is_final
    assert list(kill_job(JobStore.from_url(orphan.url), orphan.id, actor=TUX, force=True))[-1].verified
    assert not orphan.alive()


@pytest.mark.parametrize("place", ["prefix", "server"])
def test_a_frozen_supervisor_is_not_ended_for_a_record_elsewhere(
    sleeper: SupervisedJob, place: str, tmp_path: Path
) -> None:
    with copied(sleeper, place, tmp_path) as store:
        list(kill_job(store, sleeper.id, actor=TUX, force=True, supervisor_timeout=0.1))
    assert sleeper.processes[0].poll() is None
    assert sleeper.alive()


def test_a_worker_of_gn_uploader_is_known_by_its_server_and_prefix(server: Server, tmp_path: Path) -> None:
    package = tmp_path / "scripts"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "worker.py").write_text("import time; time.sleep(600)")
    store = JobStore.from_url(server.url)
    for url, prefix, is_it in (
        (server.url, "gn-uploader:jobs", True),
        (server.url, "other:jobs", False),
        (server.url.replace("/0", "/1"), "gn-uploader:jobs", False),
    ):
        command = [python("")[0], "-m", "scripts.worker", url, prefix, "the-job"]
        with psutil.Popen(command, cwd=tmp_path) as worker:
            wait_for(lambda: "scripts.worker" in worker.cmdline())
            assert bool(worker_processes_of(Job(id="the-job"), store)) == is_it
            worker.kill()


def test_a_process_is_signalled_only_if_mark_and_account_are_still_those_that_were_seen(
    sleeper: SupervisedJob,
) -> None:
    record = sleeper.read()
    (seen,) = [p for p in processes_of(wanted_of(record)).processes if p.pid == record.pid]
    mark = read_mark(seen.pid)
    assert isinstance(mark, Mark)
    held = HeldProcess.hold(seen, Found(marks={seen.pid: mark}))
    assert held is not None
    os.close(held.pidfd)
    for changed in (mark._replace(job="another"), None, UNREAD):
        assert HeldProcess.hold(seen, Found(marks={seen.pid: changed}, job="another")) is None
    for other in ({"account": "somebody"}, {"started": seen.started + 1}):
        assert HeldProcess.hold(msgspec.structs.replace(seen, **other), Found(marks={seen.pid: mark})) is None


@contextmanager
def killed_at_last(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("marks", [[], ["GNJOBS_JOB_ID=$GNJOBS_JOB_ID", "GNJOBS_MARK=$GNJOBS_MARK"]])
def test_what_is_too_long_to_be_read_is_ended_where_it_descends_from_the_job(
    server: Server, monkeypatch: pytest.MonkeyPatch, marks: list[str]
) -> None:
    """Another process of its account may have used up what one look reads."""
    monkeypatch.setattr(table, "_MOST_LONG", 100_000)
    long = f"{'X' * 100_000}=x"
    script = f'exec env -i "PATH=$PATH" {long} {" ".join(marks)} sleep 600'
    other = subprocess.Popen(["sleep", "600"], env={"X" * 100_000: "x"})
    with killed_at_last(other), supervised(server, ["sh", "-c", script]) as job:
        sleeper = psutil.Process(wait_for(lambda: job.read().pid))
        wait_for(lambda: sleeper.name() == "sleep")
        job.processes[0].send_signal(signal.SIGSTOP)
        steps = kill_job(JobStore.from_url(server.url), job.id, actor=TUX, grace=0.5, supervisor_timeout=0.1)
        assert sleeper.pid in [pid for each in steps if each.kind == "gone" for pid in each.pids]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may make namespaces")
def test_a_worker_in_a_container_with_a_server_of_its_own_is_not_ours(server: Server, tmp_path: Path) -> None:
    package = tmp_path / "scripts"
    package.mkdir()
    (package / "worker.py").write_text("import time; time.sleep(600)")
    own = [python("")[0], "-m", "scripts.worker", server.url, KEYS.jobs, "the-job"]
    for wrapper, is_it in (([], True), (["unshare", "--net"], False)):
        with psutil.Popen([*wrapper, *own], cwd=tmp_path) as worker:
            wait_for(lambda worker=worker: worker.cmdline()[1:2] == ["-m"])
            assert bool(worker_processes_of(Job(id="the-job"), JobStore.from_url(server.url))) == is_it
            worker.kill()


def test_whoever_reads_a_record_can_not_bear_the_mark_of_its_job(sleeper: SupervisedJob) -> None:
    record = sleeper.read()
    intruder = psutil.Popen(
        ["sleep", "600"], env=psutil.Process(record.pid).environ() | {"GNJOBS_MARK": record.mark}
    )
    try:
        marks = [wait_for(lambda pid=pid: marked(pid)) for pid in (record.pid, intruder.pid)]
        assert [mark.token == record.mark for mark in marks] == [True, False]
        found = processes_of(wanted_of(record)).processes
        assert record.pid in (each.pid for each in found)
        assert intruder.pid not in (each.pid for each in found)
        earlier = msgspec.structs.replace(
            record, mark=marks[1].token and intruder.environ()["GNJOBS_MARK"][:32]
        )
        assert wanted_of(earlier).token == digest_of_mark(
            record.mark[:32]
        )  # of a record that holds the mark itself
    finally:
        intruder.kill()
        intruder.wait()


def test_a_record_without_a_mark_leads_to_no_process_with_one(orphan: SupervisedJob) -> None:
    """As one that was forged on what is spelt as the same server."""
    store = JobStore.from_url(orphan.url)
    store.client.hdel(KEYS.job(orphan.id), "mark")
    steps = list(kill_job(store, orphan.id, actor=TUX, force=True))
    assert not steps[-1].verified, steps
    store.client.hset(KEYS.job(orphan.id), "heartbeat", 1)
    Agent(store).look_around()
    assert not store.get(orphan.id).is_final
    assert orphan.alive()


def launched(store: JobStore, user: str) -> Iterator[tuple[str, psutil.Process, psutil.Process]]:
    job = store.create(SLEEP, user_id=user)
    launch(job, store=store)
    record = wait_for(lambda: (found := store.get(job.id)).pid and found)
    supervisor, process = psutil.Process(record.supervisor_pid), psutil.Process(record.pid)
    try:
        yield job.id, supervisor, process
    finally:
        for each in (supervisor, process):
            if each.is_running():
                each.kill()


@pytest.fixture
def agunns(store: JobStore) -> Iterator[tuple[str, psutil.Process, psutil.Process]]:
    """A job that was launched for agunn: its id, its supervisor and its process."""
    yield from launched(store, "agunn")


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def ask_agent(store: JobStore, user: str, job_id: str) -> list[KillStep]:
    """What the agent does for a request in a user's own stream."""
    request = ControlRequest(f"{KEYS.user_requests(user)}/1-1", "kill", job_id, by="jane", grace=0.2)
    return list(Agent(store)._steps(request))


@pytest.mark.parametrize("state", ["dead", "frozen"])
def test_an_agent_ends_for_a_user_only_what_was_launched_for_that_user(
    store: JobStore, agunns: tuple[str, psutil.Process, psutil.Process], state: str
) -> None:
    """Also where a forged record says that it is hers."""
    job_id, supervisor, process = agunns
    supervisor.send_signal(signal.SIGKILL if state == "dead" else signal.SIGSTOP)
    store.client.hset(KEYS.job(job_id), "user-id", "jsmith")
    last = ask_agent(store, "jsmith", job_id)[-1]
    assert not last.verified
    assert "launched for agunn" in last.text
    assert lives(process)
    assert state == "dead" or lives(supervisor)
    store.client.hset(KEYS.job(job_id), "user-id", "agunn")
    last = ask_agent(store, "agunn", job_id)[-1]
    assert (last.verified, "agunn (jane)" in last.text) == (True, True), last
    assert not lives(process)


def test_an_agent_starts_nothing_for_a_user(store: JobStore) -> None:
    job = store.create(["true"], user_id="jsmith")
    request = ControlRequest(f"{KEYS.user_requests('jsmith')}/1-1", "start", job.id)
    assert [step.kind for step in Agent(store)._steps(request)] == ["refused"]


def test_what_a_job_starts_by_way_of_another_server_is_still_its_own(server: Server) -> None:
    code = "GNJOBS_REDIS_URL=redis://elsewhere sleep 600"
    with supervised(server, ["sh", "-c", code]) as job:
        record = wait_for(lambda: (found := job.read()).pid and found)
        wait_for(lambda: len(job.alive()) == 2 or psutil.Process(record.pid).name() == "sleep")
        store = JobStore.from_url(server.url)
        stop = StopRequest("tux", "", store.now())
        assert LocalKill(store, store.get(job.id), None, stop, 0.0).is_there()
        assert list(kill_job(store, job.id, actor=TUX, force=True))[-1].verified
        assert not job.alive()


@pytest.mark.sampled
@pytest.mark.parametrize("word", ["", "gnjobs.supervisor"])
def test_what_calls_itself_another_job_does_not_escape_a_kill(server: Server, word: str) -> None:
    """With the token of this job it is its own; without it, and without a supervisor of its own, it is named."""
    stranger = f"env GNJOBS_JOB_ID=other GNJOBS_MARK=x sh -c 'sleep 601; true' {word}"
    with supervised(
        server, ["sh", "-c", f"env GNJOBS_JOB_ID=other sleep 600 & {stranger} & sleep 602"]
    ) as job:
        (main,) = wait_for(lambda: (found := job.alive()) and found)[:1]
        (named,) = wait_for(lambda: [c for c in main.children(recursive=True) if "601" in c.cmdline()])
        own = wait_for(lambda: [c for c in main.children() if c.cmdline() == ["sleep", "600"]])[0]
        shell = named.parent()
        store = JobStore.from_url(server.url)
        last = list(kill_job(store, job.id, actor=TUX, grace=0.2))[-1]
        assert not last.verified, last
        assert f"{named.pid} (says that it is of job other)" in last.text
        assert lives(named)
        assert not lives(own)
        shell.kill()
        named.kill()
        job.wait_for("killed")


def test_what_an_orphan_calls_another_job_is_named_also_when_what_was_above_it_has_ended(
    server: Server,
) -> None:
    code = "env -u GNJOBS_MARK GNJOBS_JOB_ID=other sleep 601 & wait"
    with supervised(server, ["sh", "-c", code]) as job:
        main = psutil.Process(wait_for(lambda: job.read().pid))
        (named,) = wait_for(lambda: [each for each in main.children() if each.name() == "sleep"])
        job.processes[0].kill()
        job.processes[0].wait()
        last = list(kill_job(JobStore.from_url(server.url), job.id, actor=TUX, grace=0.2))[-1]
        assert f"left running: {named.pid} (says that it is of job other)" in last.text
        assert (last.verified, lives(main), lives(named)) == (False, False, True)
        named.kill()
        again = list(kill_job(JobStore.from_url(server.url), job.id, actor=TUX, grace=0.2))[-1]
        assert again.verified, again


LAUNCHES = """
import sys
from gnjobs.store import JobStore
from gnjobs.supervisor.launch import launch
store = JobStore.from_url(sys.argv[1])
launch(store.create(["sleep", "600"], label="inner"), store=store)
input()
"""


def test_a_job_that_a_job_has_launched_is_left_out_of_its_kill(server: Server, tmp_path: Path) -> None:
    """Its record names the supervisor that stands between them."""
    os.mkfifo(tmp_path / "never")
    code = f"exec {shlex.join(python(LAUNCHES, server.url))} <> {tmp_path}/never"
    with supervised(server, ["sh", "-c", code]) as job:
        store = JobStore.from_url(server.url)

        def ids() -> list[str]:
            return [name.decode() for name in job.client.zrange(KEYS.jobs, 0, -1)]

        inner = wait_for(lambda: [j for j in map(store.get, ids()) if j.label == "inner" and j.pid])[0]
        assert psutil.Process(inner.supervisor_pid).ppid() == job.processes[0].pid
        assert list(kill_job(store, job.id, actor=TUX, grace=0.2))[-1].verified
        assert psutil.pid_exists(inner.pid)
        assert list(kill_job(store, inner.id, actor=TUX, force=True))[-1].verified
