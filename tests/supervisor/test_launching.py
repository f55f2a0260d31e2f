"""Launching: at once, without zombies, without the URL in argv; and waiting for a job in the foreground."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gnjobs.errors import LaunchError
from gnjobs.processes.find import is_supervisor
from gnjobs.processes.host import host_name
from gnjobs.processes.table import Wanted
from gnjobs.records.listener import ControlListener
from gnjobs.records.requests import ControlRequest, step
from gnjobs.store import JobStore
from gnjobs.supervisor import launch as launching
from gnjobs.supervisor.launch import launch, run_and_wait
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, is_alive
from tests.support.waiting import wait_for


@pytest.fixture
def jobs(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SupervisedJob]]:
    """Jobs that a test launches, ended with it; the environment says where they are."""
    monkeypatch.setenv("GNJOBS_REDIS_URL", server.url)
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    made: list[SupervisedJob] = []
    yield made
    for job in made:
        found = job.read()
        if is_supervisor(found.supervisor_pid or 0, found.supervisor_started, Wanted(job.id)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.supervisor_pid or 0, signal.SIGKILL)
        job.end()


@pytest.fixture
def sleeper(server: Server, jobs: list[SupervisedJob]) -> SupervisedJob:
    jobs.append(SupervisedJob(server, ["sleep", "600"]))
    return jobs[-1]


def test_a_detached_supervisor_is_nobodys_child_and_names_no_url(sleeper: SupervisedJob) -> None:
    launch(sleeper.read())
    job = sleeper.wait_for("running")
    supervisor = psutil.Process(job.supervisor_pid)
    assert supervisor.ppid() != os.getpid()
    assert supervisor.pid not in {child.pid for child in psutil.Process().children()}
    assert not any("redis://" in word for word in supervisor.cmdline())
    assert os.getsid(supervisor.pid) != os.getsid(0)
    assert {os.readlink(f"/proc/{supervisor.pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}


@pytest.mark.usefixtures("jobs")
def test_of_one_id_in_two_prefixes_each_job_is_launched_where_it_was_created(server: Server) -> None:
    stores = [JobStore.from_url(server.url, prefix) for prefix in ("weekly", "daily")]
    for job in [store.create(["true"], job_id="report") for store in stores]:
        launch(job)
    for store in stores:
        wait_for(lambda: store.get("report").status == "success", 60)  # noqa: B023 - within this turn


def test_a_supervisor_that_can_not_start_is_one_line(
    sleeper: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "supervisor_command", lambda: [sys.executable, "-m", "no_such_module"])
    with pytest.raises(LaunchError, match=r"^the supervisor could not be started: .*no_such_module$"):
        launch(sleeper.read())
    monkeypatch.setattr(launching, "supervisor_command", lambda: ["/no/such/python"])
    with pytest.raises(LaunchError, match="No such file or directory"):
        launch(sleeper.read())


def test_inside_a_service_it_warns(
    sleeper: SupervisedJob, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INVOCATION_ID", "x")
    with caplog.at_level(logging.WARNING, "gnjobs"):
        launch(sleeper.read())
    assert "a restart of it kills the jobs" in caplog.text


def fake_systemd_run(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a `systemd-run` of ours in front of the real one."""
    path = directory / "systemd-run"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_a_systemd_unit_gets_its_variables_but_not_in_argv(
    sleeper: SupervisedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = (
        f'echo "$@" > {tmp_path}/argv; while [ "$1" != -- ]; do shift; done; shift; "$@" >/dev/null 2>&1 &'
    )
    fake_systemd_run(tmp_path, monkeypatch, start)
    launch(sleeper.read(), via="systemd")
    job = sleeper.wait_for("running")
    words = (tmp_path / "argv").read_text().split()
    assert words[:2] == ["--user", "--collect"]
    assert f"gnjobs-{sleeper.id}" in words
    assert "--setenv=GNJOBS_REDIS_URL" in words
    assert not any("redis://" in word for word in words)
    os.kill(job.supervisor_pid or 0, signal.SIGTERM)
    assert sleeper.wait_for().status == "killed"


def test_a_systemd_that_refuses_is_one_line(
    sleeper: SupervisedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_systemd_run(tmp_path, monkeypatch, "echo >&2 Failed to connect to bus; exit 1")
    with pytest.raises(LaunchError, match=r"^systemd-run: Failed to connect to bus$"):
        launch(sleeper.read(), via="systemd")


def agent(server: Server, host: str, job_id: str, kind: str, text: str) -> list[ControlRequest]:
    """Answer for a host's agent what is asked of this job, since it never ends; returns the requests that it gets."""
    heard: list[ControlRequest] = []

    def hear(request: ControlRequest) -> None:
        if request.job != job_id:
            return
        heard.append(request)
        listener.answer(request, step(kind, text, final=True))

    listener = ControlListener(server.url, KEYS, [KEYS.host_starts(host)], hear, last_seconds=30.0)
    listener.start()
    return heard


def test_an_agent_is_asked_to_start_it(server: Server, sleeper: SupervisedJob) -> None:
    heard = agent(server, host_name(), sleeper.id, "written", "started")
    launch(sleeper.read(), via="agent")
    assert [(request.kind, request.job) for request in heard] == [("start", sleeper.id)]


def test_an_agent_that_refuses_or_is_not_there_is_one_line(
    server: Server, sleeper: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent(server, "another-host", sleeper.id, "refused", "not \x1b[2Jhere")
    with pytest.raises(LaunchError, match="did not start the job: not ␛\\[2Jhere"):
        launch(sleeper.read(), via="agent", host="another-host")
    monkeypatch.setattr("gnjobs.supervisor.launch._AGENT_SECONDS", 0.2)
    with pytest.raises(LaunchError, match="no agent answered on nobodys-host"):
        launch(sleeper.read(), via="agent", host="nobodys-host")


RUN = (
    "import sys; from gnjobs import JobStore; from gnjobs.supervisor.launch import run_and_wait\n"
    "sys.exit(run_and_wait(JobStore.from_url(sys.argv[1]).get(sys.argv[2]), JobStore.from_url(sys.argv[1])))"
)


def foreground(job: SupervisedJob, **options: object) -> "subprocess.Popen[bytes]":
    """Run a job in the foreground of another process."""
    command = [sys.executable, "-c", RUN, job.server.url, job.id]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **(pipes | options))


@pytest.mark.sampled
@pytest.mark.parametrize("is_ignored", [False, True])
@pytest.mark.parametrize(("script", "code"), [("exit 5", 5), ("kill -9 $$", 137), ("exit 0", 0)])
def test_the_foreground_copies_streams_and_exits_as_the_command_did(
    server: Server, jobs: list[SupervisedJob], script: str, code: int, is_ignored: bool
) -> None:
    jobs.append(SupervisedJob(server, ["sh", "-c", f"cat; echo err >&2; {script}"]))
    action = signal.SIG_IGN if is_ignored else signal.SIG_DFL
    with foreground(jobs[0], preexec_fn=setting(signal.SIGCHLD, action)) as process:
        out, err = process.communicate(b"given\n", timeout=30)
    assert (process.returncode, out, err) == (code, b"given\n", b"err\n")
    assert jobs[0].read().is_final


def setting(number: signal.Signals, action: signal.Handlers) -> Callable[[], object]:
    """What sets a signal's disposition in a process that is started."""
    return lambda: signal.signal(number, action)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(
    server: Server, jobs: list[SupervisedJob], number: signal.Signals
) -> None:
    jobs.append(SupervisedJob(server, ["sh", "-c", "echo ready; read line; exit 3"]))
    with foreground(jobs[0], preexec_fn=setting(number, signal.SIG_IGN)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        process.communicate(b"go on\n", timeout=60)
    assert process.returncode == 3
    assert jobs[0].read().status == "error"


def test_ctrl_c_in_the_foreground_kills_the_job(server: Server, jobs: list[SupervisedJob]) -> None:
    jobs.append(SupervisedJob(server, ["sh", "-c", "echo ready; sleep 600"]))
    with foreground(jobs[0], preexec_fn=setting(signal.SIGINT, signal.SIG_DFL)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert jobs[0].read().status == "killed"
    assert jobs[0].alive() == []


def test_a_supervisor_that_dies_in_the_foreground_is_told(
    sleeper: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[str] = []

    def wait() -> None:
        try:
            run_and_wait(sleeper.read(), echo=False)
        except LaunchError as error:
            failures.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    os.kill(sleeper.wait_for("running").supervisor_pid or 0, signal.SIGKILL)
    waiting.join(20)
    assert "ended without a report" in failures[0]


def test_the_python_beside_an_embedding_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = str(Path(sys.prefix, "bin", "python3"))
    assert launching.python_executable() == sys.executable
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    assert launching.python_executable() == expected


StartInstead = Callable[[str], list["subprocess.Popen[bytes]"]]


@pytest.fixture
def start_instead(monkeypatch: pytest.MonkeyPatch) -> StartInstead:
    """Has something else started where a supervisor is; gives what was started."""
    started = list[subprocess.Popen[bytes]]()
    start = launching._start

    def note(*options: Any) -> "subprocess.Popen[bytes]":
        started.append(start(*options))
        return started[-1]

    def instead(script: str) -> list["subprocess.Popen[bytes]"]:
        monkeypatch.setattr(launching, "_start", note)
        monkeypatch.setattr(launching, "supervisor_command", lambda: ["sh", "-c", script])
        return started

    return instead


@pytest.mark.parametrize(
    "command", ["yes >&2", "sleep 100"], ids=["says too much", "never says that it runs"]
)
def test_whoever_holds_a_new_supervisors_reports_keeps_nobody(
    start_instead: StartInstead, command: str
) -> None:
    """As a process of its account can, also where an agent starts it."""
    started = start_instead(f"exec {command}")
    with pytest.raises(LaunchError, match="could not be started"):
        launching.spawn(os.environ, within=0.2)
    assert started[0].poll() == -signal.SIGKILL


def test_what_a_supervisor_has_started_begins_no_job_after_the_launcher_was_told(
    start_instead: StartInstead, tmp_path: Path
) -> None:
    start_instead(f"sleep 1000 & echo $! >{tmp_path}/pid")
    with pytest.raises(LaunchError, match="could not be started"):
        launching.spawn(os.environ, within=0.2)
    second = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_alive(second))


def test_a_supervisor_that_is_stopped_when_it_runs_keeps_nobody(start_instead: StartInstead) -> None:
    """Each keeps one of the few places of an agent until it is done."""
    started = start_instead("echo ready $$ >&2; exec sleep 1000")
    spawned = launching.spawn(os.environ, within=0.5)
    spawned.reports.close()
    assert started[0].poll() is None
    started[0].kill()
    started[0].wait()
