"""What a supervisor does to its own process first, so that nothing inherited from its starter matters."""

import contextlib
import ctypes
import gc
import hashlib
import os
import select
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from io import RawIOBase
from typing import TYPE_CHECKING, NamedTuple

from gnjobs.records import values
from gnjobs.records.environment import (
    ENV_ASKED,
    ENV_CHILD,
    ENV_CREATED,
    ENV_DIRECTORY,
    ENV_IN_SLURM,
    ENV_JOB,
    ENV_LINES_FD,
    ENV_LINES_PIPE,
    ENV_MARK,
    ENV_OWNER,
    ENV_PREFIX,
    ENV_SLURM_JOB,
    ENV_URL,
)
from gnjobs.records.keys import DEFAULT_PREFIX
from gnjobs.text import DEFAULT_URL

if TYPE_CHECKING:
    from gnjobs.records.fields import Job

_PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ERRORS_INSTEAD = (signal.SIGPIPE, signal.SIGXFSZ)


def reset_signals() -> None:
    """Give every signal its default action; a closed pipe stays an error rather than our end.

    Those that tell us to stop are held back until `hear_stop_signals`: the job must be told of them. A web server
    may ignore SIGCHLD, and then the exit code of every process below it would read 0.
    """
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    for number in _ERRORS_INSTEAD:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, STOP_SIGNALS)


def hear_stop_signals() -> None:
    """Block no signal any more: somebody listens."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


@contextlib.contextmanager
def holding_stop_signals() -> Iterator[None]:
    """Start processes that are told to stop only when they listen: they inherit what this thread blocks."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def become_subreaper() -> bool:
    """Make this process the parent of every orphan below it, so that what a job daemonises is still its own.

    Returns False where the system has no such thing (only Linux does).
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def release_memory() -> None:
    """Give back what the imports needed only while they ran: about a quarter of the process."""
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def silence(*descriptors: int) -> None:
    """Point descriptors at `/dev/null`, so that readers of their other ends see them closed."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


REPORT_FD = "GNJOBS_REPORT_FD"
READY = b"ready"
ENDED = b"ended"
START_SECONDS = 60.0
_MOST_SAID = 64 * 1024

_STDERR = 2


def read_until_ready(reports: RawIOBase, until: float) -> bytes:
    """Read what a new supervisor says up to its word that it runs, or all of it where that never comes.

    No more than 64 kB, and not beyond `until` (monotonic): others of its account can write there, too.
    """
    said, start = bytearray(), 0
    poll = select.poll()
    poll.register(reports, select.POLLIN)
    while len(said) < _MOST_SAID and poll.poll(max(0.0, until - time.monotonic()) * 1000):
        byte = reports.read(1)
        if not byte:
            break
        said += byte
        if byte == b"\n":
            line, start = bytes(said[start:-1]), len(said)
            if line.startswith(READY):
                return line
    return bytes(said)


class ReportPipe:
    """The descriptor on which reports go; without one (under systemd, or by hand) nobody listens."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ReportPipe":
        """Take the descriptor that the starter named."""
        named = environment.get(REPORT_FD, "")
        return cls(int(named) if named.isascii() and named.isdigit() else None)

    def detach(self) -> None:
        """Go on as a process that nobody has to wait for, and report its pid."""
        if self._descriptor is None:
            return
        if os.fork():
            os._exit(0)
        self._write(b"%s %d\n" % (READY, os.getpid()))
        if self._descriptor == _STDERR:
            silence(0, 1, 2)
            self._descriptor = None
        else:
            os.set_inheritable(self._descriptor, False)

    def ended(self, shell_code: int) -> None:
        """Report the job's end, and let go of everything that the starter could still wait for."""
        if self._descriptor is None:
            return
        self._write(b"%s %d\n" % (ENDED, shell_code))
        os.close(self._descriptor)
        self._descriptor = None
        silence(0, 1, 2)

    def _write(self, report: bytes) -> None:
        assert self._descriptor is not None
        with contextlib.suppress(OSError):
            os.write(self._descriptor, report)


ECHO = "GNJOBS_ECHO"

_NOT_INHERITED = frozenset(
    {REPORT_FD, ECHO, ENV_LINES_FD, ENV_LINES_PIPE, ENV_CHILD, ENV_DIRECTORY, ENV_MARK, ENV_OWNER, ENV_ASKED}
    | {ENV_IN_SLURM, ENV_CREATED}
)


class Settings(NamedTuple):
    """What a supervisor is told by its environment; `slurm_job` is the job of Slurm's that it is, if it is one.

    `directory` is where a job begins whose record names none, if not where the supervisor does.
    """

    url: str
    prefix: str
    job_id: str
    is_foreground: bool = False
    echo: bool = False
    mark: str = ""
    asked: str = ""
    created: str = ""
    slurm_job: str | None = None
    directory: str | None = None

    def __repr__(self) -> str:
        return f"Settings(prefix={self.prefix!r}, job_id={self.job_id!r})"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises `KeyError` when no job is named."""
    return Settings(
        url=environment.get(ENV_URL, DEFAULT_URL),
        prefix=environment.get(ENV_PREFIX, DEFAULT_PREFIX),
        job_id=environment[ENV_JOB],
        is_foreground=environment.get(REPORT_FD, "2") != "2",
        echo=environment.get(ECHO) == "1",
        mark=environment.get(ENV_MARK) or uuid.uuid4().hex,
        asked=environment.get(ENV_ASKED, ""),
        created=environment.get(ENV_CREATED, ""),
        slurm_job=environment.get(ENV_SLURM_JOB) if environment.get(ENV_IN_SLURM) else None,
        directory=environment.get(ENV_DIRECTORY),
    )


def digest_of(job: "Job") -> str:
    """A digest of what decides what a job runs, where, and for whom: command, directory, owner, type, environment."""
    parts = [job.command, job.cwd, job.user, job.type, *([] if job.env is None else [job.env])]
    said = "\0".join(map(repr, parts))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def for_supervisor(outer: Mapping[str, str], url: str, prefix: str, job: "Job") -> dict[str, str]:
    """The environment of a supervisor: that of its starter, with this job's marks and nobody else's.

    The token is new each time. A digest says what the launcher asks for, even if the record changes before it is read.
    """
    asked = {ENV_ASKED: digest_of(job), ENV_MARK: uuid.uuid4().hex, ENV_CREATED: job.run}
    return _marked(outer, asked | _marks(url, prefix, job.id, job.user))


def _marks(url: str, prefix: str, job_id: str, owner: str | None) -> dict[str, str]:
    marks = {ENV_URL: url, ENV_PREFIX: prefix, ENV_JOB: job_id}
    return marks if owner is None else {**marks, ENV_OWNER: owner}


def _marked(outer: Mapping[str, str], marks: Mapping[str, str]) -> dict[str, str]:
    """An environment with these marks, which come first: of a long one no more may be read (`processes.table`)."""
    return {**marks, **{name: value for name, value in outer.items() if name not in _NOT_INHERITED}, **marks}


def for_command(outer: Mapping[str, str], settings: Settings, job: "Job") -> dict[str, str]:
    """The environment of a job's command, in which Python does not buffer what it prints."""
    given = {"PYTHONUNBUFFERED": "1", **outer, **(values.json(job.env, dict[str, str]) or {})}
    run = {ENV_MARK: settings.mark, ENV_CREATED: job.run}
    return _marked(given, run | _marks(settings.url, settings.prefix, settings.job_id, job.user))
