"""What `/proc` tells of one process."""

import errno
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from gnjobs.text import mask_secrets

_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
ENDED_STATES: Final = frozenset("ZX")
STOPPED_STATES: Final = frozenset("Tt")
_LONGEST_COMMAND = 400
_LONGEST_MASKED = 4096
_LONGEST_LINE = 65536


def shows_our_processes() -> bool:
    """Whether `/proc` counts processes as we do: there may be none, or that of another pid namespace."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def process_start(pid: int) -> int | None:
    """Read field 22 of `/proc/<pid>/stat`, ticks since the machine started; None where there is no such process.

    A pid and this number together name a process for as long as the machine runs: a reused pid has another one.
    """
    fields = _read_stat(f"/proc/{pid}/stat")
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None


class TableEntry(NamedTuple):
    """One process: `started` in ticks since boot, `session` the pid of its session's leader."""

    pid: int
    parent: int
    session: int
    started: int
    state: str


def read_entry(pid: int) -> TableEntry | None:
    """Read `/proc/<pid>/stat`; None where there is no such process.

    A process whose first thread has ended looks like a zombie there while its other threads run: its state is theirs.
    """
    fields = _read_stat(f"/proc/{pid}/stat")
    if len(fields) < 20:
        return None
    state = fields[0].decode()
    if state in ENDED_STATES and int(fields[17]) > 1:
        state = next(_living_threads(pid), ("", "R"))[1]
    return TableEntry(pid, int(fields[1]), int(fields[3]), int(fields[19]), state)


def _read_stat(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().rpartition(b")")[2].split()  # the name before it may hold spaces and brackets
    except OSError as error:
        return _nothing_of(error)


def _nothing_of(error: OSError) -> list[Any]:
    """An empty list for a process that is gone or hidden; raises where we ran out of descriptors or memory."""
    if error.errno in _NO_ROOM:
        raise error
    return []


def _living_threads(pid: int) -> Iterator[tuple[str, str]]:
    """Folder and state of each thread that has not ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in reversed(threads):  # what was started last ends last
        fields = _read_stat(f"/proc/{pid}/task/{thread}/stat")
        if fields and (state := fields[0].decode()) not in ENDED_STATES:
            yield f"/proc/{pid}/task/{thread}", state


def list_pids() -> list[int]:
    """The pid of every process, as far as it is shown to us."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def ended_children() -> set[tuple[int, int]]:
    """Pid and start of each child of ours that has ended and that nobody has waited for."""
    entries = (read_entry(pid) for pid in list_pids())
    ours = (each for each in entries if each is not None and each.parent == os.getpid())
    return {(each.pid, each.started) for each in ours if each.state in ENDED_STATES}


def concealed_children() -> list[int]:
    """The pids of our children that live though `/proc` does not show them to us (`hidepid`)."""
    try:
        threads = os.listdir("/proc/self/task")
        listed = b" ".join(_read_or_nothing(f"/proc/self/task/{each}/children", -1) for each in threads)
    except OSError:
        return []
    return [pid for pid in map(int, listed.split()) if read_entry(pid) is None and _is_living_child(pid)]


def _is_living_child(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def newest_pid() -> int:
    """The pid, or the id of a thread, that was given last; 0 where that is not told."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def is_thread(pid: int) -> bool:
    """Whether this is the id of a thread that lives, and not that of its process."""
    return _status_numbers(pid, b"Tgid:") not in ([], [pid])


def read_environment(pid: int, most: int) -> bytes | None:
    """The first bytes of a process's environment, `most` at most; None where neither it nor its command is shown.

    Nothing is shown of what is about to run another program, or starts one thread after the other and ends each.
    """
    environ = _read_or_nothing(f"/proc/{pid}/environ", most)
    if not environ:
        folder = folder_of_memory(pid)
        if folder is None:
            return b""
        command = _read_or_nothing(f"{folder}/cmdline", _LONGEST_LINE)
        environ = _read_or_nothing(f"{folder}/environ", most)
        if not (command or environ):
            return None
    return environ


def folder_of_memory(pid: int) -> str | None:
    """Where the memory of a process is shown: by another thread where the first has ended; None where it has none."""
    fields = _read_stat(f"/proc/{pid}/stat")
    if len(fields) < 21:
        return None
    if fields[0].decode() not in ENDED_STATES:
        return None if fields[20] == b"0" else f"/proc/{pid}"
    folder, _ = next(_living_threads(pid), (f"/proc/{pid}", ""))
    return folder if int(fields[17]) > 1 else None


def _read_or_nothing(path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except (ProcessLookupError, FileNotFoundError):
        return b""


def read_command_line(pid: int) -> bytes:
    """A process's command line, a NUL between its words; a kernel thread and a zombie have none."""
    try:
        line = _read_or_nothing(f"/proc/{pid}/cmdline", _LONGEST_LINE)
        if not line and (folder := folder_of_memory(pid)):
            line = _read_or_nothing(f"{folder}/cmdline", _LONGEST_LINE)
    except OSError:
        return b""
    return line.rstrip(b"\0")


def read_command(pid: int) -> list[str]:
    """The words of a process's command line, what is not UTF-8 replaced."""
    return words_of(read_command_line(pid))


def words_of(line: bytes) -> list[str]:
    """The words of a command line that was read."""
    return [word.decode("utf-8", "replace") for word in line.split(b"\0") if word]


def command_text(pid: int) -> str:
    """A process's command line without passwords, cut to a readable length: masking much of it would take long."""
    return mask_secrets(" ".join(words_of(read_command_line(pid)[:_LONGEST_MASKED])))[:_LONGEST_COMMAND]


def owners_of(pid: int) -> tuple[int, ...]:
    """The user ids of a process: effective, real, saved, of the file system; empty when it is gone.

    The owner of its files in `/proc` is no answer: those of a process that forbids looking into it are root's.
    """
    return _effective_first(_status_numbers(pid, b"Uid:"))


def groups_of(pid: int) -> tuple[int, ...]:
    """The group ids of a process, in the order of `owners_of`, without its supplementary ones."""
    return _effective_first(_status_numbers(pid, b"Gid:"))


def _effective_first(numbers: list[int]) -> tuple[int, ...]:
    return (numbers[1], numbers[0], *numbers[2:]) if numbers else ()


def inner_pid(pid: int) -> int | None:
    """The pid of a process in its own pid namespace, where that is another one than ours."""
    numbers = _status_numbers(pid, b"NSpid:")
    return numbers[-1] if len(numbers) > 1 else None


def _status_numbers(pid: int, name: bytes) -> list[int]:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            line = next((line for line in file if line.startswith(name)), b"")
    except OSError as error:
        return _nothing_of(error)
    return [int(word) for word in line.split()[1:]]
