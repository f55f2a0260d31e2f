"""What can be said on this host of the processes of a job whose supervisor is silent."""

from pathlib import Path
from typing import Final

from gnjobs.health import Presence
from gnjobs.hidden_processes import uninspected
from gnjobs.identity import boot_id, is_on_this_host, pids_count_here
from gnjobs.process_table import read_entry
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
    unseen = uninspected(job)
    return Presence("gone") if unseen is None else _hidden(*unseen)


def _hidden(pid: int, account: str) -> Presence:
    return Presence("hidden", f"process {pid} of {account} runs, which can't be inspected")


def _lives(pid: int | None, started: int | None) -> bool:
    """Whether this very process is there: a start in the same boot and namespace is that of no other."""
    entry = read_entry(pid) if pid else None
    return entry is not None and entry.started == started and entry.state not in ENDED_STATES
