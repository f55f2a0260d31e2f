"""What a job's processes use: CPU, memory and bytes written to disk, from beat to beat."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import psutil

from gnjobs.processes.find import SeenProcess

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
