"""Starting the command of a job: in a session of its own, with its pipes in our hands."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

from gnjobs.records.environment import ENV_LINES_FD, ENV_LINES_PIPE, pipe_identity

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class StartedCommand(NamedTuple):
    """A command that runs, and the read ends of its three pipes."""

    process: "subprocess.Popen[bytes]"
    out: int
    err: int
    structured: int


class FailedStart(NamedTuple):
    """Why a command did not start, with the exit code that a shell would give."""

    exit_code: int
    error: str


def start_command(
    words: Sequence[str], cwd: str | None, environment: Mapping[str, str], stdin: int
) -> StartedCommand | FailedStart:
    """Start the command; `environment` is complete but for the descriptor of its structured lines."""
    if not words:
        return FailedStart(NOT_FOUND, "the job has no command")
    if cwd is not None and not os.path.isdir(cwd):
        return FailedStart(NOT_EXECUTABLE, f"the working directory {cwd} is not there")
    read_end, write_end = os.pipe()
    lines = {ENV_LINES_FD: str(write_end), ENV_LINES_PIPE: pipe_identity(write_end)}
    try:
        process = _start(words, cwd, {**environment, **lines}, stdin, write_end)
    except (OSError, ValueError) as problem:
        os.close(read_end)
        return _explain(words[0], problem)
    finally:
        os.close(write_end)
    assert process.stdout is not None
    assert process.stderr is not None
    return StartedCommand(process, _take(process.stdout), _take(process.stderr), read_end)


def _start(
    words: Sequence[str], cwd: str | None, environment: Mapping[str, str], stdin: int, inherited: int
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        words,
        bufsize=0,
        cwd=cwd,
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(inherited,),
        start_new_session=True,
    )


def _take(stream: IO[bytes]) -> int:
    """Take over a stream's descriptor, so that closing it is ours alone."""
    descriptor = os.dup(stream.fileno())
    stream.close()
    return descriptor


def _explain(command: str, problem: OSError | ValueError) -> FailedStart:
    if isinstance(problem, FileNotFoundError):
        return FailedStart(NOT_FOUND, f"{command}: command not found")
    reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return FailedStart(NOT_EXECUTABLE, f"{command}: can't be run: {reason}")
