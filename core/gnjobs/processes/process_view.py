"""One look at all processes of this host and the marks that they carry; many jobs can be looked for in it."""

from typing import Final

from gnjobs.processes.table import (
    ENDED_STATES,
    Mark,
    TableEntry,
    ancestors_and_self,
    list_pids,
    read_entry,
    read_mark,
)

_MOST_PASSES: Final = 50


class ProcessView:
    """The processes that have not ended: `table` and `marks` by pid (None: it can't be inspected).

    `spared` are this process and its ancestors, which are nobody's to end.
    """

    def __init__(self) -> None:
        self.table: dict[int, TableEntry] = {}
        self.marks: dict[int, Mark | None] = {}
        self.spared = ancestors_and_self()
        self._read()

    def _read(self) -> None:
        """Read until no new process has appeared meanwhile: one that forks and ends at once must not slip through."""
        seen: set[int] = set()
        for _ in range(_MOST_PASSES):
            new = [pid for pid in list_pids() if pid not in seen]
            if not new:
                return
            seen.update(new)
            for pid in new:
                self._read_one(pid)

    def _read_one(self, pid: int) -> None:
        mark = read_mark(pid)
        entry = read_entry(pid)
        if entry is not None and entry.state not in ENDED_STATES:
            self.table[pid] = entry
            self.marks[pid] = mark

    def has(self, pid: int | None, started: int | None) -> bool:
        """Whether this very process is there: a start in one boot and namespace is that of no other."""
        entry = self.table.get(pid) if pid else None
        return entry is not None and entry.started == started

    def owner_of_mark(self, pid: int) -> Mark | None:
        """The innermost mark of a job above or at a process, as far as marks can be read."""
        seen = 0
        while pid in self.table and seen <= len(self.table):
            mark = self.marks[pid]
            if mark is not None and mark.job is not None:
                return mark
            pid, seen = self.table[pid].parent, seen + 1
        return None
