"""Starting the supervisor of a job: detached, in a systemd unit, by an agent, or to wait for its end."""

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from io import RawIOBase
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from redis.exceptions import RedisError

from gnjobs.errors import LaunchError
from gnjobs.processes.host import host_name, own_account, pid_namespace
from gnjobs.records.connection import connect
from gnjobs.records.environment import ENV_PREFIX, ENV_URL
from gnjobs.records.keys import DEFAULT_PREFIX, Keys
from gnjobs.records.reading import Records
from gnjobs.records.requests import ControlRequest, read_answers, send_request
from gnjobs.records.scripts import Run, set_fields
from gnjobs.supervisor.setup import (
    ECHO,
    ENDED,
    READY,
    REPORT_FD,
    START_SECONDS,
    digest_of,
    for_supervisor,
    holding_stop_signals,
    read_until_ready,
)
from gnjobs.text import DEFAULT_URL, last_line

if TYPE_CHECKING:
    from gnjobs.records.fields import Job

_MOST_REMEMBERED = 1000
_lock = threading.Lock()


class Origin(NamedTuple):
    """A server's URL and the prefix of the keys there."""

    url: str
    prefix: str

    def __repr__(self) -> str:
        return f"Origin(prefix={self.prefix!r})"


# By id and when it was created: another prefix may have the same id.
_origins: dict[tuple[str, str], Origin] = {}


def remember_origin(job: "Job", url: str, prefix: str) -> None:
    """Remember where a job was created; the oldest are forgotten beyond a thousand."""
    with _lock:
        _origins[job.id, job.run] = Origin(url, prefix)
        if len(_origins) > _MOST_REMEMBERED:
            del _origins[next(iter(_origins))]


def origin_of(job: "Job") -> Origin:
    """Where this process created the job, else where the environment says, else the default."""
    with _lock:
        known = _origins.get((job.id, job.run))
    if known is not None:
        return known
    return Origin(os.environ.get(ENV_URL, DEFAULT_URL), os.environ.get(ENV_PREFIX, DEFAULT_PREFIX))


class Spawned(NamedTuple):
    """A supervisor that runs: its pid, and the stream on which it reports the end of its job."""

    pid: int
    reports: RawIOBase


def supervisor_command() -> list[str]:
    """The command that runs a supervisor; the job is named in its environment.

    `-P`: the working directory, which may hold anything, is no place to import from.
    """
    return [python_executable(), "-P", "-m", "gnjobs.supervisor"]


def python_executable() -> str:
    """The Python of this process, also where a web server embeds it and `sys.executable` is that server."""
    name = os.path.basename(sys.executable or "")
    if name.startswith("python"):
        return sys.executable
    beside = Path(sys.prefix, "bin", "python3")
    return str(beside) if beside.exists() else shutil.which("python3") or "python3"


def spawn(
    environment: Mapping[str, str],
    *,
    foreground: bool = False,
    echo: bool = False,
    begin: Sequence[str] = (),
    directory: str | None = None,
    within: float = START_SECONDS,
) -> Spawned:
    """Start a supervisor that detaches itself (a double fork), and return when it has.

    `begin` are words that make it another account's, which enters its directory itself. In the `foreground` it keeps
    our standard streams, copies the job's output to them (`echo`), and reports the job's end; otherwise it has no
    streams and reports nothing more. Raises `LaunchError`, also where it takes longer than `within` seconds.
    """
    until = time.monotonic() + within
    read_end, write_end = os.pipe()
    reports = os.fdopen(read_end, "rb", buffering=0)
    try:
        with holding_stop_signals():
            process = _start(environment, write_end, foreground, echo, begin, directory)
    except OSError as problem:
        reports.close()
        raise LaunchError(f"the supervisor could not be started: {problem.strerror}") from problem
    finally:
        os.close(write_end)
    said = read_until_ready(reports, until)
    if not said.startswith(READY):
        # With what it has started, which others of its account may hold.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # others of its account can stop it
        process.wait(max(1.0, until - time.monotonic()))
    if not said.startswith(READY):
        reports.close()
        why = last_line(said.decode("utf-8", "replace")) or "it ended at once"
        raise LaunchError(f"the supervisor could not be started: {why}")
    return Spawned(int(said.split()[1]), reports)


def _start(
    environment: Mapping[str, str],
    report_fd: int,
    foreground: bool,
    echo: bool,
    begin: Sequence[str],
    directory: str | None,
) -> "subprocess.Popen[bytes]":
    if foreground:
        extra = {REPORT_FD: str(report_fd)} | ({ECHO: "1"} if echo else {})
        stdin = subprocess.DEVNULL if os.isatty(0) else None
        return subprocess.Popen(
            supervisor_command(),
            env={**environment, **extra},
            stdin=stdin,
            pass_fds=(report_fd,),
            start_new_session=True,
        )
    return subprocess.Popen(
        [*begin, *supervisor_command()],
        env={**environment, REPORT_FD: "2"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=report_fd,
        start_new_session=True,
        cwd=directory,
    )


_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def passing_signals_to(pid: int) -> Iterator[None]:
    """Send SIGINT, SIGTERM and SIGHUP on to the process; does nothing outside the main thread.

    One that is ignored stays ignored: `nohup` and a script's background ask for that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    heeded = [number for number in _PASSED_ON if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Via = Literal["detach", "systemd", "agent", "slurm"]

_SYSTEMD_SECONDS = 30.0
_OF_A_UNIT = frozenset({"INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "MAINPID", "WATCHDOG_PID"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Longer than an agent lets a start wait and gives it, together: see `control.starts`.
_AGENT_SECONDS = 20.0
_NOTE_SECONDS = 1.0
_log = logging.getLogger("gnjobs")


def launch(
    job: "Job",
    via: Via = "detach",
    store: Records | None = None,
    *,
    options: Sequence[str] = (),
    host: str | None = None,
) -> None:
    """Start the job's supervisor and return at once; nobody has to wait for it.

    `detach` makes it a process of its own on this host, `systemd` a unit of the user's manager, `agent` asks
    the agent of `host`, by default this one, to start it, and `slurm` submits it with `options` for `sbatch`, such as
    `--mem=16G`. `store` says where the job is; by default it is where this process created it, or where the environment
    says. What runs is the command of `job` as it is given here: a supervisor whose record says something else starts
    nothing. Raises `LaunchError`, and `ValueError` for any other `via`.
    """
    if via not in get_args(Via):
        raise ValueError(f"via is {' or '.join(map(repr, get_args(Via)))}, not {via!r:.100}")
    if (options and via != "slurm") or (host is not None and via != "agent"):
        raise LaunchError("options are for via='slurm', and a host for via='agent'")
    url, prefix = _origin(job, store)
    if via == "agent":
        _ask_agent(job, url, prefix, host or host_name())
        return
    if via == "slurm":
        _launch_in_slurm(job, url, prefix, options)
        return
    note_launch(job, url, prefix)
    environment = for_supervisor(os.environ, url, prefix, job)
    if via == "detach":
        _warn_inside_a_unit()
        spawn(environment).reports.close()
    else:
        _launch_in_a_unit(job.id, environment)


def _launch_in_slurm(job: "Job", url: str, prefix: str, options: Sequence[str]) -> None:
    from gnjobs.supervisor import slurm  # only for those who need it: see start-up times

    slurm.check_options(options)
    note_launch(job, url, prefix, {"queue-reason": slurm.SUBMITTING})
    environment = for_supervisor(os.environ, url, prefix, job)
    with connect(url, reply_timeout=_NOTE_SECONDS, retries=0, socket_connect_timeout=_NOTE_SECONDS) as client:
        records = Records(client, Keys(prefix), url)
        slurm.submit_supervisor(records, job, supervisor_command(), environment, options)


def run_and_wait(job: "Job", store: Records | None = None, *, echo: bool = True) -> int:
    """Run the job, copy its output to ours, and return its exit code, or 128 + the signal that ended it.

    SIGINT, SIGTERM and SIGHUP (in the main thread, unless ignored) are passed on: each is a verified kill of the
    job, and a second one leaves it no more time. Raises `LaunchError`, also when the supervisor ends without a report.
    """
    url, prefix = _origin(job, store)
    note_launch(job, url, prefix)
    environment = for_supervisor(os.environ, url, prefix, job)
    spawned = spawn(environment, foreground=True, echo=echo)
    with spawned.reports, passing_signals_to(spawned.pid):
        said = spawned.reports.readline().split()
    if said[:1] != [ENDED]:
        raise LaunchError(
            "the supervisor ended without a report; see `gnjobs show` for what became of the job"
        )
    return int(said[1])


def _origin(job: "Job", store: Records | None) -> tuple[str, str]:
    return (store.url, store.keys.prefix) if store is not None else origin_of(job)


def note_launch(job: "Job", url: str, prefix: str, more: Mapping[str, str] | None = None) -> None:
    """Write where the job is launched, so that its host can tell when its supervisor died before it claimed the job.

    A Redis that is away is no reason not to launch: the supervisor waits for it.
    """
    client = connect(url, reply_timeout=_NOTE_SECONDS, retries=0, socket_connect_timeout=_NOTE_SECONDS)
    with client, contextlib.suppress(RedisError, ValueError):
        seconds, _ = client.time()
        where = {
            "launch-host": host_name(),
            "launch-namespace": pid_namespace() or "",
            "account": own_account(),
        }
        run = Run(Keys(prefix).job(job.id), job.run)
        set_fields(client, run.record, {"launched": seconds, **where, **(more or {})}, run)


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
        why = last_line(done.stderr.decode("utf-8", "replace")) or f"exit code {done.returncode}"
        raise LaunchError(f"systemd-run: {why}")


def _ask_agent(job: "Job", url: str, prefix: str, host: str) -> None:
    """Have the agent of a host start the supervisor; it says when it has."""
    keys = Keys(prefix)
    asked = ControlRequest("", "start", job.id, by=own_account(), origin=host_name(), digest=digest_of(job))
    try:
        with connect(url) as client:
            request_id = send_request(client, keys.host_starts(host), asked)
            limit = time.monotonic() + _AGENT_SECONDS
            for said in read_answers(client, keys.answers(job.id), request_id, lambda: limit):
                if said is not None and said.final:
                    if said.kind == "refused":
                        raise LaunchError(f"the agent of {host} did not start the job: {said.text}")
                    return
    except RedisError as problem:
        raise LaunchError(f"the agent of {host} could not be asked: {problem}") from problem
    raise LaunchError(
        f"no agent answered on {host} within {_AGENT_SECONDS:.0f} s: is `gnjobs agent` running?"
    )
