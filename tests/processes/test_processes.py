"""Whose a process is: what hides from a look, what only resembles a job's, what must never be called gone."""

import contextlib
import fcntl
import os
import pwd
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import psutil
import pytest

from gnjobs.control.kill import kill_job
from gnjobs.processes import proc
from gnjobs.processes.end import end_processes
from gnjobs.processes.find import describe, processes_of
from gnjobs.processes.host import host_name, user_id
from gnjobs.processes.presence import look
from gnjobs.processes.proc import read_entry
from gnjobs.processes.seen import Found
from gnjobs.processes.table import ProcessView, Wanted
from gnjobs.records.actor import Actor
from gnjobs.records.requests import KillStep
from gnjobs.store import JobStore
from gnjobs.supervisor.launch import launch
from gnjobs.text import mask_secrets
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, is_alive, python, supervised
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")
# The first thread ends, another one goes on: /proc shows the process as a zombie without an environment.
FIRST_THREAD_ENDS = (
    "import ctypes, threading, time\n"
    "threading.Thread(target=time.sleep, args=(1000,)).start()\n"
    "print('ready', flush=True)\n"
    "ctypes.CDLL(None).syscall(60 if __import__('platform').machine() == 'x86_64' else 93, 0)\n"
)
WITHOUT_MARK = ["env", "-i", "sh", "-c", "echo ready; sleep 1000"]
# Its main process ends at once, what goes on has no mark, and a session of its own.
LEFT_BEHIND = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen(['env', '-i', 'sleep', '1000'], start_new_session=True)\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(1000)\n"
)
# Forks and ends all the time, so that no pid lives for long; a lock is held for as long as one of them is there.
HOPPER = (
    "import fcntl, os, sys, time\n"
    "lock = open(sys.argv[1], 'w')\n"
    "fcntl.flock(lock, fcntl.LOCK_EX)\n"
    "print('ready', flush=True)\n"
    "os.closerange(0, 3)\n"
    "end = time.monotonic() + 60\n"
    "while time.monotonic() < end:\n"
    "    if os.fork(): os._exit(0)\n"
    "    time.sleep(0.003)\n"
)


def kill(store: JobStore, job_id: str, **options: object) -> list[KillStep]:
    return list(kill_job(store, job_id, actor=TUX, **options))


def end_supervisor(job: SupervisedJob) -> None:
    job.processes[0].kill()
    job.processes[0].wait()


@pytest.fixture
def orphaned(server: Server) -> Iterator[SupervisedJob]:
    """A job without a mark whose supervisor was killed; its process ends with the test."""
    job = SupervisedJob(server, WITHOUT_MARK)
    job.supervise()
    job.wait_for_line("ready")
    pid = wait_for(lambda: job.read().pid)
    end_supervisor(job)
    yield job
    os.killpg(pid, signal.SIGKILL)
    job.end()


def test_a_process_whose_first_thread_has_ended_is_found_and_killed(server: Server, store: JobStore) -> None:
    with supervised(server, python(FIRST_THREAD_ENDS)) as job:
        job.wait_for_line("ready")
        pid = wait_for(lambda: job.read().pid)
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        end_supervisor(job)
        assert [process.pid for process in processes_of(Wanted(job.id)).processes] == [pid]
        assert look(job.read()).kind == "running"
        steps = kill(store, job.id)
        assert steps[-1].verified, steps
        entry = read_entry(pid)
        assert entry is None or entry.state in "ZX"


def test_what_only_has_threads_that_end_at_once_is_not_called_gone(
    server: Server, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has ended before it can be looked at, and whose the process is stands only in what they show."""
    with supervised(server, python(FIRST_THREAD_ENDS)) as job:
        job.wait_for_line("ready")
        pid = wait_for(lambda: job.read().pid)
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        end_supervisor(job)
        store.client.hset(KEYS.job(job.id), mapping={"pid": "", "process-started": ""})
        with monkeypatch.context() as patched:
            patched.setattr("gnjobs.processes.proc._living_threads", lambda _: iter(()))
            left = kill(store, job.id, grace=0.1)[-1]
            assert (left.verified, left.pids) == (False, (pid,)), left
            assert "can't be inspected" in left.text
        assert kill(store, job.id)[-1].verified


def test_a_job_without_a_mark_is_not_gone_and_not_called_killed(
    store: JobStore, orphaned: SupervisedJob
) -> None:
    record = orphaned.read()
    assert look(record).kind == "running"
    last = kill(store, orphaned.id, grace=0.1)[-1]
    assert not last.verified, last
    assert str(record.pid) in last.text
    assert "not its mark" in last.text
    assert orphaned.read().status == "stopping"


def test_what_the_supervisor_saw_is_not_gone_when_it_and_the_main_process_are(
    server: Server, store: JobStore
) -> None:
    with supervised(server, python(LEFT_BEHIND)) as job:
        left = int(wait_for(lambda: job.lines("out"))[0])
        main = wait_for(lambda: job.read().pid)
        try:
            wait_for(lambda: str(left).encode() in (job.client.get(KEYS.processes(job.id)) or b""))
            end_supervisor(job)
            os.kill(main, signal.SIGKILL)
            wait_for(lambda: not is_alive(main))
            last = kill(store, job.id, grace=0.1)[-1]
            assert not last.verified, last
            assert str(left) in last.text
        finally:
            os.kill(left, signal.SIGKILL)


# As a supervisor does to look where its job is.
LOOKS_AND_RUNS = (
    "import os, subprocess, sys, time\n"
    "own, looking = subprocess.Popen(['sleep', '1000'], start_new_session=True), subprocess.Popen(['sleep', '1000'])\n"
    "print(own.pid, looking.pid, flush=True)\n"
    "time.sleep(1000)\n"
)


def test_what_a_supervisor_starts_for_itself_is_not_its_jobs() -> None:
    """Nothing of a job can be in its supervisor's session, whatever it says of itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GNJOBS_")}
    with psutil.Popen(
        [*python(LOOKS_AND_RUNS)], stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as supervisor:
        own, looking = map(int, supervisor.stdout.readline().split())
        try:
            entry = read_entry(supervisor.pid)
            assert entry is not None
            found = processes_of(Wanted("j"), supervisor=(entry.pid, entry.started))
            assert ([each.pid for each in found.processes], found.hidden) == ([own], ())
        finally:
            for pid in (own, looking, supervisor.pid):
                os.kill(pid, signal.SIGKILL)


def test_a_process_that_names_the_supervisor_is_killed_like_any_other(
    server: Server, store: JobStore
) -> None:
    with supervised(server, ["sh", "-c", "echo ready; sleep 1000 & wait", "gnjobs.supervisor"]) as job:
        job.wait_for_line("ready")
        pid = wait_for(lambda: job.read().pid)
        end_supervisor(job)
        steps = kill(store, job.id)
        assert steps[-1].verified, steps
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert job.alive() == []


def test_a_job_of_the_same_id_elsewhere_goes_on(server: Server) -> None:
    """Two prefixes, or two servers, of one host may each have a job that is called so."""
    command = ["sleep", "1000"]
    stores = [JobStore.from_url(server.url, prefix) for prefix in ("one", "two")]
    for each in stores:
        launch(each.create(command, job_id="nightly"), store=each)
    first, second = (
        wait_for(lambda each=each: each.get("nightly") if each.get("nightly").pid else None)
        for each in stores
    )
    try:
        os.kill(first.supervisor_pid, signal.SIGKILL)
        assert kill(stores[0], "nightly")[-1].verified
        assert not is_alive(first.pid)
        assert is_alive(second.pid)
        assert kill(stores[1], "nightly")[-1].verified
        assert not is_alive(second.pid)
    finally:
        for job in (first, second):
            for pid in (job.supervisor_pid, job.pid):
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("begin", [[], ["env", "-i"]], ids=["with its mark", "without it"])
def test_what_forks_and_ends_all_the_time_is_never_called_gone_while_it_lives(
    server: Server, store: JobStore, tmp_path: Path, begin: list[str]
) -> None:
    place = tmp_path / "lock"
    with supervised(server, [*begin, *python(HOPPER, str(place))]) as job:
        job.wait_for_line("ready")
        last = kill(store, job.id, grace=0.2)[-1]
        assert last.verified == is_free(place), last


def is_free(place: Path) -> bool:
    with place.open() as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def test_a_job_in_a_pid_namespace_that_we_do_not_see_is_not_called_killed(
    server: Server, store: JobStore
) -> None:
    """As of a container that has this host's name."""
    with supervised(server, ["sh", "-c", "echo ready; sleep 1000"]) as job:
        job.wait_for_line("ready")
        code = (
            "import sys; from gnjobs.control.kill import kill_job; from gnjobs.records.actor import Actor\n"
            "from gnjobs.store import JobStore\n"
            "store = JobStore.from_url(sys.argv[1])\n"
            "steps = list(kill_job(store, sys.argv[2], actor=Actor.admin('x'), grace=0.1, supervisor_timeout=0.1))\n"
            "print(steps[-1].verified, steps[-1].text)\n"
        )
        job.processes[0].send_signal(signal.SIGSTOP)
        inside = [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            sys.executable,
            "-c",
            code,
            server.url,
            job.id,
        ]
        said = subprocess.run(inside, capture_output=True, text=True, timeout=60)
        if said.returncode and "unshare" in said.stderr:
            pytest.skip(said.stderr)
        assert said.stdout.startswith("False"), said
        assert "another pid namespace" in said.stdout
        assert job.read().status == "stopping"
        assert job.alive()


def test_a_pid_namespace_that_is_gone_hides_nothing(server: Server, tmp_path: Path) -> None:
    with supervised(server, ["sleep", "1000"]) as job:
        job.wait_for("running")
        record = wait_for(lambda: job.read() if job.read().pid else None)
        end_supervisor(job)
        assert look(record).kind == "running"
        os.kill(record.pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(record.pid))
        assert look(record).kind == "gone"
        assert record.host == host_name()


def test_of_a_long_command_line_no_more_is_masked_than_could_be_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job may have thousands of them, and each look shows them all."""
    masked = list[int]()
    monkeypatch.setattr(proc, "mask_secrets", lambda text: masked.append(len(text)) or mask_secrets(text))
    monkeypatch.setattr(proc, "read_command_line", lambda _: b"redis://u:secret@h\0" + 13_000 * b"://x ")
    assert proc.command_text(1) == f"redis://u:***@h {80 * '://x '}"[:400]
    assert masked[0] < 5000


# It takes its time to end.
ENDS_SLOWLY = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit()))\n"
    "print('ready', flush=True)\n"
    "time.sleep(1000)\n"
)


def test_an_ending_leaves_descriptors_to_look_with() -> None:
    """Whoever launched a job, or its code, may leave its supervisor few."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    sleepers = [psutil.Popen(["sleep", "600"]) for _ in range(20)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 12, before[1]))
    try:
        for _ in end_processes(
            lambda: describe(ProcessView(), {each.pid: None for each in sleepers if is_alive(each.pid)}),
            grace=0.0,
        ):
            continue
        assert [is_alive(each.pid) for each in sleepers] == [False] * 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for each in sleepers:
            each.kill()
            each.wait()


@pytest.mark.parametrize(("ends", "kind"), [([7, 7], "verified"), (count(1), "left")])
def test_nothing_is_called_gone_while_what_ends_may_have_started_others(
    monkeypatch: pytest.MonkeyPatch, ends: Iterable[int], kind: str
) -> None:
    monkeypatch.setattr("gnjobs.processes.end.KILL_SECONDS", 0.2)
    passing = iter(ends)
    ending = end_processes(lambda: Found(passing=next(passing, None)), grace=0.0)
    with pytest.raises(StopIteration) as over:
        next(ending)
    verdict = over.value.value
    assert (verdict.kind, bool(verdict.pids), next(passing, None) is None) == (
        kind,
        kind == "left",
        kind != "left",
    )


def test_the_grace_begins_with_the_first_signal_however_long_the_look_before_has_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later, now = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + later[0])
    with psutil.Popen(python(ENDS_SLOWLY), stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        found = describe(ProcessView(), {process.pid: None})

        def look() -> Found:
            later[0] = 100.0
            return found if is_alive(process.pid) else Found()

        steps = list(end_processes(look, grace=50.0))
        process.kill()
    assert [each.kind for each in steps] == ["signalled", "gone"]


def test_an_account_that_is_called_like_a_number_is_not_the_user_of_that_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = {"1002": pwd.struct_passwd(("1002", "x", 5002, 5002, "", "/", "/bin/sh"))}
    monkeypatch.setattr(pwd, "getpwnam", entries.__getitem__)
    assert [user_id(name) for name in ("1002", "1003", "uid 1002", "a\0b")] == [5002, None, 1002, None]
