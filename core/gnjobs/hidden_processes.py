"""Processes of this host that can't be inspected, since they are another account's: they count as running."""

import os

from gnjobs.identity import account_name
from gnjobs.process_table import (
    ancestors_and_self,
    owner_of,
    read_command,
    read_entry,
    read_mark,
    read_table,
)
from gnjobs.processes import ENDED_STATES
from gnjobs.records import Job


def uninspected(job: Job) -> tuple[int, str] | None:
    """Find a process that may be the job's, as pid and account: of its account, no older, its mark unreadable."""
    spared = ancestors_and_self()
    for entry in read_table().values():
        is_younger = entry.started >= (job.process_started or 0)
        if is_younger and entry.state not in ENDED_STATES and entry.pid not in spared:
            account = _unreadable_account(entry.pid)
            if account is not None and job.account in (None, account):
                return entry.pid, account
    concealed = (pid for pid in (job.supervisor_pid, job.pid) if pid and _is_concealed(pid))
    return next(((pid, "another account") for pid in concealed), None)


def _unreadable_account(pid: int) -> str | None:
    """The account of a process whose mark can't be read; None for one that can be, and for a thread of the kernel."""
    if read_mark(pid) is not None or not read_command(pid):
        return None
    owner = owner_of(pid)
    return None if owner is None else account_name(owner)


def _is_concealed(pid: int) -> bool:
    """Whether there is a process of this pid, though `/proc` does not show it to us (`hidepid`)."""
    if read_entry(pid) is not None:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False
