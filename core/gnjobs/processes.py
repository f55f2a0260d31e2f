"""Which processes are a job's: by the mark that they carry, and by descent, where a mark was lost."""

from collections.abc import Collection
from typing import Final

import msgspec

from gnjobs.identity import account_name, boot_id, host_name, login_name, pid_namespace
from gnjobs.process_table import (
    Mark,
    TableEntry,
    ancestors_and_self,
    command_text,
    descendants,
    owner_of,
    read_command,
    read_entry,
    read_mark,
    read_table,
)
from gnjobs.procstat import process_start

__all__ = [
    "Found",
    "ProcessSnapshot",
    "SeenProcess",
    "boot_id",
    "host_name",
    "is_supervisor",
    "login_name",
    "pid_namespace",
    "process_start",
    "processes_of",
    "read_snapshot",
    "supervisor_process",
    "worker_processes_of",
]

SUPERVISOR_MODULE = "gnjobs.supervisor"
WORKER_MODULE = "scripts.worker"
ENDED_STATES: Final = frozenset("ZX")


class SeenProcess(msgspec.Struct, frozen=True):
    """One process of a job: `started` in ticks since boot, `cpu` in % of one core, `rss` in bytes.

    `idle_since` is when it last read or wrote anything, as far as that was watched (unix seconds).
    """

    pid: int
    started: int
    child: str | None = None
    state: str = "S"
    cpu: float | None = None
    rss: int | None = None
    command: str = ""
    account: str | None = None
    idle_since: float | None = None


class Found(msgspec.Struct, frozen=True):
    """A job's processes, and as pairs of pid and account those that descend from it but can't be inspected."""

    processes: tuple[SeenProcess, ...] = ()
    hidden: tuple[tuple[int, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.processes or self.hidden)


class ProcessSnapshot(msgspec.Struct, frozen=True):
    """A job's processes as its supervisor saw them at a time (unix seconds)."""

    at: float
    processes: tuple[SeenProcess, ...] = ()


def read_snapshot(stored: bytes | None) -> ProcessSnapshot | None:
    """Read what a supervisor stored; None where there is nothing that can be read."""
    if not stored:
        return None
    try:
        return msgspec.json.decode(stored, type=ProcessSnapshot)
    except (msgspec.DecodeError, UnicodeError):
        return None


def processes_of(
    job_id: str, child_id: str | None = None, *, supervisor: tuple[int, int] | None = None
) -> Found:
    """Find the processes of a job, or of one of its children alone.

    A process belongs to its innermost mark; one without a mark, to where it descends from: the nearest marked
    process, its session's leader, or the `supervisor` (pid and start, which must match). Supervisors are left out,
    and so are this process and its ancestors.
    """
    search = _Search(job_id, read_table(), supervisor)
    members = search.members()
    wanted = {pid: child for pid, child in members.items() if child_id in (None, child)}
    return _describe(search, wanted)


def worker_processes_of(job_id: str) -> Found:
    """Find the processes of a job that gn-uploader started itself.

    They are its worker, `… scripts.worker <redis-url> <prefix> <job-id>` with the job id as a word of its own, and
    what descends from it.
    """
    search = _Search(job_id, read_table(), None)
    roots = [
        pid for pid in search.table if pid not in search.spared and _is_worker(read_command(pid), job_id)
    ]
    wanted: dict[int, str | None] = dict.fromkeys(roots)
    wanted |= {pid: None for pid, _ in descendants(search.table, roots) if pid not in search.spared}
    return _describe(search, wanted)


def _is_worker(command: list[str], job_id: str) -> bool:
    if WORKER_MODULE not in command:
        return False
    arguments = command[command.index(WORKER_MODULE) + 1 :]
    return len(arguments) == 3 and arguments[2] == job_id


def is_supervisor(pid: int, started: int | None, job_id: str) -> bool:
    """Whether this is the living supervisor of the job: the start, the command and the mark must all agree.

    The mark of another account's process can't be read; the start alone is that of no other process.
    """
    entry = read_entry(pid)
    if entry is None or entry.state in ENDED_STATES or entry.started != started:
        return False
    mark = read_mark(pid)
    return SUPERVISOR_MODULE in read_command(pid) and (mark is None or mark.job == job_id)


def supervisor_process(supervisor: tuple[int, int], job_id: str) -> Found:
    """The job's supervisor (pid and start) as a process to be ended, or nothing where it is another one or gone."""
    pid, started = supervisor
    owner = owner_of(pid)
    if owner is None or not is_supervisor(pid, started, job_id):
        return Found()
    seen = SeenProcess(pid, started, command=command_text(pid), account=account_name(owner))
    return Found((seen,))


class _Search:
    """One look at all processes for those of one job."""

    def __init__(self, job_id: str, table: dict[int, TableEntry], supervisor: tuple[int, int] | None) -> None:
        self.job_id = job_id
        self.table = {pid: entry for pid, entry in table.items() if entry.state not in ENDED_STATES}
        self.spared: Collection[int] = ancestors_and_self()
        self.marks: dict[int, Mark | None] = {}
        self.supervisor = self._verified(supervisor)

    def _verified(self, supervisor: tuple[int, int] | None) -> int | None:
        if supervisor is None:
            return None
        entry = self.table.get(supervisor[0])
        return supervisor[0] if entry is not None and entry.started == supervisor[1] else None

    def members(self) -> dict[int, str | None]:
        """Pid → child of every process that belongs to the job, those included that can't be inspected."""
        self.marks = {pid: read_mark(pid) for pid in self.table}
        marked = {
            pid: mark.child
            for pid, mark in self.marks.items()
            if mark is not None and mark.job == self.job_id and not self._supervises(pid)
        }
        members: dict[int, str | None] = dict(marked)
        roots = list(marked) + ([self.supervisor] if self.supervisor is not None else [])
        for pid, _ in descendants(self.table, roots):
            if self._is_foreign(pid):
                continue
            members[pid] = self._child_of(pid, members, marked)
        return {pid: child for pid, child in members.items() if pid not in self.spared}

    def _supervises(self, pid: int) -> bool:
        return SUPERVISOR_MODULE in read_command(pid)

    def _is_foreign(self, pid: int) -> bool:
        """Whether a descendant belongs to another job: to its own mark, or to the other job's process above it."""
        seen = 0
        while pid in self.table and seen < len(self.table):
            mark = self.marks[pid]
            if mark is not None and mark.job is not None:
                return mark.job != self.job_id or (self._supervises(pid) and pid != self.supervisor)
            pid, seen = self.table[pid].parent, seen + 1
        return False

    def _child_of(
        self, pid: int, members: dict[int, str | None], marked: dict[int, str | None]
    ) -> str | None:
        entry = self.table[pid]
        if members.get(entry.parent) is not None:
            return members[entry.parent]
        return marked.get(entry.session)


def _describe(search: _Search, wanted: dict[int, str | None]) -> Found:
    processes, hidden = [], []
    for pid, child in sorted(wanted.items()):
        owner = owner_of(pid)
        if owner is None:
            continue
        entry = search.table[pid]
        if search.marks and search.marks[pid] is None:
            hidden.append((pid, account_name(owner)))
        else:
            processes.append(
                SeenProcess(
                    pid,
                    entry.started,
                    child,
                    entry.state,
                    command=command_text(pid),
                    account=account_name(owner),
                )
            )
    return Found(tuple(processes), tuple(hidden))
