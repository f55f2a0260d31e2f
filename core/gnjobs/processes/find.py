"""Which processes are a job's: by the mark that they carry, and by descent, where a mark was lost."""

import msgspec

from gnjobs.processes.host import account_name, boot_id, host_name, login_name, pid_namespace
from gnjobs.processes.process_view import ProcessView
from gnjobs.processes.procstat import process_start
from gnjobs.processes.table import (
    ENDED_STATES,
    command_text,
    descendants,
    owners_of,
    read_command,
    read_entry,
    read_mark,
)
from gnjobs.records import values

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


class SeenProcess(msgspec.Struct, frozen=True):
    """One process of a job: `started` in ticks since boot, `cpu` in % of one core, `rss` in bytes.

    `idle_since` is when it last read or wrote anything, as far as that was watched (unix seconds).
    """

    pid: int
    started: int
    child: str | None = None
    state: str = "S"
    cpu: values.Number | None = None
    rss: int | None = None
    command: str = ""
    account: str | None = None
    idle_since: values.Seconds | None = None


class Found(msgspec.Struct, frozen=True):
    """A job's processes, and as pairs of pid and why those that may be its own but can't be touched."""

    processes: tuple[SeenProcess, ...] = ()
    hidden: tuple[tuple[int, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.processes or self.hidden)


class ProcessSnapshot(msgspec.Struct, frozen=True):
    """A job's processes as its supervisor saw them at a time (unix seconds)."""

    at: values.Seconds
    processes: tuple[SeenProcess, ...] = ()


def read_snapshot(stored: bytes | None) -> ProcessSnapshot | None:
    """Read what a supervisor stored; None where there is nothing that can be read."""
    return values.json(stored, ProcessSnapshot)


def processes_of(
    job_id: str,
    child_id: str | None = None,
    *,
    supervisor: tuple[int, int] | None = None,
    token: str | None = None,
    view: ProcessView | None = None,
) -> Found:
    """Find the processes of a job, or of one of its children alone.

    A process belongs to its innermost mark; one without a mark, or whose mark can't be read, to where it descends
    from: the nearest marked process, its session's leader, or the `supervisor` (pid and start, which must match).
    That supervisor is left out, and so are this process and its ancestors. `token` is the mark of the job's claim.
    """
    search = _Search(job_id, view or ProcessView(), supervisor, token)
    return _describe(
        search.view, {pid: child for pid, child in search.members().items() if child_id in (None, child)}
    )


def worker_processes_of(job_id: str) -> Found:
    """Find the processes of a job that gn-uploader started itself.

    They are its worker, `… scripts.worker <redis-url> <prefix> <job-id>` with the job id as a word of its own, and
    what descends from it.
    """
    view = ProcessView()
    roots = [pid for pid in view.table if pid not in view.spared and _is_worker(read_command(pid), job_id)]
    wanted: dict[int, str | None] = dict.fromkeys(roots)
    wanted |= {pid: None for pid, _ in descendants(view.table, roots) if pid not in view.spared}
    return _describe(view, wanted)


def _is_worker(command: list[str], job_id: str) -> bool:
    if WORKER_MODULE not in command:
        return False
    arguments = command[command.index(WORKER_MODULE) + 1 :]
    return len(arguments) == 3 and arguments[2] == job_id


def is_supervisor(pid: int | None, started: int | None, job_id: str, *, unreadable: bool = True) -> bool:
    """Whether this is the living supervisor of the job: the start, the command and the mark must all agree.

    The mark of another account's process can't be read; the start alone is that of no other process, which is
    enough for who only watches or asks (`unreadable`).
    """
    entry = read_entry(pid) if pid else None
    if pid is None or entry is None or entry.state in ENDED_STATES or entry.started != started:
        return False
    mark = read_mark(pid)
    is_its_mark = unreadable if mark is None else mark.job == job_id
    return is_its_mark and SUPERVISOR_MODULE in read_command(pid)


def supervisor_process(supervisor: tuple[int, int], job_id: str) -> Found:
    """The job's supervisor (pid and start) as a process to be ended, or nothing where it is another one or gone."""
    pid, started = supervisor
    if not is_supervisor(pid, started, job_id, unreadable=False):
        return Found()
    return Found((_see(pid, started, None, "S"),))


class _Search:
    """One look for the processes of one job among all."""

    def __init__(
        self, job_id: str, view: ProcessView, supervisor: tuple[int, int] | None, token: str | None
    ) -> None:
        self.job_id = job_id
        self.token = token
        self.view = view
        self.supervisor = supervisor[0] if supervisor is not None and view.has(*supervisor) else None

    def members(self) -> dict[int, str | None]:
        """Pid → child of every process that belongs to the job, those included that can't be inspected."""
        marked = {
            pid: mark.child
            for pid, mark in self.view.marks.items()
            if mark is not None and mark.is_of(self.job_id, self.token) and pid != self.supervisor
        }
        members: dict[int, str | None] = dict(marked)
        roots = list(marked) + ([self.supervisor] if self.supervisor is not None else [])
        for pid, _ in descendants(self.view.table, roots):
            if not self._is_foreign(pid):
                members[pid] = self._child_of(pid, members, marked)
        return {pid: child for pid, child in members.items() if pid not in self.view.spared}

    def _is_foreign(self, pid: int) -> bool:
        """Whether a descendant belongs to another job: to its own mark, or to the other job's process above it."""
        mark = self.view.owner_of_mark(pid)
        return mark is not None and not mark.is_of(self.job_id, self.token)

    def _child_of(
        self, pid: int, members: dict[int, str | None], marked: dict[int, str | None]
    ) -> str | None:
        entry = self.view.table[pid]
        if members.get(entry.parent) is not None:
            return members[entry.parent]
        return marked.get(entry.session)


def _describe(view: ProcessView, wanted: dict[int, str | None]) -> Found:
    entries = [(view.table[pid], child) for pid, child in sorted(wanted.items())]
    return Found(tuple(_see(entry.pid, entry.started, child, entry.state) for entry, child in entries))


def _see(pid: int, started: int, child: str | None, state: str) -> SeenProcess:
    owners = owners_of(pid)
    account = account_name(owners[0]) if owners else None
    return SeenProcess(pid, started, child, state, command=command_text(pid), account=account)
