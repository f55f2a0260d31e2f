"""Idleness: what counts as a sign of life of a process, and since when each process of a job has given none.

A process is at work where, between two looks, it used more than 1 % of a core (its ended children included), read or
wrote a byte by any call, sent or received one through a socket, had a page fault, was runnable, or came out of a wait
that nothing but an event ends. One that only wakes by its own timer, or is woken by its own threads, does nothing.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from gnjobs.processes.activity import (
    TICK_SECONDS,
    Counters,
    ThreadRuns,
    read_counters,
    read_runs,
    read_state,
    read_wait,
)
from gnjobs.processes.seen import SeenProcess
from gnjobs.processes.sockets import local_peers, shares_network, socket_inodes, tcp_sockets, udp_sockets

IDLE_CPU: Final = 1.0
LEAST_WINDOW: Final = 2.0
_RUNNABLE_SHARE: Final = 0.1
_LOOKS_AT_STATE: Final = 3
_STATE_SECONDS: Final = 0.005
_JITTER: Final = 2.0

Identity = tuple[int, int]


class Sample(NamedTuple):
    """What was read of a process at one look; `runs` by thread."""

    counters: Counters
    runs: Mapping[int, ThreadRuns]


class _Sign(NamedTuple):
    """A last sign of life by the monotonic clock, and as it was told by the server's."""

    at: float
    told: float


def computes(cpu: float | None) -> bool:
    """Whether this much CPU (% of one core) is work."""
    return cpu is not None and cpu > IDLE_CPU


class Idleness:
    """Measures the processes that it is told of at every look, and remembers when each gave its last sign of life."""

    def __init__(self, least_window: float = LEAST_WINDOW) -> None:
        self._least_window = least_window
        self._samples: dict[Identity, Sample] = {}
        self._signs: dict[Identity, _Sign] = {}
        self._seen: list[SeenProcess] = []
        self._looked_at = float("-inf")
        self._written_before = 0
        self._sockets = _SocketBytes()

    @property
    def written(self) -> int:
        """How many bytes all processes have written to disk so far, ended ones included."""
        return self._written_before + sum(sample.counters.written for sample in self._samples.values())

    def look(self, processes: Iterable[SeenProcess], now: float) -> list[SeenProcess]:
        """Return those processes that are still there, with what each uses; `now` in unix seconds.

        A look that follows another within `least_window` seconds tells the same: so short a time says nothing of use.
        """
        at = time.monotonic()
        seconds = at - self._looked_at
        if seconds < self._least_window:
            return self._seen
        self._looked_at = at
        self._sockets.begin()
        before, self._samples = self._samples, {}
        found = [(process, sample) for process in processes if (sample := self._sample(process)) is not None]
        reaped = _reaped_by_parent(before, self._samples)
        self._seen = [
            self._measured(process, sample, before.get(_identity(process)), reaped, seconds, at, now)
            for process, sample in found
        ]
        self._forget(before)
        return self._seen

    def _sample(self, process: SeenProcess) -> Sample | None:
        counters = read_counters(process.pid)
        if counters is None or counters.started != process.started or counters.state in "ZX":
            return None
        sample = Sample(counters, read_runs(process.pid))
        self._samples[_identity(process)] = sample
        return sample

    def _measured(
        self,
        process: SeenProcess,
        sample: Sample,
        before: Sample | None,
        reaped: Mapping[int, int],
        seconds: float,
        at: float,
        now: float,
    ) -> SeenProcess:
        cpu = _cpu(sample.counters, before, reaped.get(process.pid, 0), seconds)
        state, lives = sample.counters.state, before is None or _moved(sample, before, cpu)
        if before is not None and not lives:
            state = _settled_state(process.pid, sample.counters)
            lives = state == "R" or self._did_something(process.pid, sample, before, seconds)
        return msgspec.structs.replace(
            process,
            parent=sample.counters.parent,
            state=state,
            cpu=cpu,
            rss=sample.counters.rss,
            idle_since=self._idle_since(_identity(process), at, now, lives=lives),
        )

    def _did_something(self, pid: int, sample: Sample, before: Sample, seconds: float) -> bool:
        """Whether a process that moved no counter but those of its threads' runs has done anything."""
        ran = [thread for thread, runs in sample.runs.items() if runs != before.runs.get(thread)]
        if not ran or not before.runs:
            return False
        if sample.counters.moved is None:  # another account's: it did something, and we may not see what
            return True
        if any(_was_runnable(sample.runs[thread], before.runs.get(thread), seconds) for thread in ran):
            return True
        waits = [wait for thread in ran if (wait := read_wait(pid, thread)) is not None]
        if any(not wait.has_limit and not wait.is_private_lock for wait in waits):
            return True
        return self._sockets.have_moved(pid, [sample_pid for sample_pid, _ in self._samples])

    def _idle_since(self, identity: Identity, at: float, now: float, *, lives: bool) -> float:
        """When it gave its last sign, by the server's clock; the same is said again unless that differs by seconds."""
        sign = self._signs.get(identity)
        if lives or sign is None:
            sign = _Sign(at, round(now))
        elif abs(now - (at - sign.at) - sign.told) > _JITTER:
            sign = _Sign(sign.at, round(now - (at - sign.at)))
        self._signs[identity] = sign
        return sign.told

    def _forget(self, before: Mapping[Identity, Sample]) -> None:
        for identity in before.keys() - self._samples.keys():
            self._written_before += before[identity].counters.written
            self._signs.pop(identity, None)
        self._sockets.forget({pid for pid, _ in self._samples})


class _SocketBytes:
    """What went through the sockets of processes since it was looked at last; the kernel's lists are read once a look.

    Nobody counts the bytes of local and UDP sockets, and those of another network namespace are not shown: a process
    that wakes while it holds such a one counts as at work, unless it only leads from one of its threads to another.
    """

    def __init__(self) -> None:
        self._before: dict[int, dict[int, int]] = {}
        self._counts: Mapping[int, int] | None = None
        self._peers: Mapping[int, int] = {}
        self._udp: Collection[int] = ()

    def begin(self) -> None:
        """Begin a new look."""
        self._counts = None

    def have_moved(self, pid: int, others: Collection[int]) -> bool:
        """Whether a process has sent or received anything, or may have where nobody counts it."""
        inodes = socket_inodes(pid)
        if not inodes:
            return False
        if not shares_network(pid):
            return True
        if self._counts is None:
            self._counts = {inode: found.bytes for inode, found in tcp_sockets().items()}
            self._peers, self._udp = local_peers(), udp_sockets()
        counts = {inode: self._counts[inode] for inode in inodes if inode in self._counts}
        before = self._before.get(pid, counts)
        self._before[pid] = counts
        return counts != before or any(
            inode in self._udp or self._leads_elsewhere(inode, pid, inodes, others) for inode in inodes
        )

    def _leads_elsewhere(self, inode: int, pid: int, own: Collection[int], others: Collection[int]) -> bool:
        peer = self._peers.get(inode)
        if peer is None:
            return False
        return peer not in own or any(peer in socket_inodes(other) for other in others if other != pid)

    def forget(self, alive: Collection[int]) -> None:
        """Drop what is known of processes that have ended."""
        for pid in self._before.keys() - alive:
            del self._before[pid]


def _identity(process: SeenProcess) -> Identity:
    return process.pid, process.started


def _reaped_by_parent(before: Mapping[Identity, Sample], now: Mapping[Identity, Sample]) -> Mapping[int, int]:
    """What ended processes had used when they were last seen, by their parent, which may have been charged with it."""
    found: defaultdict[int, int] = defaultdict(int)
    for identity in before.keys() - now.keys():
        counters = before[identity].counters
        found[counters.parent] += counters.ticks + counters.reaped
    return found


def _cpu(counters: Counters, before: Sample | None, reaped: int, seconds: float) -> float:
    """CPU in % of one core: since the last look, at first sight since the process began."""
    if before is None:
        age = max(LEAST_WINDOW, time.clock_gettime(time.CLOCK_BOOTTIME) - counters.started * TICK_SECONDS)
        return round(100 * counters.ticks * TICK_SECONDS / age, 2)
    own = counters.ticks - before.counters.ticks
    of_children = max(0, counters.reaped - before.counters.reaped - reaped)
    return round(100 * (own + of_children) * TICK_SECONDS / seconds, 2)


def _moved(sample: Sample, before: Sample, cpu: float) -> bool:
    """Whether counters that every work moves tell of any."""
    now, then = sample.counters, before.counters
    return computes(cpu) or (now.faults, now.moved, now.reaped) != (then.faults, then.moved, then.reaped)


def _settled_state(pid: int, counters: Counters) -> str:
    """Its state, `R` only where it stays so for some milliseconds: one that just woke up does not wait for a core."""
    state = counters.state if counters.threads == 1 else read_state(pid)
    for _ in range(_LOOKS_AT_STATE - 1):
        if state != "R":
            break
        time.sleep(_STATE_SECONDS)
        state = read_state(pid) or counters.state
    return state or counters.state


def _was_runnable(runs: ThreadRuns, before: ThreadRuns | None, seconds: float) -> bool:
    """Whether a thread ran or waited for a processor for much of the time; a new one is a sign by itself."""
    if before is None:
        return True
    return (runs.ran - before.ran + runs.waited - before.waited) / 1e9 >= _RUNNABLE_SHARE * seconds
