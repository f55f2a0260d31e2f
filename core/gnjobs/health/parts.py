"""A job's processes by the parts that they belong to: what each part does includes what descends from it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from gnjobs.processes.seen import ProcessSnapshot, SeenProcess, computes


class Activity(NamedTuple):
    """What the processes of a part do: since when all of them idle, CPU of all together (% of one core).

    None where that is not known. `telling` are those that explain it: of a part at work those that compute, the busiest
    first, of any other those that wait for no other process of the job, idle the longest first.
    """

    idle_since: float | None = None
    cpu: float | None = None
    is_runnable: bool = False
    telling: tuple[SeenProcess, ...] = ()


class Family:
    """The processes of a job and how they descend from each other."""

    def __init__(self, processes: Iterable[SeenProcess]) -> None:
        self.processes = tuple(processes)
        self._by_pid = {process.pid: process for process in self.processes}
        self._below: defaultdict[int | None, list[SeenProcess]] = defaultdict(list)
        self._by_child: defaultdict[str, list[SeenProcess]] = defaultdict(list)
        self._inner: defaultdict[tuple[str | None, int], list[SeenProcess]] = defaultdict(list)
        for process in self.processes:
            self._below[process.parent].append(process)
            if process.child is not None:
                self._by_child[process.child].append(process)
            if process.inner_pid is not None:
                self._inner[process.child, process.inner_pid].append(process)

    @classmethod
    def of(cls, snapshot: ProcessSnapshot | None) -> "Family":
        """The processes that a supervisor stored, none without that."""
        return cls(snapshot.processes if snapshot is not None else ())

    def of_child(self, child_id: str, pid: int | None) -> Sequence[SeenProcess]:
        """The processes of a child, which are marked as its own or, in a Pool, the one whose pid it told; and below."""
        roots = list(self._by_child.get(child_id, ()))
        if pid in self._by_pid and self._by_pid[pid].child is None:
            roots.append(self._by_pid[pid])
        return self._with_descendants(roots)

    def below(self, child_id: str, pid: int | None) -> frozenset[str]:
        """The ids of the children that run inside a child."""
        ids = (process.child for process in self.of_child(child_id, pid))
        return frozenset(name for name in ids if name is not None and name != child_id)

    def activity(self, processes: Sequence[SeenProcess]) -> Activity:
        """What some processes do; nothing is known where none was seen."""
        if not processes:
            return Activity()
        idle = [process.idle_since for process in processes]
        busy = [process for process in processes if process.state == "R" or computes(process.cpu)]
        telling = sorted(busy, key=lambda process: -(process.cpu or 0.0)) or sorted(
            self._waiting(processes), key=lambda process: process.idle_since or 0.0
        )
        return Activity(
            idle_since=None if None in idle else max(since for since in idle if since is not None),
            cpu=sum(process.cpu or 0.0 for process in processes),
            is_runnable=any(process.state == "R" for process in processes),
            telling=tuple(telling),
        )

    def _waiting(self, processes: Sequence[SeenProcess]) -> Sequence[SeenProcess]:
        """Those that don't wait for another process of the job; all of them where each waits for another."""
        own = {process.pid for process in processes}
        return [process for process in processes if not self._waits_for(process, own)] or processes

    def _waits_for(self, process: SeenProcess, own: Collection[int]) -> bool:
        if process.waits is None:
            return process.pid in self._below
        return process.waits_for in own

    def _with_descendants(self, roots: Iterable[SeenProcess]) -> Sequence[SeenProcess]:
        found: dict[int, SeenProcess] = {}
        waiting = list(roots)
        while waiting:
            process = waiting.pop()
            if process.pid not in found:
                found[process.pid] = process
                waiting += self._below.get(process.pid, ())
        return list(found.values())


def activity_by_child(family: Family, pids: Mapping[str, int | None]) -> dict[str, Activity]:
    """What each child of these ids and pids does, where any process of it was seen."""
    found = {child_id: family.of_child(child_id, pid) for child_id, pid in pids.items()}
    return {child_id: family.activity(seen) for child_id, seen in found.items() if seen}
