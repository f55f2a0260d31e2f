"""The job's command: how it is started, its main process while it runs, and its pipes."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gnjobs.outputs.writer import OutputWriter
from gnjobs.processes.proc import process_start
from gnjobs.records import values
from gnjobs.records.environment import ENV_LINES_FD, ENV_LINES_PIPE, pipe_identity
from gnjobs.records.fields import Job
from gnjobs.records.values import encode_text
from gnjobs.supervisor.pipes import PipePump, StructuredFeed, TextFeed
from gnjobs.supervisor.setup import Settings, for_command, silence
from gnjobs.supervisor.wakeups import Exit

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class FailedStart(NamedTuple):
    """Why a command did not start, with the exit code that a shell would give."""

    exit_code: int
    error: str


class Pipes(NamedTuple):
    """The ends of a command's three pipes: those that it writes to, or those that are read."""

    out: int
    err: int
    structured: int


def start_command(
    words: Sequence[str], cwd: str | None, environment: Mapping[str, str], stdin: int, pipes: Pipes
) -> "subprocess.Popen[bytes] | FailedStart":
    """Start the command; `environment` is complete but for the descriptor of its structured lines."""
    if not words:
        return FailedStart(NOT_FOUND, "the job has no command")
    if cwd is not None and not os.path.isdir(cwd):
        return FailedStart(NOT_EXECUTABLE, f"the working directory {cwd} is not there")
    lines = {ENV_LINES_FD: str(pipes.structured), ENV_LINES_PIPE: pipe_identity(pipes.structured)}
    try:
        return subprocess.Popen(
            words,
            cwd=cwd,
            env={**environment, **lines},
            stdin=stdin,
            stdout=pipes.out,
            stderr=pipes.err,
            pass_fds=(pipes.structured,),
            start_new_session=True,
        )
    except (OSError, ValueError) as problem:
        return _explain(words[0], problem)


def _explain(command: str, problem: OSError | ValueError) -> FailedStart:
    if isinstance(problem, FileNotFoundError):
        return FailedStart(NOT_FOUND, f"{command}: command not found")
    reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return FailedStart(NOT_EXECUTABLE, f"{command}: can't be run: {reason}")


DRAIN_SECONDS = 1.0


class RunningCommand:
    """The command of one job; its main process is reaped elsewhere, which `ended` is told."""

    def __init__(self, output: OutputWriter) -> None:
        self._output = output
        self._structured = StructuredFeed(output)
        self._out: TextFeed | None = None
        self._err: TextFeed | None = None
        self._pump: PipePump | None = None
        self._pipes: Pipes | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.exit: Exit | None = None
        self.failure: FailedStart | None = None

    @property
    def pid(self) -> int | None:
        """The main process's pid; None when it did not start."""
        return None if self._process is None else self._process.pid

    @property
    def fields(self) -> dict[str, int]:
        """The fields of the record that identify the main process."""
        if self.pid is None:
            return {}
        started = process_start(self.pid)
        return {"pid": self.pid} | ({} if started is None else {"process-started": started})

    @property
    def faults(self) -> int:
        """How many faults in the data the job's own code reported."""
        return self._structured.faults

    @property
    def last_words(self) -> str:
        """The last line on its standard error that says something."""
        return "" if self._err is None else self._err.last_words.decode("utf-8", "replace").strip()

    def begin(self, echo: bool) -> None:
        """Read three pipes from now on, which the command is to write to; `echo` copies what it prints."""
        read, self._pipes = (Pipes(*ends) for ends in zip(*(os.pipe() for _ in Pipes._fields), strict=True))
        echo_out, echo_err = (1, 2) if echo else (None, None)
        self._out = TextFeed(self._output, "out", echo_out)
        self._err = TextFeed(self._output, "err", echo_err)
        self._pump = PipePump({read.out: self._out, read.err: self._err, read.structured: self._structured})
        self._pump.start()

    def start(self, job: Job, settings: Settings) -> None:
        """Start it, after `begin`; a command that can't be started has `failure` and `exit` at once."""
        words = values.command_words(job.command)
        environment = for_command(os.environ, settings, job)
        stdin = 0 if settings.is_foreground else subprocess.DEVNULL
        pipes, self._pipes = self._pipes, None
        assert pipes is not None, "begin comes first"
        started = start_command(words, job.cwd or settings.directory, environment, stdin, pipes)
        if isinstance(started, FailedStart):
            self.failure = started
            self.exit = Exit(exit_code=started.exit_code)
            os.write(pipes.err, encode_text(started.error) + b"\n")
        else:
            self._process = started
        for descriptor in pipes:
            os.close(descriptor)
        if settings.is_foreground:
            silence(0)
        if self.failure is not None:
            self.finish_pipes()

    def ended(self, how: Exit) -> None:
        """Take how the main process ended."""
        self.exit = how
        if self._process is not None:
            self._process.returncode = how.shell_code

    def wait_for_no_reader(self) -> None:
        """Let nobody who reads the command's output along keep it from its end."""
        for feed in (self._out, self._err):
            if feed is not None:
                feed.wait_for_no_reader()

    def drain(self) -> None:
        """Read its pipes until they end, for a second at most."""
        if self._pump is not None:
            self._pump.wait_for_end(DRAIN_SECONDS)

    def finish_pipes(self) -> None:
        """Read what the pipes hold to the last line, also where somebody keeps them open."""
        if self._pump is not None and not self._pump.wait_for_end(DRAIN_SECONDS):
            self._pump.stop()
