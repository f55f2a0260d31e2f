"""Where a process is in its code: its Python stack by py-spy, where that is installed, else what the kernel tells."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from tempfile import TemporaryFile
from typing import Final, NamedTuple

import msgspec

from gnjobs.processes.activity import read_wait, thread_ids
from gnjobs.processes.host import own_account
from gnjobs.processes.proc import groups_of, owners_of, process_start
from gnjobs.processes.seen import Found, SeenProcess
from gnjobs.processes.waits import Waits
from gnjobs.records.accounts import SUPER_USER, setpriv_ids
from gnjobs.text import safe_line

NOT_ALLOWED: Final = "may not look into it"
_MOST_PROCESSES: Final = 50
_SECONDS: Final = 20.0
_LONGEST: Final = 200_000  # characters: a process may call as deep as it likes
_MOST_THREADS: Final = 64
_MOST_PRINTED: Final = 8 << 20  # bytes
_NO_PYTHON: Final = ("find python version", "python interpreter")
_LONGEST_NAME: Final = 80
_ONLY_LOOKING: Final = "-all,+sys_ptrace"


class Frame(NamedTuple):
    """A function that a thread is in, the name of its file and the line, None where that varies."""

    function: str
    file: str
    line: int | None


class _ReadFrame(msgspec.Struct):
    name: str
    filename: str = ""
    line: int = 0


class _ReadThread(msgspec.Struct):
    thread_id: int
    active: bool = False
    frames: list[_ReadFrame] = []


_read_threads: Final = msgspec.json.Decoder(list[_ReadThread])


def python_frames(pid: int) -> Mapping[int, tuple[Frame, ...]]:
    """Where each thread of a Python process that runs is in its code, the outermost function first.

    By thread; empty where that can't be said.
    """
    program = _py_spy()
    if program is None or not _is_python(pid):
        return {}
    try:
        done = _run_py_spy(program, pid, "--json")
        threads = _read_threads.decode(done.stdout)
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError):
        return {}
    return {
        thread.thread_id: tuple(
            Frame(frame.name[:_LONGEST_NAME], os.path.basename(frame.filename)[:_LONGEST_NAME], frame.line)
            for frame in reversed(thread.frames)
        )
        for thread in threads
        if thread.active and thread.frames
    }


def _run_py_spy(program: str, pid: int, *options: str) -> "subprocess.CompletedProcess[bytes]":
    """Run py-spy on a process.

    It may print no more than we keep: names and depth of what it tells are the process's own.
    """
    with open(program, "rb") as file, TemporaryFile() as said, TemporaryFile() as wrong:
        # By its descriptor: its path may lead through what only we may enter.
        command = [f"/proc/self/fd/{file.fileno()}", "dump", "--nonblocking", *options, "--pid", str(pid)]
        with subprocess.Popen(
            [*_as_account_of(pid), *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=wrong,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            pass_fds=(file.fileno(),),
        ) as process:
            try:
                with contextlib.suppress(OSError):  # it may have ended
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_MOST_PRINTED, _MOST_PRINTED))
                process.wait(_SECONDS)
            finally:
                process.kill()
        said.seek(0)
        wrong.seek(0)
        told = said.read(_MOST_PRINTED), wrong.read(_MOST_PRINTED)
        return subprocess.CompletedProcess(command, process.returncode, *told)


def _as_account_of(pid: int) -> list[str]:
    """The words with which root runs a program with the rights of a process's account, which chose what it opens."""
    users, groups = owners_of(pid), groups_of(pid)
    if os.geteuid() != SUPER_USER or not users or not groups or users[1] == SUPER_USER:
        return []
    account = [*setpriv_ids(users[1], groups[1]), "--clear-groups"]
    return ["setpriv", *account, f"--inh-caps={_ONLY_LOOKING}", f"--ambient-caps={_ONLY_LOOKING}"]


def stacks_of(found: Found) -> str:
    """Say where each thread of these processes is, or why that can't be said; none is stopped for it."""
    return text_of_each(found, _stack)


def text_of_each(found: Found, tell: Callable[[SeenProcess], Sequence[str]]) -> str:
    """Say something of each process, of as many as there is time for: a heading that names it, and lines below."""
    until = time.monotonic() + _SECONDS
    in_time = takewhile(lambda _: time.monotonic() < until, found.processes[:_MOST_PROCESSES])
    told = [_told(process, tell) for process in in_time]
    left = len(found.processes) - len(told)
    told += [f"pid {pid}: {why}" for pid, why in found.hidden]
    if left:
        told.append(f"and {left} more processes")
    return "\n\n".join(told)[:_LONGEST] or "no process of it was found"


def _told(process: SeenProcess, tell: Callable[[SeenProcess], Sequence[str]]) -> str:
    """What is said of a process, unless another one has had its pid before that was said."""
    heading = f"pid {process.pid}: {safe_line(process.command) or 'no command line'}"
    said = "\n".join((heading, *(f"  {line}" for line in tell(process))))
    return said if process_start(process.pid) == process.started else f"pid {process.pid}: it is gone"


def _stack(process: SeenProcess) -> Sequence[str]:
    if not _may_inspect(process.pid):
        return [not_allowed(process)]
    return _python_stack(process.pid) or _kernel_lines(process.pid)


def not_allowed(process: SeenProcess) -> str:
    """Say that we may not look into a process."""
    return f"it belongs to {process.account or 'another account'}, and {own_account()} {NOT_ALLOWED}"


def _may_inspect(pid: int) -> bool:
    """Whether the kernel lets us look into a process: its memory map is open to whoever may trace it."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            file.read(1)
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _python_stack(pid: int) -> list[str]:
    """What py-spy says of a Python process; nothing of any other."""
    program = _py_spy()
    if program is None:
        if not _is_python(pid):
            return []
        return ["for its Python stack, install gnjobs[stack] where this runs", *_kernel_lines(pid)]
    try:
        done = _run_py_spy(program, pid)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"py-spy failed: {error}", *_kernel_lines(pid)]
    if done.returncode == 0:
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        return [line for line in lines if line and not line.startswith("Process ")]
    words = done.stderr.decode("utf-8", "replace").strip()
    if not _is_python(pid) or any(each in words for each in _NO_PYTHON):
        return []
    return [f"py-spy failed: {words.splitlines()[0] if words else done.returncode}", *_kernel_lines(pid)]


def _py_spy() -> str | None:
    return shutil.which(
        "py-spy", path=os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", "")))
    )


def _is_python(pid: int) -> bool:
    try:
        return "python" in os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False


def _kernel_lines(pid: int) -> list[str]:
    """What the kernel tells of a process: where it waits, thread by thread."""
    words = Waits((SeenProcess(pid, 0),)).words(pid)
    said = [*([] if _is_python(pid) else ["no Python"]), *([f"it {words}"] if words else [])]
    return [*(["; ".join(said)] if said else []), *_thread_lines(pid)]


def _thread_lines(pid: int) -> Iterator[str]:
    for thread in thread_ids(pid)[:_MOST_THREADS]:
        wait = read_wait(pid, thread)
        if wait is None:
            yield f"thread {thread}: running"
        else:
            where = f" ({wait.channel})" if wait.channel else ""
            yield f"thread {thread}: in {wait.call or 'an unknown system call'}{where}"
        try:
            with open(f"/proc/{pid}/task/{thread}/stack", encoding="ascii") as file:
                yield from (f"    {line.partition('] ')[2].strip()}" for line in file)
        except OSError:
            continue
