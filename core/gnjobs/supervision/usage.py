"""What a job's processes use: CPU, memory and bytes written to disk, from beat to beat."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import psutil

from gnjobs.processes import SeenProcess

Identity = tuple[int, int]


class ProcessUsage(NamedTuple):
    """What one process uses: % of one core since the last look, bytes in memory, bytes written so far."""

    cpu: float
    rss: int
    written: int


class UsageMeter:
    """Measures the processes that it is told of, and remembers what ended ones had written."""

    def __init__(self) -> None:
        self._handles: dict[Identity, psutil.Process] = {}
        self._written: dict[Identity, int] = {}
        self._written_before = 0

    def measure(self, processes: Iterable[SeenProcess]) -> list[SeenProcess]:
        """Return those processes that are still there, with what each uses now."""
        measured = []
        for process in processes:
            usage = self._usage((process.pid, process.started))
            if usage is not None:
                measured.append(msgspec.structs.replace(process, cpu=usage.cpu, rss=usage.rss))
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
                usage = ProcessUsage(handle.cpu_percent(None), handle.memory_info().rss, _written(handle))
        except psutil.Error:
            return None
        self._written[identity] = max(usage.written, self._written.get(identity, 0))
        return usage

    def _forget(self, alive: set[Identity]) -> None:
        for identity in self._handles.keys() - alive:
            del self._handles[identity]
            self._written_before += self._written.pop(identity, 0)


def _written(handle: psutil.Process) -> int:
    """Bytes that a process had written to disk; 0 where the system does not tell."""
    try:
        return int(handle.io_counters().write_bytes)
    except (psutil.Error, AttributeError, OSError):
        return 0
