"""Starting the supervisor of a job: detached, in a systemd unit, by an agent, or to wait for its end."""

import logging
import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Literal

from redis.exceptions import RedisError

from gnjobs.errors import LaunchError
from gnjobs.processes.host import host_name, login_name, pid_namespace
from gnjobs.records.connection import connect
from gnjobs.records.keys import Keys
from gnjobs.records.requests import ControlRequest, read_answers, send_request
from gnjobs.records.scripts import set_fields
from gnjobs.supervisor.origins import origin_of
from gnjobs.supervisor.private_environment import for_supervisor
from gnjobs.supervisor.reports import ENDED
from gnjobs.supervisor.signal_passing import passing_signals_to
from gnjobs.supervisor.spawning import last_line, spawn, supervisor_command

if TYPE_CHECKING:
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore

Via = Literal["detach", "systemd", "agent"]

_SYSTEMD_SECONDS = 30.0
_OF_A_UNIT = frozenset({"INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "MAINPID", "WATCHDOG_PID"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AGENT_SECONDS = 10.0
_NOTE_SECONDS = 1.0
_log = logging.getLogger("gnjobs")


def launch(job: "Job", via: Via = "detach", store: "JobStore | None" = None) -> None:
    """Start the job's supervisor and return at once; nobody has to wait for it.

    `detach` makes it a process of its own on this host, `systemd` a unit of the user's manager, `agent` asks
    the agent of this host to start it. `store` says where the job is; by default it is where this process
    created it, or where the environment says. Raises `LaunchError`.
    """
    url, prefix = _origin(job, store)
    if via != "agent":
        _note_launch(job.id, url, prefix)
    environment = for_supervisor(os.environ, url, prefix, job.id)
    if via == "detach":
        _warn_inside_a_unit()
        spawn(environment).reports.close()
    elif via == "systemd":
        _launch_in_a_unit(job.id, environment)
    else:
        _ask_agent(job.id, url, prefix)


def run_and_wait(job: "Job", store: "JobStore | None" = None, *, echo: bool = True) -> int:
    """Run the job, copy its output to ours, and return its exit code, or 128 + the signal that ended it.

    SIGINT, SIGTERM and SIGHUP (in the main thread) are passed on: each is a verified kill of the job, and a
    second one leaves it no more time. Raises `LaunchError`, also when the supervisor ends without a report.
    """
    url, prefix = _origin(job, store)
    _note_launch(job.id, url, prefix)
    environment = for_supervisor(os.environ, url, prefix, job.id)
    spawned = spawn(environment, foreground=True, echo=echo)
    with spawned.reports, passing_signals_to(spawned.pid):
        said = spawned.reports.readline().split()
    if said[:1] != [ENDED]:
        raise LaunchError(
            "the supervisor ended without a report; see `gnjobs show` for what became of the job"
        )
    return int(said[1])


def _origin(job: "Job", store: "JobStore | None") -> tuple[str, str]:
    return (store.url, store.keys.prefix) if store is not None else origin_of(job.id)


def _note_launch(job_id: str, url: str, prefix: str) -> None:
    """Write where the job is launched, so that its host can tell when its supervisor died before it claimed the job.

    A Redis that is away is no reason not to launch: the supervisor waits for it.
    """
    client = connect(url, reply_timeout=_NOTE_SECONDS, retries=0, socket_connect_timeout=_NOTE_SECONDS)
    try:
        seconds, _ = client.time()
        where = {"launch-host": host_name(), "launch-namespace": pid_namespace() or ""}
        set_fields(client, Keys(prefix).job(job_id), {"launched": seconds, **where})
    except (RedisError, ValueError):
        return
    finally:
        client.close()


def _warn_inside_a_unit() -> None:
    if "INVOCATION_ID" in os.environ:
        _log.warning(
            "this process belongs to a systemd unit: a restart of it kills the jobs that it started with "
            "via='detach'; use via='systemd' or via='agent'"
        )


def _launch_in_a_unit(job_id: str, environment: dict[str, str]) -> None:
    """Run the supervisor in a unit of its own; the values of variables do not show in argv."""
    names = sorted(name for name in environment if name not in _OF_A_UNIT and _VARIABLE.fullmatch(name))
    command = ["systemd-run", "--user", "--collect", "--quiet", "--unit", f"gnjobs-{job_id}"]
    command += ["--property=KillMode=mixed", f"--working-directory={os.getcwd()}"]
    command += [f"--setenv={name}" for name in names]
    try:
        done = subprocess.run(
            [*command, "--", *supervisor_command()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_SYSTEMD_SECONDS,
            check=False,
        )
    except OSError as problem:
        raise LaunchError(f"systemd-run could not be run: {problem.strerror}") from problem
    except subprocess.TimeoutExpired as problem:
        raise LaunchError(f"systemd-run gave no answer within {_SYSTEMD_SECONDS:.0f} s") from problem
    unknown = signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN  # then every exit code reads 0
    if done.returncode or (unknown and done.stderr.strip()):
        raise LaunchError(f"systemd-run: {last_line(done.stderr) or f'exit code {done.returncode}'}")


def _ask_agent(job_id: str, url: str, prefix: str) -> None:
    """Have the agent of this host start the supervisor; it says when it has."""
    host = host_name()
    stream = Keys(prefix).host_control(host)
    client = connect(url)
    try:
        request_id = send_request(
            client, stream, ControlRequest("", "start", job_id, by=login_name(), origin=host)
        )
        limit = time.monotonic() + _AGENT_SECONDS
        for said in read_answers(client, stream, request_id, lambda: limit):
            if said is not None and said.final:
                if said.kind == "refused":
                    raise LaunchError(f"the agent of {host} did not start the job: {said.text}")
                return
    except RedisError as problem:
        raise LaunchError(f"the agent of {host} could not be asked: {problem}") from problem
    finally:
        client.close()
    raise LaunchError(
        f"no agent answered on {host} within {_AGENT_SECONDS:.0f} s: is `gnjobs agent` running?"
    )
