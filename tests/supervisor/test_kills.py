"""Kills that a supervisor does: asked for, answered, verified, and written down."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from gnjobs.control.kill import kill_job
from gnjobs.records.actor import Actor
from gnjobs.records.requests import ControlRequest, KillStep, answer, read_answers, send_request
from gnjobs.store import JobStore
from tests.support.os_accounts import AS_NOBODY, needs_accounts
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, python, supervised
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for

# One that ignores TERM, one that has left by double fork and setsid with an empty environment and closed pipes.
STUBBORN = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        os.closerange(0, 64)\n"
    "        os.execve('/bin/sh', ['sh', '-c', f'trap \"\" TERM; sleep {sys.argv[1]}; sleep {sys.argv[1]}'], {})\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)\n"
)


def kill(job: SupervisedJob, child: str | None = None, **options: object) -> list[KillStep]:
    """Kill and return all steps."""
    store = JobStore.from_url(job.server.url)
    return list(kill_job(store, job.id, child, actor=Actor.admin("tux"), reason="runaway", **options))


def answer_of_supervisor(job: SupervisedJob) -> KillStep:
    """Ask the supervisor, and nobody in its place; returns the last step."""
    request = ControlRequest("", "kill", job.id, by="tux", grace=0.5)
    asked = send_request(job.client, KEYS.admin_requests, request)
    answers = read_answers(job.client, KEYS.answers(job.id), asked, lambda: float("inf"))
    return next(each for each in answers if each is not None and each.final)


def sleepers(seconds: str) -> list[psutil.Process]:
    """Every process that sleeps for just so long."""
    found = []
    for process in psutil.process_iter():
        try:
            if seconds in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.pid != os.getpid()]


def test_a_willing_job_is_killed_and_says_by_whom(server: Server) -> None:
    with supervised(server, ["sh", "-c", "echo ready; sleep 600"]) as job:
        job.wait_for_line("ready")
        steps = kill(job)
        done = job.read()
        assert steps[-1].final
        assert steps[-1].verified, steps
        assert {"asked", "answered", "signalled", "written"} <= {step.kind for step in steps}
        assert (done.status, done.stop_by, done.stop_reason, done.signal) == ("killed", "tux", "runaway", 15)
        assert done.started <= done.stop_requested <= done.finished
        assert not job.alive()
        assert not server.client().zcard(KEYS.unfinished)


FORKS = (
    "import os, signal, time\n"
    "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "for _ in range(100):\n"
    "    try:\n"
    "        os.fork() or time.sleep(600)\n"
    "    except BlockingIOError:\n"
    "        print('ready', flush=True)\n"
    "        time.sleep(600)\n"
)
OTHER = 50_000 + os.getpid() % 10_000  # an account of this test alone


@needs_accounts
def test_a_job_that_uses_up_its_accounts_processes_is_killed_by_its_supervisor(server: Server) -> None:
    account = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", *AS_NOBODY[3:]]
    job = SupervisedJob(server, python(FORKS))
    command = ["prlimit", "--nproc=50", *account, sys.executable, "-P", "-m", "gnjobs.supervisor"]
    try:
        job.processes.append(subprocess.Popen(command, env=job.environment, stderr=subprocess.PIPE))
        job.wait_for_line("ready")
        last = answer_of_supervisor(job)
        assert last.verified, last
        assert job.alive() == []
    finally:
        job.end()


WITHOUT_ANSWERS = (
    "import os, sys, time; from redis import Redis; print('ready', flush=True)\n"
    "key = f'gn-uploader:jobs:{os.environ[\"GNJOBS_JOB_ID\"]}:answers'\n"
    "while True: Redis.from_url(os.environ['GNJOBS_REDIS_URL'], protocol=2).set(key, 'x'); time.sleep(0.01)\n"
)


def test_a_job_whose_code_lets_nobody_answer_is_killed_all_the_same(server: Server) -> None:
    with supervised(server, python(WITHOUT_ANSWERS)) as job:
        job.wait_for_line("ready")
        wait_for(lambda: job.client.type(KEYS.answers(job.id)) == b"string")
        steps = kill(job, supervisor_timeout=0.5)
        assert steps[-1].verified, steps
        assert job.read().status == "killed"


# Answers whatever is asked, in the place of its supervisor, which it may have stopped before.
ANSWERS = """
import json, os, signal, sys, time
from redis import Redis
supervisor, forged, status = os.getppid(), json.loads(sys.argv[2]), sys.argv[3]
key = f"gn-uploader:jobs:{os.environ['GNJOBS_JOB_ID']}"
def end(*_):
    print("last words", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
client = Redis.from_url(os.environ["GNJOBS_REDIS_URL"], protocol=2)
print("ready", flush=True)
time.sleep(1)
os.kill(supervisor, getattr(signal, sys.argv[1]))
client.set("stopped", 1)
((stream, ((entry, _),)),) = client.xread({"gn-uploader:admins:requests": "0"}, block=60_000)
client.hset(key, "status", status)
client.xadd(f"{key}:answers", {"answer": stream + b"/" + entry, "step": json.dumps(forged)})
time.sleep(600)
"""


@pytest.mark.sampled
@pytest.mark.parametrize("status", ["running", "killed"])
@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("number", ["SIGSTOP", "SIGCONT"])
def test_an_answer_of_the_jobs_own_code_is_not_the_last_word(
    server: Server, monkeypatch: pytest.MonkeyPatch, number: str, verified: bool, status: str
) -> None:
    if number == "SIGSTOP":  # it writes nothing any more
        monkeypatch.setattr("gnjobs.control.kill._WRITING_SECONDS", 0.5)
    forged = json.dumps({"at": 0, "kind": "left", "text": "forged", "verified": verified, "final": True})
    with supervised(server, python(ANSWERS, number, forged, status)) as job:
        wait_for(lambda: job.client.get("stopped"))
        steps = kill(job, grace=1.0)
        assert number == "SIGCONT" or any("forged" in each.text for each in steps[:-1])
        # Where the supervisor is there, it may have ended the job before the forged answer, which is told then.
        assert steps[-1].final
        assert steps[-1].verified or number == "SIGCONT", steps
        assert job.alive() == []
        assert job.wait_for("killed")
        if number == "SIGCONT":  # the supervisor is there, and writes the end
            job.wait_for_line("last words")


def test_what_fails_for_one_job_alone_is_how_its_kill_ends(
    server: Server, sleeper: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody could kill many at once of which somebody has spoilt one."""
    errors: list[redis.RedisError] = [redis.ResponseError("ERR odd"), redis.ConnectionError("gone")]
    monkeypatch.setattr("gnjobs.control.kill.newest_id", lambda *_: (_ for _ in ()).throw(errors.pop(0)))
    (said,) = kill(sleeper)
    assert (said.kind, said.text, said.final) == ("refused", "it failed: ResponseError: ERR odd", True)
    with pytest.raises(redis.ConnectionError):
        kill(sleeper)


def test_a_job_that_hides_and_ignores_term_is_killed_whole(server: Server) -> None:
    seconds = f"{600_000 + os.getpid()}"
    with supervised(server, python(STUBBORN, seconds)) as job:
        job.wait_for_line("ready")
        wait_for(lambda: len(sleepers(f"sleep {seconds}")) >= 2)
        steps = kill(job, grace=0.2)
        assert steps[-1].verified, steps
        assert "killing" in {step.kind for step in steps}
        assert job.read().status == "killed"
        assert sleepers(f"sleep {seconds}") == []
        assert job.alive() == []


def test_a_second_kill_with_force_leaves_no_more_time(server: Server) -> None:
    with supervised(server, ["sh", "-c", "trap '' TERM; echo ready; sleep 600; sleep 600"]) as job:
        job.wait_for_line("ready")
        store = JobStore.from_url(server.url)
        first = kill_job(store, job.id, actor=Actor.admin("tux"), grace=600)
        while next(first).kind != "signalled":
            continue
        assert job.wait_for("stopping").stop_by == "tux"
        assert kill(job, force=True)[-1].verified
        assert list(first)[-1].verified
        assert job.read().stop_by == "tux"


@contextmanager
def job_with_children(server: Server) -> Iterator[SupervisedJob]:
    """A job of two children, processes with marks of their own, and a third that is a thread of its main process."""
    code = (
        "import os, subprocess, sys\n"
        "started = [subprocess.Popen(['sleep', '600'], env={**os.environ, 'GNJOBS_CHILD_ID': name})"
        " for name in ('a', 'b')]\n"
        "print(*(p.pid for p in started), flush=True)\n"
        "for p in started: p.wait()\n"
    )
    with supervised(server, python(code)) as job:
        wait_for(lambda: job.lines("out"))
        pids = dict(zip("ab", job.lines("out")[0].split(), strict=True)) | {
            "c": str(wait_for(lambda: job.read().pid))
        }
        for name, pid in pids.items():
            key = KEYS.child(job.id, name)
            job.client.hset(key, mapping={"status": "running", "pid": pid, "started": "1"})
            job.client.hset(KEYS.job(job.id), f"child:{name}", KEYS.child_output(job.id, name))
        job.client.hset(KEYS.job(job.id), "children", 3)
        yield job


def test_one_child_is_killed_alone_and_its_job_says_so(server: Server) -> None:
    with job_with_children(server) as job:
        steps = kill(job, "a")
        assert steps[-1].verified, steps
        child = job.child("a")
        assert (child.status, child.stop_by, child.stop_reason) == ("killed", "tux", "runaway")
        assert (job.child("b").status, job.read().status) == ("running", "running")
        assert psutil.pid_exists(job.child("b").pid)
        assert kill(job, "a")[-1].kind == "skipped"
        os.kill(job.child("b").pid, signal.SIGTERM)
        done = job.wait_for()
        assert (done.status, done.exit_code) == ("error", 0)
        assert "1 of 3 children killed by tux: runaway" in done.error


def test_a_thread_can_not_be_killed_alone(server: Server) -> None:
    with job_with_children(server) as job:
        last = kill(job, "c")[-1]
        assert (last.kind, last.verified) == ("refused", False)
        assert "it is a thread of pid" in last.text
        assert job.child("c").status == "running"
        assert job.read().status == "running"


@pytest.mark.parametrize(("child", "is_verified"), [("a", True), ("c", False)])
def test_a_pid_of_another_node_is_taken_for_none_of_this_one(
    server: Server, child: str, is_verified: bool
) -> None:
    """That of a child that Slurm placed, which has its `srun` here; a thread has nothing of its own here."""
    with job_with_children(server) as job:
        elsewhere = {"pid": job.read().pid, "process-started": 1}
        job.client.hset(KEYS.child(job.id, child), mapping=elsewhere)
        assert kill(job, child)[-1].verified == is_verified
        assert (job.child(child).status == "killed") == is_verified


def test_a_killed_job_takes_its_children_with_it(server: Server) -> None:
    with job_with_children(server) as job:
        assert kill(job)[-1].verified
        assert {job.child(name).status for name in "abc"} == {"killed"}
        assert {job.child(name).stop_by for name in "abc"} == {"tux"}


def test_what_is_no_request_is_left_alone(server: Server) -> None:
    with supervised(server, ["sleep", "600"]) as job:
        job.wait_for("running")
        stream = KEYS.admin_requests
        server.client().xadd(stream, {"nonsense": "x"})
        send_request(job.client, stream, ControlRequest("", "dance", job.id))
        send_request(job.client, stream, ControlRequest("", "kill"))
        answer(job.client, stream, "1-1", KillStep(0.0, "asked", "x"))
        request = ControlRequest("", "kill", job.id, by="\udcff", grace=0.1)
        request_id = send_request(job.client, stream, request)
        steps = read_answers(job.client, KEYS.answers(job.id), request_id, lambda: 1e18)
        assert any(step is not None and step.final for step in steps)
        assert job.wait_for().status == "killed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_supervisor_kills_its_job(server: Server, number: signal.Signals) -> None:
    with supervised(server, ["sh", "-c", "echo ready; sleep 600"]) as job:
        job.wait_for_line("ready")
        job.processes[0].send_signal(number)
        done = job.wait_for()
        assert done.status == "killed"
        assert number.name in done.stop_reason
        assert job.alive() == []


def test_a_child_that_is_none_is_refused_and_the_job_goes_on(server: Server) -> None:
    with supervised(server, ["sleep", "600"]) as job:
        wait_for(job.alive)
        stream = KEYS.admin_requests
        for child in ("", "sec/errors/file", "x" * 500, "a:b"):
            request = {"request": "kill", "job": job.id, "child": child, "by": "tux"}
            request_id = f"{stream}/{server.client().xadd(stream, request).decode()}"
            steps = read_answers(job.client, KEYS.answers(job.id), request_id, lambda: 1e18)
            assert next(step for step in steps if step is not None).kind == "refused", child
        assert job.alive()
        assert kill(job, grace=0.1)[-1].verified


def test_a_command_line_that_is_no_utf8_is_told_of_and_killed(server: Server, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "code = b'import time; print(1, flush=True); time.sleep(600)'\n"
        "os.execv(sys.executable.encode(), [b'ph\\xe9no', b'-c', code])\n"
    )
    with supervised(server, python(code)) as job:
        job.wait_for_line("1")
        store = JobStore.from_url(server.url)
        assert wait_for(lambda: "ph\ufffdno" in str(store.processes(job.id)))
        steps = kill(job, grace=0.1)
        assert steps[-1].verified, steps


def test_a_kill_waits_for_no_reader_of_the_output(server: Server, tmp_path: Path) -> None:
    line = gnjobs("run", "--id", "unread", "--redis-url", server.url, "--", "yes")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unread:
        store = JobStore.from_url(server.url)
        try:
            wait_for(lambda: store.client.exists(KEYS.job("unread")))
            wait_for(lambda: store.output("unread").extent().last > 10_000)
            steps = list(kill_job(store, "unread", actor=Actor.admin("tux"), grace=0.5))
            assert steps[-1].verified, steps
            assert store.get("unread").status == "killed"
        finally:
            unread.kill()


@pytest.mark.sampled
@needs_accounts
@pytest.mark.parametrize("is_asker_root", [False, True])
def test_a_kill_is_not_over_while_something_of_the_job_lives(
    server: Server, tmp_path: Path, is_asker_root: bool
) -> None:
    """Its supervisor is nobody's, and may not signal what became root's; root may, who asks on its host."""
    setpriv = tmp_path / "setpriv"
    shutil.copy(str(shutil.which("setpriv")), setpriv)
    tmp_path.chmod(0o755)
    setpriv.chmod(0o4755)
    become_root = f"{setpriv} --reuid=0 --clear-groups sleep 600 & echo ready; wait"
    job = SupervisedJob(server, ["sh", "-c", become_root])
    supervisor = [*AS_NOBODY, sys.executable, "-P", "-m", "gnjobs.supervisor"]
    job.processes.append(subprocess.Popen(supervisor, env=job.environment, stderr=subprocess.DEVNULL))
    try:
        job.wait_for_line("ready")
        roots = wait_for(lambda: [each for each in job.alive() if each.name() == "sleep"])
        last = answer_of_supervisor(job)
        assert (last.kind, last.verified) == ("left", False), last
        assert wait_for(lambda: job.read().left_running) == str(roots[0].pid)
        assert job.read().status == "stopping"
        if is_asker_root:
            assert kill(job, grace=0.1)[-1].verified
        else:
            roots[0].kill()
        done = job.wait_for("killed")
        assert (done.stop_by, done.left_running) == ("tux", "")
        assert job.processes[0].wait(60) != 0
    finally:
        job.end()
