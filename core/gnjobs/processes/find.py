"""Finds the processes of a job: by the mark in their environment, and by descent where a mark was lost."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import takewhile
from typing import Final, NamedTuple

import msgspec
from redis.exceptions import RedisError

from gnjobs.processes.host import account_name, login_name, pids_count_here, user_id
from gnjobs.processes.proc import (
    ENDED_STATES,
    TableEntry,
    command_text,
    inner_pid,
    owners_of,
    read_command,
    read_entry,
)
from gnjobs.processes.seen import Found, SeenProcess
from gnjobs.processes.table import UNREAD, Mark, ProcessView, Wanted, descendants, read_mark
from gnjobs.records import values
from gnjobs.records.environment import digest_of_mark
from gnjobs.records.fields import Child, Job
from gnjobs.records.keys import is_id
from gnjobs.records.reading import Records, fetch_job
from gnjobs.records.statuses import PENDING
from gnjobs.text import place_of

SUPERVISOR_MODULE = "gnjobs.supervisor"
_LENGTH_OF_MARK, _LENGTH_OF_DIGEST = 32, 64


def wanted_of(job: Job, store: Records | None = None, owner: str | None = None) -> Wanted:
    """What the marks of the job's processes say; without its `store`, for who watches, on any server."""
    place = None if store is None else place_of(store.url, store.keys.prefix)
    # Records of an earlier version hold the mark itself.
    token = digest_of_mark(job.mark) if job.mark and len(job.mark) == _LENGTH_OF_MARK else job.mark
    token = token and token[:_LENGTH_OF_DIGEST]
    if store is not None and token is None:
        token = ""  # who may signal takes no mark with a token for that of a record without
    return Wanted(job.id, token, place, owner, None if job.account is None else user_id(job.account))


def processes_of(
    wanted: Wanted,
    child_id: str | None = None,
    *,
    supervisor: tuple[int, int] | None = None,
    view: ProcessView | None = None,
    store: Records | None = None,
) -> Found:
    """Find the processes of a job, or of one of its children alone.

    A process belongs to its innermost mark; one without a mark, or whose mark can't be read, to where it descends
    from: the nearest marked process, its session's leader, or the `supervisor` (pid and start, which must match).
    That supervisor is left out, and so are this process and its ancestors. What descends from it and says that it is of
    another job is believed where the `store` shows that job's supervisor above it, and else named as hidden.
    """
    search = _Search(wanted, view or ProcessView(), supervisor, store)
    found = describe(
        search.view, {pid: child for pid, child in search.members().items() if child_id in (None, child)}
    )
    return found if child_id is not None else msgspec.structs.replace(found, hidden=tuple(search.doubted))


def claimants(wanted: Wanted, child_id: str | None, store: Records) -> tuple[SeenProcess, ...]:
    """What says that it is of a job, or of one of its children alone: it is nobody's to signal for that."""
    view = ProcessView()
    found = (
        Found() if child_id is None else processes_of(Wanted(wanted.job), child_id, view=view, store=store)
    )
    inherited = {each.pid for each in found.processes}
    claims = {
        pid: child_id or mark.child
        for pid, mark in _claims(wanted, view)
        if pid in inherited or child_id in (None, mark.child)
    }
    return describe(view, claims).processes


def _claims(wanted: Wanted, view: ProcessView) -> Iterator[tuple[int, Mark]]:
    """Yield what says that it is of the job, but for its supervisor, and for who looks."""
    for pid, mark in view.marks.items():
        if mark is None or pid in view.spared or not wanted.is_claimed_by(mark):
            continue
        if mark.token not in (None, wanted.token) or SUPERVISOR_MODULE not in read_command(pid):
            yield pid, mark


def is_supervisor(pid: int | None, started: int | None, wanted: Wanted, *, unreadable: bool = True) -> bool:
    """Whether this is the living supervisor of the job: the start, the command and the mark must all agree.

    The mark of another account's process can't be read; the start alone is that of no other process, which is
    enough for who only watches or asks (`unreadable`).
    """
    entry = read_entry(pid) if pid else None
    if pid is None or entry is None or entry.state in ENDED_STATES or entry.started != started:
        return False
    mark = read_mark(pid)
    is_its_mark = unreadable if mark is None else wanted.covers(pid, mark)
    return is_its_mark and SUPERVISOR_MODULE in read_command(pid)


def supervisor_here(job: Job, wanted: Wanted) -> "Identity | None":
    """The pid and start of the job's living supervisor, from which descent counts; None where that is not sure."""
    pid, started = job.supervisor_pid, job.supervisor_started
    is_it = pids_count_here(job) and is_supervisor(pid, started, wanted, unreadable=False)
    return (pid, started) if is_it and pid is not None and started is not None else None


def supervisor_process(supervisor: tuple[int, int], wanted: Wanted) -> Found:
    """The job's supervisor (pid and start) as a process to be ended, or nothing where it is another one or gone."""
    pid, started = supervisor
    if not is_supervisor(pid, started, wanted, unreadable=False):
        return Found()
    return Found((_see(pid, started, None, "S"),), marks={pid: read_mark(pid)})


class _Search:
    """One search for the processes of one job."""

    def __init__(
        self, wanted: Wanted, view: ProcessView, supervisor: tuple[int, int] | None, store: Records | None
    ) -> None:
        self.wanted = wanted
        self.view = view
        self.store = store
        self.supervisor = supervisor[0] if supervisor is not None and view.has(*supervisor) else None
        self.doubted: list[tuple[int, str]] = []
        self.others: dict[str, int | None] = {}
        self.roots: set[int] = set()

    def members(self) -> dict[int, str | None]:
        """Pid → child of every process that belongs to the job, those included that can't be inspected."""
        marked = {
            pid: mark.child
            for pid, mark in self.view.marks.items()
            if mark is not None and self.wanted.covers(pid, mark) and pid != self.supervisor
        }
        members: dict[int, str | None] = dict(marked)
        self.roots = {*marked, *([] if self.supervisor is None else [self.supervisor])}
        for pid, _ in descendants(self.view.table, self.roots):
            if not self._is_foreign(pid):
                members[pid] = self._child_of(pid, members, marked)
        return {pid: child for pid, child in members.items() if pid not in self.view.spared}

    def _is_foreign(self, pid: int) -> bool:
        """Whether a descendant belongs to another job: to its own mark, or to the other job's process above it.

        Where no supervisor of that job is above it, nothing but its own word says so.
        """
        mark = self.view.owner_of_mark(pid)
        if mark is None or self.wanted._replace(place=None).matches(mark):
            return False
        if mark.token is not None and mark.token == self.wanted.token:
            return False
        between = set(takewhile(lambda each: each not in self.roots, self.view.lineage(pid)))
        if pid not in self.view.spared and self._other_supervisor(mark.job or "") not in between:
            self.doubted.append((pid, f"says that it is of job {mark.job:.80}"))
        return True

    def _other_supervisor(self, job_id: str) -> int | None:
        """The pid of another job's supervisor that its record names, and that lives here."""
        if job_id not in self.others:
            self.others[job_id] = None if self.store is None else _supervisor_of(job_id, self.store)
        return self.others[job_id]

    def _child_of(
        self, pid: int, members: dict[int, str | None], marked: dict[int, str | None]
    ) -> str | None:
        entry = self.view.table[pid]
        if members.get(entry.parent) is not None:
            return members[entry.parent]
        return marked.get(entry.session)


def _supervisor_of(job_id: str, store: Records) -> int | None:
    try:
        job = fetch_job(store.client, store.keys, job_id) if is_id(job_id) else None
    except RedisError:
        return None
    found = None if job is None else supervisor_here(job, wanted_of(job, store))
    return None if found is None else found[0]


def describe(view: ProcessView, wanted: dict[int, str | None]) -> Found:
    """What is found where these pids, each with its child, are the job's."""
    entries = [(view.table[pid], child) for pid, child in sorted(wanted.items())]
    seen = tuple(_see(entry.pid, entry.started, child, entry.state) for entry, child in entries)
    return Found(seen, marks={process.pid: view.marks[process.pid] for process in seen})


def _see(pid: int, started: int, child: str | None, state: str) -> SeenProcess:
    owners = owners_of(pid)
    account = account_name(owners[0]) if owners else None
    return SeenProcess(
        pid, started, child, state, command=command_text(pid), account=account, inner_pid=inner_pid(pid)
    )


# What may be a job's though nothing shows it for sure counts as running, and nobody signals it: a mark can be lost
# (`env -i`, `setproctitle`) or unreadable (another account's process, one that forbids it). What Redis says of pids is
# enough to call nothing gone, and never enough to kill.
Identity = tuple[int, int]


class Trace(NamedTuple):
    """A process that may be the job's, and why; `is_certain` where it is surely the one that was seen as such."""

    pid: int
    why: str
    is_certain: bool


_SUPER_USER: Final = 0
_INIT: Final = 1
_WITHOUT_MARK: Final = "which has the pid and start of the job's, but not its mark"


def traces_of(
    job: Job, view: ProcessView, known: Collection[Identity] = (), child: Child | None = None
) -> Iterator[Trace]:
    """Yield what may be the job's, or one child's, best known first; pids of the record must count here.

    `known` are pids and starts that were seen as the job's earlier.
    """
    of_record = _of_record(job if child is None else child)
    for pid, started in (*of_record, *(known if child is None else ())):
        if view.has(pid, started) and not _is_others(pid, job, view):
            yield _trace(pid, view, _WITHOUT_MARK)
    if child is None:
        yield from _ourselves(job, view)
        yield from _of_session(job, view)
        yield from _named_as_left(job, view)
    yield from _uninspected(job, view)
    yield from _concealed(job, view)


def claims_of(wanted: Wanted, view: ProcessView, child: Child | None = None) -> Iterator[Trace]:
    """Yield what says that it is the job's, or one child's, and may be, though it is nobody's to signal for that."""
    for pid, mark in _claims(wanted, view):
        if child is None or child.id == mark.child:
            whose = f"for {mark.owner or 'nobody'} by way of {mark.place or 'no server'}"
            yield Trace(pid, f"of {_account_of(pid)} runs, which says that it was launched {whose}", False)


def _of_record(part: Job | Child) -> Iterable[Identity]:
    if part.pid is not None and part.process_started is not None:
        yield part.pid, part.process_started


def _ourselves(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Yield this process and its ancestors if they are part of the job: no kill touches them, yet they run."""
    for pid in view.spared:
        mark = view.marks.get(pid)
        if mark is not None and wanted_of(job).matches(mark):
            yield Trace(pid, "is this command or what started it, inside the job itself", True)


def _is_others(pid: int, job: Job, view: ProcessView) -> bool:
    """Whether a process certainly belongs elsewhere: by its own or inherited mark, or because it is spared."""
    mark = view.owner_of_mark(pid)
    return pid in view.spared or (mark is not None and not wanted_of(job).matches(mark))


def _of_session(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Yield processes of the main process's session: while one of them lives, its pid is not reused."""
    leader = view.table.get(job.pid or 0)
    is_reused = leader is not None and job.process_started not in (None, leader.started)
    if job.pid is None or is_reused:
        return
    for entry in view.table.values():
        if (
            entry.session == job.pid
            and entry.started >= _earliest(job)
            and not _is_others(entry.pid, job, view)
        ):
            yield _trace(entry.pid, view, "which is in the session of the job's main process")


def _named_as_left(job: Job, view: ProcessView) -> Iterator[Trace]:
    for word in (job.left_running or "").split():
        entry = view.table.get(values.integer(word) or 0)
        if (
            entry is not None
            and entry.started >= _earliest(job)
            and not _is_others(entry.pid, job, view)
            and not _is_of_the_kernel(entry)
        ):
            yield _trace(entry.pid, view, "which outlived an earlier kill")


def _uninspected(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Processes no older than the job's supervisor, of an account that its processes may have, unreadable to us."""
    for pid, mark in view.marks.items():
        entry = view.table[pid]
        is_inspected = mark is not None and mark != UNREAD
        if is_inspected or entry.started < _earliest(job) or _is_others(pid, job, view):
            continue
        if may_be_of(pid, job.account) and (mark == UNREAD or not _is_of_the_kernel(entry)):
            yield _trace(pid, view, "")


def _trace(pid: int, view: ProcessView, why: str) -> Trace:
    """Describe whose process it is and why it may be the job's."""
    is_readable = view.marks.get(pid) not in (None, UNREAD)
    reason = why if is_readable else "which can't be inspected"
    return Trace(pid, f"of {_account_of(pid)} runs, {reason}", is_readable)


def _account_of(pid: int) -> str:
    owners = owners_of(pid)
    return account_name(owners[0]) if owners else "an account"


def _earliest(job: Job) -> int:
    return job.supervisor_started or job.process_started or 0


def may_be_of(pid: int, account: str | None) -> bool:
    """Whether a process that is there may be of a job that this account started: root may become anybody."""
    uid, owners = None if account is None else user_id(account), owners_of(pid)
    return bool(owners) and (uid in (None, _SUPER_USER) or uid in owners)


def _is_of_the_kernel(entry: TableEntry) -> bool:
    return not read_command(entry.pid)


def _concealed(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Yield what exists although `/proc` hides other accounts' processes from us (`hidepid`)."""
    for pid in (job.supervisor_pid, job.pid):
        if pid and is_concealed(pid):
            yield Trace(pid, "of another account runs, which can't be seen", False)
    if _INIT not in view.table and job.account != login_name():
        yield Trace(
            job.pid or 0, f"may run: those of {job.account or 'other accounts'} are not shown to us", False
        )


def is_concealed(pid: int | None) -> bool:
    """Whether there is a process of this pid though `/proc` does not show it to us."""
    if not pid or read_entry(pid) is not None:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def why_not_alone(child: Child, find: Callable[[str | None], Found]) -> str | None:
    """Say why a child that has not ended can't be killed alone, else None.

    `find` finds the processes of one child, and those of the whole job for None.
    """
    if child.status == PENDING:
        return None
    own = {process.pid for process in find(child.id).processes}
    if child.pid is None:
        return None if own else "no process of it is known; kill the whole job"
    if child.pid in own:
        return None
    starts = {each.pid: each.started for each in find(None).processes}
    # The pid of a child that Slurm placed on another node, whose `srun` is here, may be another process here.
    is_elsewhere = own and child.process_started not in (None, starts.get(child.pid))
    if child.pid in starts and not is_elsewhere:
        return f"it is a thread of pid {child.pid}, which can't be killed alone; kill the whole job"
    return None
