"""Processes that may be a job's though nothing shows it for sure: they count as running, and nobody signals them.

A mark can be lost (`env -i`, `setproctitle`) or unreadable (another account's process, one that forbids it). What
Redis says of pids is enough to call nothing gone, and never enough to kill.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from gnjobs.processes.host import account_name, login_name, user_id
from gnjobs.processes.process_view import ProcessView
from gnjobs.processes.table import TableEntry, owners_of, read_command, read_entry
from gnjobs.records import values
from gnjobs.records.fields import Child, Job

Identity = tuple[int, int]


class Trace(NamedTuple):
    """A process that may be the job's, and why; `is_certain` where it is surely the one that was seen as such."""

    pid: int
    why: str
    is_certain: bool


_SUPER_USER: Final = 0
_INIT: Final = 1
_WITHOUT_MARK: Final = "which has the pid and start of the job's, but not its mark"


def traces_of(job: Job, view: ProcessView, known: Collection[Identity] = ()) -> Iterator[Trace]:
    """Yield what may be the job's, best known first; pids of its record must count here.

    `known` are pids and starts that were seen as the job's earlier.
    """
    for pid, started in (*_of_record(job), *known):
        if view.has(pid, started) and not _is_others(pid, job, view):
            yield _trace(pid, view, _WITHOUT_MARK)
    yield from _ourselves(job, view)
    yield from _of_session(job, view)
    yield from _named_as_left(job, view)
    yield from _uninspected(job, view)
    yield from _concealed(job, view)


def traces_of_child(job: Job, child: Child, view: ProcessView) -> Iterator[Trace]:
    """Yield what may be one child's, though the child has no marked process."""
    if child.process_started is not None and view.has(child.pid, child.process_started):
        yield _trace(child.pid or 0, view, _WITHOUT_MARK)
    yield from _uninspected(job, view)
    yield from _concealed(job, view)


def _of_record(job: Job) -> Iterable[Identity]:
    if job.pid is not None and job.process_started is not None:
        yield job.pid, job.process_started


def _ourselves(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Who looks from inside the job is spared by every kill, and runs all the same."""
    for pid in view.spared:
        mark = view.marks.get(pid)
        if mark is not None and mark.is_of(job.id, job.mark):
            yield Trace(pid, "is this command or what started it, inside the job itself", True)


def _is_others(pid: int, job: Job, view: ProcessView) -> bool:
    """Whether a process is known to be none of the job's: its own or inherited mark says so, or it is spared."""
    mark = view.owner_of_mark(pid)
    return pid in view.spared or (mark is not None and not mark.is_of(job.id, job.mark))


def _of_session(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Processes of the session that the job's main process led: its pid is no other's while one of them lives."""
    for entry in view.table.values():
        if (
            job.pid is not None
            and entry.session == job.pid
            and entry.started >= _earliest(job)
            and not _is_others(entry.pid, job, view)
        ):
            yield _trace(entry.pid, view, "which is in the session of the job's main process")


def _named_as_left(job: Job, view: ProcessView) -> Iterator[Trace]:
    for word in (job.left_running or "").split():
        entry = view.table.get(values.integer(word) or 0)
        if entry is not None and entry.started >= _earliest(job) and not _is_others(entry.pid, job, view):
            yield _trace(entry.pid, view, "which outlived an earlier kill")


def _uninspected(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Processes no older than the job's supervisor, of an account that its processes may have, unreadable to us."""
    for pid, mark in view.marks.items():
        entry = view.table[pid]
        if mark is None and entry.started >= _earliest(job) and not _is_others(pid, job, view):
            owners = owners_of(pid)
            if owners and _may_have(owners, job.account) and not _is_of_the_kernel(entry):
                yield _trace(pid, view, "")


def _trace(pid: int, view: ProcessView, why: str) -> Trace:
    """Whose process it is, and why it may be the job's."""
    owners = owners_of(pid)
    account = account_name(owners[0]) if owners else "an account"
    is_readable = view.marks.get(pid) is not None
    reason = why if is_readable else "which can't be inspected"
    return Trace(pid, f"of {account} runs, {reason}", is_readable)


def _earliest(job: Job) -> int:
    return job.supervisor_started or job.process_started or 0


def _may_have(owners: tuple[int, ...], account: str | None) -> bool:
    """Whether a process of these user ids may be of a job that this account started: root may become anybody."""
    uid = None if account is None else user_id(account)
    return uid in (None, _SUPER_USER) or uid in owners


def _is_of_the_kernel(entry: TableEntry) -> bool:
    return not read_command(entry.pid)


def _concealed(job: Job, view: ProcessView) -> Iterator[Trace]:
    """Where `/proc` does not show us other accounts' processes (`hidepid`): what is there all the same."""
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
