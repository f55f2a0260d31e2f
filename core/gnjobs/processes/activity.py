"""What the kernel counts of a process: CPU, bytes, page faults, how often its threads ran, and what they wait in."""

import os
import platform
from collections.abc import Mapping
from typing import Final, NamedTuple

TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_MOST_THREADS: Final = 64
_BYTE_COUNTERS: Final = (b"rchar", b"wchar", b"read_bytes", b"write_bytes")


class Counters(NamedTuple):
    """What a process has used so far, in all of its threads.

    `ticks` of CPU (see `TICK_SECONDS`); `reaped` those of the children that it waited for, whose faults and bytes the
    others include; `moved` in bytes, by any read or write but those of sockets (None: not ours to see); `rss` in bytes.
    """

    parent: int
    started: int
    state: str
    threads: int
    ticks: int
    reaped: int
    faults: int
    rss: int
    moved: int | None
    written: int


class ThreadRuns(NamedTuple):
    """How long a thread ran and waited for a processor (nanoseconds), and how often it was put on one."""

    ran: int
    waited: int
    times: int


class Wait(NamedTuple):
    """What a thread waits in: the system call with its arguments, and the kernel's function.

    `call` is empty where it waits in none or in one that is not known here.
    """

    call: str
    arguments: tuple[int, ...]
    channel: str

    @property
    def is_event(self) -> bool:
        """Whether nothing but an event from outside of the process ends it."""
        return not (self.has_limit or self.is_private_lock)

    @property
    def has_limit(self) -> bool:
        """Whether the wait ends by itself after some time, or by a signal: its end says nothing of what came."""
        if self.call in _TIMERS:
            return True
        position = _TIMEOUT_OF.get(self.call)
        if position is None or position >= len(self.arguments):
            return False
        timeout = self.arguments[position]
        return timeout & 0xFFFFFFFF != 0xFFFFFFFF if self.call in _MILLISECONDS else timeout != 0

    @property
    def is_private_lock(self) -> bool:
        """Whether it waits for another thread of its own process."""
        return self.call == "futex" and len(self.arguments) > 1 and bool(self.arguments[1] & _PRIVATE)


_PRIVATE: Final = 128
_TIMERS: Final = frozenset(
    "nanosleep clock_nanosleep restart_syscall pause rt_sigsuspend rt_sigtimedwait connect".split()
)
_MILLISECONDS: Final = frozenset(("poll", "epoll_wait", "epoll_pwait"))
_TIMEOUT_OF: Final = {
    "poll": 2, "ppoll": 2, "select": 4, "pselect6": 4, "epoll_wait": 3, "epoll_pwait": 3, "epoll_pwait2": 3, "futex": 3,
}  # fmt: skip
_CALLS_X86: Final = {
    0: "read", 1: "write", 7: "poll", 17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev", 16: "ioctl",
    23: "select", 34: "pause", 35: "nanosleep", 40: "sendfile", 42: "connect", 43: "accept", 44: "sendto",
    45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 61: "wait4", 65: "semop", 70: "msgrcv", 72: "fcntl", 73: "flock",
    74: "fsync", 75: "fdatasync", 2: "open", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: "futex",
    219: "restart_syscall", 230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 257: "openat", 270: "pselect6",
    271: "ppoll", 275: "splice", 281: "epoll_pwait", 288: "accept4", 441: "epoll_pwait2",
}  # fmt: skip
_CALLS_ARM: Final = {
    25: "fcntl", 29: "ioctl", 32: "flock", 56: "openat", 63: "read", 64: "write", 65: "readv", 66: "writev",
    67: "pread64", 68: "pwrite64", 71: "sendfile", 72: "pselect6", 73: "ppoll", 76: "splice", 82: "fsync",
    83: "fdatasync", 95: "waitid", 98: "futex", 101: "nanosleep", 115: "clock_nanosleep", 128: "restart_syscall",
    133: "rt_sigsuspend", 137: "rt_sigtimedwait", 188: "msgrcv", 193: "semop", 202: "accept", 203: "connect",
    206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 22: "epoll_pwait", 242: "accept4", 260: "wait4",
    441: "epoll_pwait2",
}  # fmt: skip
_CALLS: Final[Mapping[int, str]] = {"x86_64": _CALLS_X86, "aarch64": _CALLS_ARM}.get(platform.machine(), {})


def read_counters(pid: int) -> Counters | None:
    """Read what a process has used; None where it is gone."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(fields) < 22:
        return None
    moved, written = _read_bytes(pid)
    return Counters(
        parent=int(fields[1]),
        started=int(fields[19]),
        state=fields[0].decode(),
        threads=int(fields[17]),
        ticks=int(fields[11]) + int(fields[12]),
        reaped=int(fields[13]) + int(fields[14]),
        faults=sum(map(int, fields[7:11])),
        rss=int(fields[21]) * _PAGE,
        moved=moved,
        written=written,
    )


def _read_bytes(pid: int) -> tuple[int | None, int]:
    """Bytes moved in any way, and those that went to a disk."""
    pairs = [line.split(b": ") for line in _read(f"/proc/{pid}/io").splitlines()]
    counts = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    if not counts:
        return None, 0
    return sum(counts.get(name, 0) for name in _BYTE_COUNTERS), counts.get(b"write_bytes", 0)


def read_runs(pid: int) -> dict[int, ThreadRuns]:
    """How often each thread of a process ran, of very many the first; empty where the kernel does not count it."""
    found = {}
    for thread in thread_ids(pid)[:_MOST_THREADS]:
        runs = runs_in(_read(f"/proc/{pid}/task/{thread}/schedstat"))
        if runs is not None:
            found[thread] = runs
    return found


def runs_in(schedstat: bytes) -> ThreadRuns | None:
    """What the content of a thread's `schedstat` says; None where the kernel does not count it."""
    counts = schedstat.split()
    return ThreadRuns(*map(int, counts)) if len(counts) == 3 else None


def read_state(pid: int) -> str:
    """`R` where any thread is runnable, else the state of the first thread that lives; empty where all are gone."""
    states = [
        fields[0].decode()
        for thread in thread_ids(pid)[:_MOST_THREADS]
        if (fields := _read(f"/proc/{pid}/task/{thread}/stat").rpartition(b")")[2].split())
    ]
    living = [state for state in states if state not in "ZX"] or states
    return "R" if "R" in living else next(iter(living), "")


def read_wait(pid: int, thread: int) -> Wait | None:
    """What a thread waits in; None where we may not see it, or it is gone or running."""
    folder = f"/proc/{pid}/task/{thread}"
    wait = wait_in(_read(f"{folder}/syscall"))
    if wait is None:
        return None
    return wait._replace(channel=_read(f"{folder}/wchan").decode("ascii", "replace").strip("0"))


def wait_in(syscall: bytes) -> Wait | None:
    """What the content of a thread's `syscall` says; None where it is running or nothing is told."""
    words = syscall.split()
    if not words or words[0] == b"running":
        return None
    return Wait(_CALLS.get(int(words[0]), ""), tuple(int(word, 16) for word in words[1:7]), "")


def thread_ids(pid: int) -> list[int]:
    """The threads of a process, the first one first."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""
