"""What may be a job's though nothing shows it for sure: it counts as running, and nobody signals it.

A mark can be lost (`env -i`, `setproctitle`) or unreadable (another account's process, one that forbids it). What Redis
says of pids is enough to call nothing gone, and never enough to kill.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from gnjobs.processes.find import claiming, wanted_of
from gnjobs.processes.host import account_name, own_account, user_id
from gnjobs.processes.proc import TableEntry, folder_of_memory, owners_of, read_entry
from gnjobs.processes.seen import Identity
from gnjobs.processes.table import UNREAD, Mark, ProcessView, Wanted
from gnjobs.records import values
from gnjobs.records.accounts import SUPER_USER
from gnjobs.records.actor import is_in_user_namespace
from gnjobs.records.fields import Child, Job

_INIT: Final = 1
_UNKNOWN_USER: Final = 65534  # to a user namespace that does not know one
_WITHOUT_MARK: Final = "which has the pid and start of the job's, but not its mark"


class Trace(NamedTuple):
    """A process that may be the job's, and why; `is_certain` where it is surely the one that was seen as such."""

    pid: int
    why: str
    is_certain: bool


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
    """Yield what claims to be the job's, or one child's, and may be so, though nobody may signal it for that."""
    for pid, mark in claiming(wanted, view):
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
        if entry.session == job.pid and _may_be_its(entry, job, view):
            yield _trace(entry.pid, view, "which is in the session of the job's main process")


def _named_as_left(job: Job, view: ProcessView) -> Iterator[Trace]:
    for word in (job.left_running or "").split():
        entry = view.table.get(values.integer(word) or 0)
        if entry is not None and _may_be_its(entry, job, view) and not _is_of_the_kernel(entry.pid):
            yield _trace(entry.pid, view, "which outlived an earlier kill")


def _uninspected(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Processes no older than the job's supervisor, of an account that its processes may have, unreadable to us."""
    for pid, mark in view.marks.items():
        is_inspected = mark is not None and mark != UNREAD
        if is_inspected or not _may_be_its(view.table[pid], job, view):
            continue
        if may_be_of(pid, mark, job.account):
            yield _trace(pid, view, "")


def _trace(pid: int, view: ProcessView, why: str) -> Trace:
    """Describe whose process it is and why it may be the job's."""
    is_readable = view.marks.get(pid) not in (None, UNREAD)
    reason = why if is_readable else "which can't be inspected"
    return Trace(pid, f"of {_account_of(pid)} runs, {reason}", is_readable)


def _account_of(pid: int) -> str:
    owners = owners_of(pid)
    return account_name(owners[0]) if owners else "an account"


def _may_be_its(entry: TableEntry, job: Job, view: ProcessView) -> bool:
    """Whether a process is no older than the job, as far as is known, and does not certainly belong elsewhere."""
    earliest = job.supervisor_started or job.process_started or 0
    return entry.started >= earliest and not _is_others(entry.pid, job, view)


def may_be_of(pid: int, mark: Mark | None, account: str | None) -> bool:
    """Whether a process whose mark could not be read may be of a job that this account started.

    Where we may not read it, any may be of a job of root's, which may become anybody, and what is outside of our user
    namespace of one whose account may be there, too; where it shows none to us, which anybody's may do, only those of
    the account.
    """
    uid, owners = None if account is None else user_id(account), owners_of(pid)
    if mark == UNREAD:
        return bool(owners) and (uid is None or uid in owners)
    may_be = uid in (None, SUPER_USER) or uid in owners or _are_outside(owners, uid)
    return bool(owners) and may_be and not _is_of_the_kernel(pid)


def _are_outside(owners: tuple[int, ...], uid: int) -> bool:
    """Whether they are shown as nobody because our user namespace does not know them, and may be this one's.

    Whatever number its name has there: of one's own alone is it known that it is the same.
    """
    return _UNKNOWN_USER in owners and uid != os.geteuid() and is_in_user_namespace()


def _is_of_the_kernel(pid: int) -> bool:
    """Whether it has no memory of its own: any process may have an empty command line."""
    return folder_of_memory(pid) is None


def _concealed(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Yield what exists although `/proc` hides other accounts' processes from us (`hidepid`)."""
    for pid in (job.supervisor_pid, job.pid):
        if pid and is_concealed(pid):
            yield Trace(pid, "of another account runs, which can't be seen", False)
    if _INIT not in view.table and job.account != own_account():
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
