"""One beat's worth of facts about a job, gathered from its processes and its output."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from gnjobs.processes.find import ProcessSnapshot, SeenProcess
from gnjobs.records.scripts import Value
from gnjobs.supervisor.children import ChildUse
from gnjobs.supervisor.reporter import BEAT_SECONDS, Measured
from gnjobs.supervisor.usage import UsageMeter

_SCAN_SECONDS = 10.0


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
