"""Starting a supervisor as a process that nobody has to wait for."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gnjobs.errors import LaunchError
from gnjobs.supervisor.private_environment import ECHO
from gnjobs.supervisor.reports import READY, REPORT_FD
from gnjobs.supervisor.setup import holding_stop_signals


class Spawned(NamedTuple):
    """A supervisor that runs: its pid, and the stream on which it reports the end of its job."""

    pid: int
    reports: BinaryIO


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


def spawn(environment: Mapping[str, str], *, foreground: bool = False, echo: bool = False) -> Spawned:
    """Start a supervisor that detaches itself (a double fork), and return when it has.

    In the `foreground` it keeps our standard streams, copies the job's output to them (`echo`), and reports
    the job's end; otherwise it has no streams and reports nothing more. Raises `LaunchError`.
    """
    read_end, write_end = os.pipe()
    reports = os.fdopen(read_end, "rb")
    try:
        with holding_stop_signals():
            process = _start(environment, write_end, foreground, echo)
    except OSError as problem:
        reports.close()
        raise LaunchError(f"the supervisor could not be started: {problem.strerror}") from problem
    finally:
        os.close(write_end)
    said = _read_until_ready(reports)
    process.wait()
    if not said.startswith(READY):
        reports.close()
        raise LaunchError(f"the supervisor could not be started: {last_line(said) or 'it ended at once'}")
    return Spawned(int(said.split()[1]), reports)


def _start(
    environment: Mapping[str, str], report_fd: int, foreground: bool, echo: bool
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
        supervisor_command(),
        env={**environment, REPORT_FD: "2"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=report_fd,
        start_new_session=True,
    )


def _read_until_ready(reports: BinaryIO) -> bytes:
    """Read what the new process says up to its word that it runs, or all of it when that word never comes."""
    said = b""
    for line in reports:
        if line.startswith(READY):
            return line
        said += line
    return said


def last_line(text: bytes) -> str:
    """The last line that says something: of a traceback, the error itself."""
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
