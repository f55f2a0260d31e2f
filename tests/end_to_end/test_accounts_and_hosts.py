"""Kills across accounts and hosts, for real: another account sees little, another host sees nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from gnjobs.control.agent import Agent
from gnjobs.processes.host import host_name
from gnjobs.store import JobStore
from tests.support.agents import agent_at_work
from tests.support.os_accounts import AS_NOBODY, needs_accounts, needs_hosts, on_other_host
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, is_alive, python
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for

SLEEP = ["sh", "-c", "echo ready; sleep 1000"]
# A process that forbids to be inspected, as those that hold keys do.
SECRETIVE = python(
    "import ctypes, time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print('ready', flush=True); time.sleep(1000)"
)
AS_NAMELESS = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *AS_NOBODY[4:])
DROPPING = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", *SLEEP]


@contextmanager
def running(server: Server, command: list[str], *account: str) -> Iterator[SupervisedJob]:
    """A job under a supervisor of an account, with everything of it ended afterwards."""
    job = SupervisedJob(server, command)
    supervisor = subprocess.Popen(
        [*account, sys.executable, "-P", "-m", "gnjobs.supervisor"],
        env=job.environment,
        stderr=subprocess.DEVNULL,
    )
    job.processes.append(supervisor)
    try:
        job.wait_for_line("ready")
        wait_for(lambda: job.read().pid)
        yield job
    finally:
        if is_alive(job.read().pid):
            os.killpg(job.read().pid, signal.SIGKILL)
        job.end()


def kill(
    job: SupervisedJob, run: Callable[..., list[str]] = lambda *command: list(command)
) -> tuple[int, str]:
    """Kill it by the command line; returns the exit code and what was said."""
    command = gnjobs("kill", job.id, "--redis-url", job.server.url, "--grace", "0.5")
    done = subprocess.run(run(*command), capture_output=True, text=True, timeout=90)
    return done.returncode, done.stdout + done.stderr


def check_the_agent_kills(job: SupervisedJob, run: Callable[..., list[str]]) -> None:
    code, said = kill(job, run)
    assert code == 0, said
    assert f"asking the agent of {host_name()}" in said
    assert job.read().status == "killed"
    assert not is_alive(job.read().pid)


def by_nobody(*command: str) -> list[str]:
    return [*AS_NOBODY, *command]


@needs_accounts
@pytest.mark.parametrize("fault", [pytest.param(signal.SIGSTOP, marks=pytest.mark.faults), signal.SIGKILL])
def test_another_account_whose_supervisor_does_not_answer_is_left_to_the_agent(
    server: Server, fault: signal.Signals
) -> None:
    with running(server, SLEEP) as job:
        job.processes[0].send_signal(fault)
        wait_for(lambda: fault == signal.SIGSTOP or not is_alive(job.processes[0].pid))
        code, said = kill(job, by_nobody)
        assert code == 1, said
        assert "not killed" in said
        assert job.read().status == "running"
        assert is_alive(job.read().pid)
        with agent_at_work(JobStore.from_url(server.url)):
            check_the_agent_kills(job, by_nobody)


@pytest.mark.sampled
@needs_accounts
@pytest.mark.parametrize(
    ("command", "account"),
    [(SLEEP, ()), (DROPPING, ()), (SLEEP, AS_NAMELESS), (SECRETIVE, AS_NOBODY)],
    ids=["root's", "root's that became another's", "an account without a name", "one's own that hides"],
)
def test_an_orphan_that_can_not_be_inspected_is_not_called_killed(
    server: Server, command: list[str], account: tuple[str, ...]
) -> None:
    with running(server, command, *account) as job:
        job.processes[0].kill()
        job.processes[0].wait()
        code, said = kill(job, by_nobody)
        assert code == 1, said
        assert "can't be inspected" in said
        assert job.read().status in {"running", "stopping"}
        assert is_alive(job.read().pid)


@needs_accounts
def test_a_process_that_hides_is_killed_with_its_job(server: Server) -> None:
    """Its supervisor, of the same account, knows it by descent and may signal it."""
    with running(server, SECRETIVE, *AS_NOBODY) as job:
        pid = job.read().pid
        code, said = kill(job)
        assert code == 0, said
        assert not is_alive(pid)
        assert job.read().left_running is None


@needs_accounts
def test_an_agent_that_sees_little_calls_nothing_lost_and_beats_for_nothing(server: Server) -> None:
    with running(server, SLEEP) as job:
        job.processes[0].kill()
        job.processes[0].wait()
        server.client().hset(KEYS.job(job.id), "heartbeat", 1)
        code = (
            "import sys; from gnjobs.control.agent import Agent; from gnjobs.store import JobStore\n"
            "Agent(JobStore.from_url(sys.argv[1])).look_around()\n"
        )
        subprocess.run(by_nobody(sys.executable, "-c", code, server.url), check=True, timeout=60)
        assert (job.read().status, job.read().heartbeat) == ("running", 1)
        os.killpg(job.read().pid, signal.SIGKILL)
        wait_for(lambda: not psutil.pid_exists(job.read().pid) or not is_alive(job.read().pid))
        agent = Agent(JobStore.from_url(server.url))
        wait_for(lambda: agent.look_around() or job.read().status == "lost")


def seeing_nothing(*command: str) -> list[str]:
    """As nobody, where `/proc` shows no other account's processes."""
    script = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *by_nobody(*command)]


@needs_accounts
@needs_hosts
def test_where_proc_conceals_processes_the_supervisor_is_asked_and_orphans_are_not_called_killed(
    server: Server,
) -> None:
    with running(server, SLEEP) as job:
        code, said = kill(job, seeing_nothing)
        assert code == 0, said
        assert job.read().status == "killed"
    with running(server, SLEEP) as job:
        job.processes[0].kill()
        job.processes[0].wait()
        code, said = kill(job, seeing_nothing)
        assert code == 1, said
        assert "can't be seen" in said
        assert (job.read().status, is_alive(job.read().pid)) == ("running", True)


@needs_accounts
@needs_hosts
def test_what_proc_conceals_from_its_own_supervisor_is_not_called_gone(server: Server) -> None:
    with running(server, SECRETIVE, *seeing_nothing()) as job:
        pid = job.read().pid
        code, said = kill(job, seeing_nothing)
        assert code == 1, said
        assert f"{pid} (is a process below its supervisor that can't be seen)" in said
        assert is_alive(pid)


@needs_accounts
@needs_hosts
def test_what_proc_conceals_may_be_of_the_child_that_is_killed_alone(server: Server) -> None:
    code = (
        "import os, subprocess\nfrom gnjobs import current_job\ncurrent_job().allocate_children(['a'])\n"
        "own = os.environ | {'GNJOBS_CHILD_ID': 'a'}\n"
        f"subprocess.run(['sh', '-c', '\"$@\" & sleep 1000', 'sh', *{SECRETIVE!r}], env=own)\n"
        "import time; time.sleep(1000)\n"
    )
    with running(server, python(code), *seeing_nothing()) as job:
        exit_code, said = kill(job, lambda *command: seeing_nothing(*command, "--child", "a"))
        assert (exit_code, job.child("a").status) == (1, "stopping"), said
        assert "(is a process below its supervisor that can't be seen)" in said


@needs_hosts
@pytest.mark.parametrize("fault", [pytest.param(signal.SIGSTOP, marks=pytest.mark.faults), signal.SIGKILL])
def test_from_another_host_the_agent_kills(server: Server, fault: signal.Signals) -> None:
    with running(server, SLEEP) as job, agent_at_work(JobStore.from_url(server.url)):
        job.processes[0].send_signal(fault)
        check_the_agent_kills(job, on_other_host)


def among_other_processes(*command: str) -> list[str]:
    """On another host, which has processes of its own."""
    return ["unshare", "--pid", "--fork", "--mount-proc", *on_other_host(*command)]


@needs_hosts
def test_from_another_host_without_an_agent_the_answer_says_what_to_do(server: Server) -> None:
    with running(server, SLEEP) as job:
        job.processes[0].send_signal(signal.SIGSTOP)
        code, said = kill(job, among_other_processes)
        assert code == 1, said
        assert f"nobody answers on {host_name()}" in said
        assert f"gnjobs kill {job.id}" in said
        assert is_alive(job.read().pid)


def test_a_frozen_supervisor_is_answered_for_by_the_asker(server: Server) -> None:
    with running(server, SLEEP) as job:
        job.processes[0].send_signal(signal.SIGSTOP)
        code, said = kill(job)
        assert code == 0, said
        assert "doing it from here" in said
        assert job.read().status == "killed"
        assert not is_alive(job.read().pid)
        assert not is_alive(job.processes[0].pid)
