"""What can be said on this host of the processes of a job whose supervisor is silent."""

import os
from pathlib import Path
from typing import Final

from gnjobs.health import Presence
from gnjobs.identity import account_name, boot_id, is_on_this_host, pids_count_here
from gnjobs.process_table import ancestors_and_self, owner_of, read_command, read_entry, read_mark, read_table
from gnjobs.processes import ENDED_STATES, processes_of
from gnjobs.records import Job

_PROCESSES: Final = Path("/proc/self/stat")


def look(job: Job) -> Presence:
    """Look for the job's processes here; it takes some milliseconds.

    They are `gone` only where nothing of them could be hidden: what can't be inspected counts as running.
    """
    if not is_on_this_host(job):
        return Presence(
            "elsewhere", f"its processes on {job.host or 'another host'} cannot be seen from here"
        )
    if not _PROCESSES.exists():
        return Presence("elsewhere", "this system does not show its processes")
    if job.boot_id is not None and job.boot_id != boot_id():
        return Presence("restarted")
    if not pids_count_here(job):
        return Presence(
            "elsewhere", "its processes are in another pid namespace and cannot be seen from here"
        )
    return _look_here(job)


def _look_here(job: Job) -> Presence:
    found = processes_of(job.id, supervisor=(job.supervisor_pid or 0, job.supervisor_started or 0))
    if found.hidden:
        return _hidden(*found.hidden[0])
    if found.processes:
        count = len(found.processes)
        return Presence("running", f"{count} process{'es run' if count > 1 else ' runs'}")
    if _lives(job.supervisor_pid, job.supervisor_started):
        return Presence("running", f"supervisor {job.supervisor_pid} is there and does not report")
    unseen = _uninspected(job)
    return Presence("gone") if unseen is None else _hidden(*unseen)


def _hidden(pid: int, account: str) -> Presence:
    return Presence("hidden", f"process {pid} of {account} runs, which can't be inspected")


def _lives(pid: int | None, started: int | None) -> bool:
    """Whether this very process is there: a start in the same boot and namespace is that of no other."""
    entry = read_entry(pid) if pid else None
    return entry is not None and entry.started == started and entry.state not in ENDED_STATES


def _uninspected(job: Job) -> tuple[int, str] | None:
    """A process that may be the job's, by pid and account: of its account, no older, and its mark can't be read."""
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
    except OSError:
        return False
    return False
