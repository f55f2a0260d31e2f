"""What an idle process waits for, in words: the file, the other end of a pipe, a lock's holder, a peer's address."""

import contextlib
import os
import re
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Final

import msgspec

from gnjobs.processes.activity import Wait, read_wait, thread_ids
from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import SeenProcess
from gnjobs.processes.sockets import TcpSocket, local_peers, open_files, tcp_sockets
from gnjobs.text import encodable

INPUT: Final = 1  # POLLIN and EPOLLIN
_IDLE_SECONDS: Final = 5.0
_MOST_THREADS: Final = 32
_MOST_FILES: Final = 64
_MOST_HELD: Final = 20_000  # by all processes of a job
_MOST_LINES: Final = 20_000  # of a list of the kernel's, which any account can make long
_TELLING_SECONDS: Final = 1.0
_READS: Final = frozenset(("read", "readv", "pread64", "recvfrom", "recvmsg"))
_WRITES: Final = frozenset(
    ("write", "writev", "pwrite64", "sendto", "sendmsg", "sendfile", "fsync", "fdatasync")
)
_SET_LOCK_WAIT: Final = frozenset((7, 38))  # F_SETLKW, F_OFD_SETLKW
_TIMER: Final = "waits for its own timer"
_CHILD_ENDS: Final = frozenset(("wait4", "waitid"))
_PLAIN: Final = {
    "nanosleep": _TIMER,
    "clock_nanosleep": _TIMER,
    "wait4": "waits for the end of a child process",
    "waitid": "waits for the end of a child process",
    "pause": "waits for a signal",
    "rt_sigsuspend": "waits for a signal",
    "rt_sigtimedwait": "waits for a signal",
}
# From its beginning, since a file may have any name.
_PIPE_END: Final = re.compile(r"waits (?:for data from|to write to|for) a pipe to pid (\d+)")
_OWN_SOCKET: Final = "a local socket whose peer is its own"
_WRITERS: Final = "1"
_READERS: Final = "0"


class Waits:
    """Says what the idle ones of a job's processes wait for; the kernel's lists are read once."""

    def __init__(self, processes: Sequence[SeenProcess]) -> None:
        self._processes = processes
        self._child_of = {process.parent: process.pid for process in processes}

    def told(self, now: float) -> list[SeenProcess]:
        """The processes; those that have idled for some seconds `now` (unix seconds) with what they wait for.

        What was told of one before stays. All others have a second together; the rest is told the next time.
        """
        until = time.monotonic() + _TELLING_SECONDS
        return [
            self._told(process)
            if process.waits is None and _is_idle(process, now) and time.monotonic() < until
            else process
            for process in self._processes
        ]

    def words(self, pid: int) -> str | None:
        """What a process waits for, by its first thread or, where that waits for another one, by a telling one."""
        wait = self._telling_wait(pid)
        return None if wait is None else self._wait_words(pid, wait)

    def _telling_wait(self, pid: int) -> Wait | None:
        """What the first thread waits in, or, where that is another of its threads, what a telling one of them does."""
        waits = [
            wait for thread in thread_ids(pid)[:_MOST_THREADS] if (wait := read_wait(pid, thread)) is not None
        ]
        if waits and not waits[0].is_private_lock:
            return waits[0]
        return next((wait for wait in waits if self._is_telling(pid, wait)), waits[0] if waits else None)

    def _is_telling(self, pid: int, wait: Wait) -> bool:
        """Whether it waits for something outside of its process: a thread that is woken by another tells nothing."""
        if wait.is_private_lock or wait.call in _PLAIN:
            return False
        target = link_of(pid, wait.arguments[0]) if wait.call in _READS else ""
        return not target.startswith("pipe:") or set(self._ends(target, _WRITERS)) != {pid}

    def _told(self, process: SeenProcess) -> SeenProcess:
        """A process with what it waits for, unless another one has had its pid before that was read."""
        wait = self._telling_wait(process.pid)
        words = (self._wait_words(process.pid, wait) or "") if wait is not None else ""
        if wait is None or process_start(process.pid) != process.started:
            return process
        pipe = _PIPE_END.match(words)
        waits_for = (
            self._child_of.get(process.pid) if wait.call in _CHILD_ENDS else pipe and int(pipe.group(1))
        )
        return msgspec.structs.replace(process, waits=words or None, waits_for=waits_for)

    def _wait_words(self, pid: int, wait: Wait) -> str | None:
        number = wait.arguments[0] if wait.arguments else -1
        if wait.call in _PLAIN:
            return _PLAIN[wait.call]
        if wait.call == "futex":
            return f"waits for a lock {'of its own threads' if wait.is_private_lock else 'shared with other processes'}"
        if wait.call == "flock" or (wait.call == "fcntl" and wait.arguments[1] in _SET_LOCK_WAIT):
            return f"waits for a lock on {self._file(pid, number)}{self._holder(pid)}"
        if wait.call in _READS:
            return f"waits for data from {self._file(pid, number, _WRITERS)}"
        if wait.call in _WRITES:
            return f"waits to write to {self._file(pid, number, _READERS)}"
        if wait.call in ("accept", "accept4"):
            return "waits for somebody to connect"
        if wait.call == "ioctl":
            return f"waits for the driver of {self._file(pid, number)}"
        if wait.call == "connect":
            return f"waits for a connection to {self._file(pid, number)}"
        if wait.call in ("open", "openat"):
            return (
                "waits for another process to open the other end of a fifo"
                if "partner" in wait.channel
                else None
            )
        return self._any_of(pid, wait) or (f"in the kernel's {wait.channel}" if wait.channel else None)

    def _any_of(self, pid: int, wait: Wait) -> str | None:
        """What a process waits for that waits for several files at once."""
        numbers = list(polled(pid, wait))
        if not numbers:
            return _TIMER if wait.has_limit and "poll" in wait.channel else None
        names = list(dict.fromkeys(self._file(pid, number, _WRITERS) for number in numbers))
        told = [name for name in names if not name.startswith("anon_inode") and name != _OWN_SOCKET] or names
        return f"waits for {told[0]}" + (f" and {len(told) - 1} more" if len(told) > 1 else "")

    def _file(self, pid: int, number: int, other_end: str | None = None) -> str:
        """Name an open file; of a pipe also who holds its `other_end`, where that is one of the job's."""
        target = link_of(pid, number)
        if not target:
            return f"file {number}"
        kind, _, inode = target.partition(":[")
        if kind == "socket":
            return self._socket(pid, int(inode[:-1]))
        if kind == "pipe":
            holder = next((each for each in self._ends(target, other_end) if each != pid), None)
            return "a pipe" if holder is None else f"a pipe to pid {holder}"
        return str(encodable(target))

    def _socket(self, pid: int, inode: int) -> str:
        found = self._tcp.get(inode)
        if found is not None:
            return found.peer
        if inode not in self._peers:
            return "a socket"
        peer = f"socket:[{self._peers[inode]}]"
        is_own = any(each == pid for each, _ in self._holders.get(peer, ()))
        return _OWN_SOCKET if is_own else "a local socket"

    def _ends(self, pipe: str, mode: str | None) -> Iterator[int]:
        """The pids that hold an end of a pipe which is open for reading or writing."""
        return (pid for pid, number in self._holders.get(pipe, ()) if _is_open_for(pid, number, mode))

    def _holder(self, pid: int) -> str:
        """Who holds the lock that a process waits for."""
        blocked = next((lock for lock in self._locks if lock[1] == "->" and lock[5] == str(pid)), None)
        holders = (lock[4] for lock in self._locks if blocked and lock[0] == blocked[0] and lock[1] != "->")
        holder = next(holders, None)
        return f", held by pid {holder}" if holder and holder != "-1" else ""

    @cached_property
    def _holders(self) -> Mapping[str, Sequence[tuple[int, int]]]:
        """Which processes hold each pipe and socket, and under which numbers, as far as they are not too many."""
        found = defaultdict(list)
        files = ((each.pid, *file) for each in self._processes for file in open_files(each.pid))
        for pid, number, target in islice(files, _MOST_HELD):
            if target.startswith(("pipe:", "socket:")):
                found[target].append((pid, number))
        return found

    @cached_property
    def _locks(self) -> Sequence[Sequence[str]]:
        return [words for words in _words_in("/proc/locks") if len(words) >= 6]

    @cached_property
    def _tcp(self) -> Mapping[int, TcpSocket]:
        return tcp_sockets()

    @cached_property
    def _peers(self) -> Mapping[int, int]:
        return local_peers()


def link_of(pid: int, number: int) -> str:
    """What an open file of a process is; empty where that can't be seen."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:
        return ""


def _words_in(path: str) -> list[list[str]]:
    """The words of each of the first lines that the kernel says there; none where that can't be seen."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # of a ring, names of files, too
            return [words for line in islice(file, _MOST_LINES) if (words := line.split())]
    except OSError:
        return []


def _is_idle(process: SeenProcess, now: float) -> bool:
    return (
        process.state in "SD" and process.idle_since is not None and now - process.idle_since >= _IDLE_SECONDS
    )


def _is_open_for(pid: int, number: int, mode: str | None) -> bool:
    """Whether a file is open for reading (`0`) or writing (`1`), by the last digit of its flags."""
    path = f"/proc/{pid}/fdinfo/{number}"
    flags = next((words[1] for words in _words_in(path) if words[0] == "flags:"), "")
    return flags != "" and (mode is None or flags[-1:] in (mode, "2"))


def polled(pid: int, wait: Wait, events: int = 0xFFFF) -> Iterator[int]:
    """The files that a call waits for, as far as the process's memory may be read; only where it waits for `events`.

    Of `select` those that are to be read from.
    """
    if wait.call in ("poll", "ppoll") and len(wait.arguments) > 1:
        content = _memory(pid, wait.arguments[0], 8 * min(wait.arguments[1], _MOST_FILES))
        # What is no memory of its own any more may begin within an entry.
        for number, wanted, _ in struct.iter_unpack("=iHH", content[: len(content) // 8 * 8]):
            if number >= 0 and wanted & events:
                yield number
    elif wait.call in ("select", "pselect6") and len(wait.arguments) > 1 and events & INPUT:
        content = _memory(pid, wait.arguments[1], 8 * ((min(wait.arguments[0], 1024) + 63) // 64))
        bits = int.from_bytes(content, "little")
        yield from (number for number in range(bits.bit_length()) if bits >> number & 1)
    elif wait.call.startswith("epoll") and wait.arguments:
        yield from _watched(pid, wait.arguments[0], events)


def _watched(pid: int, number: int, events: int) -> Iterator[int]:
    for words in _words_in(f"/proc/{pid}/fdinfo/{number}"):
        with contextlib.suppress(ValueError, IndexError):  # a file's name may hold lines of its own
            if words[0] == "tfd:" and int(words[3], 16) & events:
                yield int(words[1])


def _memory(pid: int, address: int, length: int) -> bytes:
    if not address or not length:
        return b""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
            file.seek(address)
            return file.read(length)
    except (OSError, OverflowError, ValueError):
        return b""
