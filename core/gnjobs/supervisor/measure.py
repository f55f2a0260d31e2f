"""One beat's worth of facts about a job, gathered from its processes and its output."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import psutil

from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records.scripts import Value

Identity = tuple[int, int]


class Transfers(NamedTuple):
    """What a process has moved so far: bytes written to disk, and bytes read and written by any call."""

    to_disk: int = 0
    by_calls: int | None = None


class ProcessUsage(NamedTuple):
    """What one process uses: % of one core since the last look, bytes in memory, what it moved so far."""

    cpu: float
    rss: int
    moved: Transfers


class UsageMeter:
    """Measures the processes that it is told of, and remembers what ended ones had written."""

    def __init__(self) -> None:
        self._handles: dict[Identity, psutil.Process] = {}
        self._written: dict[Identity, int] = {}
        self._moved: dict[Identity, tuple[int, float]] = {}
        self._written_before = 0

    def measure(self, processes: Iterable[SeenProcess], now: float) -> list[SeenProcess]:
        """Return those processes that are still there, with what each uses `now` (unix seconds)."""
        measured = []
        for process in processes:
            identity = (process.pid, process.started)
            usage = self._usage(identity)
            if usage is not None:
                idle_since = self._idle_since(identity, usage.moved.by_calls, now)
                measured.append(
                    msgspec.structs.replace(process, cpu=usage.cpu, rss=usage.rss, idle_since=idle_since)
                )
        self._forget({(process.pid, process.started) for process in measured})
        return measured

    @property
    def written(self) -> int:
        """How many bytes all processes have written to disk so far, ended ones included."""
        return self._written_before + sum(self._written.values())

    def _usage(self, identity: Identity) -> ProcessUsage | None:
        try:
            handle = self._handles.get(identity) or psutil.Process(identity[0])
            self._handles[identity] = handle
            with handle.oneshot():
                usage = ProcessUsage(handle.cpu_percent(None), handle.memory_info().rss, _moved(handle))
        except psutil.Error:
            return None
        self._written[identity] = max(usage.moved.to_disk, self._written.get(identity, 0))
        return usage

    def _idle_since(self, identity: Identity, moved: int | None, now: float) -> float | None:
        if moved is None:
            return None
        if self._moved.get(identity, (None, 0.0))[0] != moved:
            self._moved[identity] = (moved, round(now))
        return self._moved[identity][1]

    def _forget(self, alive: set[Identity]) -> None:
        for identity in self._handles.keys() - alive:
            del self._handles[identity]
            self._written_before += self._written.pop(identity, 0)
            self._moved.pop(identity, None)


def _moved(handle: psutil.Process) -> Transfers:
    """What a process has moved; nothing is known where the system does not tell."""
    try:
        counters = handle.io_counters()
        return Transfers(int(counters.write_bytes), int(counters.read_chars) + int(counters.write_chars))
    except (psutil.Error, AttributeError, OSError):
        return Transfers()


_JITTER: Final = 2.0
_SLACK: Final = 1.0


class Clocks(NamedTuple):
    """One moment by this host's wall clock, by its monotonic one, and by the server (seconds)."""

    wall: float
    monotonic: float
    server: float


def clocks_now(server: float) -> Clocks:
    """The moment that it is now, of which the server's time is known."""
    return Clocks(time.time(), time.monotonic(), server)


class LastSign:
    """Follows a time that is written by a wall clock; how long ago it was is measured from seeing it change.

    A wall clock that jumps, or that goes on while the machine sleeps, would make hours of a silence of seconds.
    """

    def __init__(self) -> None:
        self._told = 0.0
        self._looked_at = float("-inf")
        self._seen_at = 0.0
        self._said = 0.0

    def at(self, told: float, clocks: Clocks) -> float:
        """When it was, by the server's clock; the same is said again unless that differs by seconds."""
        has_changed = told != self._told
        if has_changed:
            age = clocks.wall - told
            is_possible = 0 <= age <= clocks.monotonic - self._looked_at + _SLACK
            self._told = told
            self._seen_at = clocks.monotonic - (age if is_possible else 0.0)
        self._looked_at = clocks.monotonic
        at = clocks.server - (clocks.monotonic - self._seen_at)
        if has_changed or abs(at - self._said) > _JITTER:
            self._said = at
        return self._said


BEAT_SECONDS = 5.0
_SCAN_SECONDS = 10.0


class ChildUse(NamedTuple):
    """What a child's processes use: CPU of all; state and begin of idleness of the one that was at work last."""

    cpu: float
    state: str
    idle_since: float | None


class Measured(NamedTuple):
    """What one beat has to say: fields of the record, what each child uses, at times a snapshot of the processes.

    `last_output` is when the job itself last printed a line, by this host's clock; 0 for never.
    """

    fields: Mapping[str, Value]
    use_by_child: Mapping[str, ChildUse]
    faults: int
    last_output: float
    snapshot: bytes | None = None


class Printed(Protocol):
    """What an `OutputWriter` knows of its lines."""

    last_write: float

    @property
    def lines(self) -> int:
        """How many lines were written."""


class Measuring:
    """Looks for the job's processes every 10 s, and at what they use at every beat."""

    def __init__(
        self, find: Callable[[], Iterable[SeenProcess]], output: Printed, count_faults: Callable[[], int]
    ) -> None:
        self._find = find
        self._output = output
        self._count_faults = count_faults
        self._meter = UsageMeter()
        self._seen: list[SeenProcess] = []
        self._scan_after = 0.0

    def __call__(self, now: float) -> Measured:
        """Measure; `now` is the server's time, with which a snapshot is stamped."""
        is_scan = time.monotonic() >= self._scan_after
        if is_scan:
            self._scan_after = time.monotonic() + _SCAN_SECONDS - BEAT_SECONDS / 2
        self._seen = self._meter.measure(self._find() if is_scan else self._seen, now)
        return Measured(
            fields=self._fields(),
            use_by_child=_use_by_child(self._seen),
            faults=self._count_faults(),
            last_output=self._output.last_write,
            snapshot=self._snapshot(now) if is_scan else None,
        )

    def _fields(self) -> dict[str, Value]:
        moved = [process.idle_since for process in self._seen if process.idle_since is not None]
        return {
            **({"idle-since": max(moved)} if moved else {}),
            "cpu": round(sum(process.cpu or 0.0 for process in self._seen), 1),
            "rss": sum(process.rss or 0 for process in self._seen),
            "written": self._meter.written,
            "processes": len(self._seen),
            "lines": self._output.lines,
        }

    def _snapshot(self, now: float) -> bytes:
        return msgspec.json.encode(ProcessSnapshot(at=now, processes=tuple(self._seen)))


def _use_by_child(processes: Iterable[SeenProcess]) -> dict[str, ChildUse]:
    by_child: defaultdict[str, list[SeenProcess]] = defaultdict(list)
    for process in processes:
        if process.child is not None:
            by_child[process.child].append(process)
    return {child_id: _use_of(seen) for child_id, seen in by_child.items()}


def _use_of(processes: Sequence[SeenProcess]) -> ChildUse:
    last = max(processes, key=lambda process: process.idle_since or 0.0)
    return ChildUse(sum(process.cpu or 0.0 for process in processes), last.state, last.idle_since)
