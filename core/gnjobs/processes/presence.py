"""Whether anything of a job still runs on this host, for a job whose supervisor is silent."""

import os
import time
from collections.abc import Callable, Collection
from itertools import chain
from typing import Final

from gnjobs.processes.activity import read_state
from gnjobs.processes.find import is_supervisor, processes_of, wanted_of
from gnjobs.processes.host import (
    is_of_this_boot,
    is_on_this_host,
    pids_count_here,
    restarted_since,
    sees_all_namespaces,
)
from gnjobs.processes.proc import list_pids, process_start, shows_our_processes
from gnjobs.processes.seen import Identity, Presence, ProcessSnapshot
from gnjobs.processes.table import ProcessView, Wanted
from gnjobs.processes.traces import Trace, claims_of, traces_of
from gnjobs.records.fields import Child, Job

_VIEW_SECONDS: Final = 0.5


def look(
    job: Job,
    view: ProcessView | None = None,
    known: Collection[Identity] = (),
    wanted: Wanted | None = None,
) -> Presence:
    """Look for the job's processes here; it takes some milliseconds, unless a `view` is given.

    They are `gone` only where nothing of them could be hidden: what can't be inspected counts as running, and so do
    those processes that were `known` as the job's, whatever their marks say.
    """
    if not is_on_this_host(job):
        return Presence(
            "elsewhere", f"its processes on {job.host or 'another host'} cannot be seen from here"
        )
    if not shows_our_processes():
        return Presence("elsewhere", "this system does not show its processes")
    if job.boot_id is not None and not (is_of_this_boot(job) or restarted_since(job)):
        return Presence("elsewhere", f"it runs on another machine that is called {job.host}")
    return _look_here(job, view or ProcessView(), known, wanted or wanted_of(job))


class Looks:
    """Looks for many jobs soon after each other in one view of the processes: each view reads all of `/proc`."""

    def __init__(self) -> None:
        self._view: ProcessView | None = None
        self._until = 0.0

    def __call__(self, job: Job, known: Collection[Identity] = ()) -> Presence:
        """Look for the job's processes in what was seen at most half a second ago."""
        if self._view is None or time.monotonic() > self._until:
            self._view = ProcessView()
            self._until = time.monotonic() + _VIEW_SECONDS
        return look(job, self._view, known)


_again: Final = Looks()


def look_well(
    job: Job, look_first: Callable[[Job], Presence], stored: Callable[[], ProcessSnapshot | None]
) -> Presence:
    """Look as `look_first` does; what that calls gone is looked for among what its supervisor stored, too.

    A process that has lost its mark and its parent is known by nothing else. Anybody may have stored it for many jobs.
    """
    presence = look_first(job)
    if presence.kind != "gone":
        return presence
    found = stored()
    processes = found.processes if found is not None else ()
    pids = {each.pid for each in processes}
    # Each is read once, however many starts are named with it.
    starts = {pid: process_start(pid) for pid in (pids.intersection(list_pids()) if pids else ())}
    known = {each.identity for each in processes} & starts.items()
    again = _again(job, known) if known else presence
    return again if again.kind in ("running", "hidden") else presence


def unseen(
    job: Job,
    view: ProcessView,
    known: Collection[Identity] = (),
    child: Child | None = None,
    wanted: Wanted | None = None,
) -> Trace | None:
    """Name a process that may be the job's, or one child's, though it is not known to be.

    None where everything is seen.
    """
    traces = traces_of(job, view, known, child) if pids_count_here(job) else ()
    claims = claims_of(wanted or wanted_of(job), view, child)
    found = next(chain(claims, traces), None)
    if found is not None or pids_count_here(job) or restarted_since(job):
        return found
    if job.boot_id is not None and not is_of_this_boot(job):
        return Trace(job.pid or 0, f"runs on another machine that is called {job.host}", False)
    if is_of_this_boot(job) and not _may_have_processes(job.pid_namespace, view):
        return None
    return Trace(job.pid or 0, "is in another pid namespace, which cannot be seen from here", False)


def _look_here(job: Job, view: ProcessView, known: Collection[Identity], wanted: Wanted) -> Presence:
    supervisor = (job.supervisor_pid or 0, job.supervisor_started or 0) if pids_count_here(job) else None
    found = processes_of(wanted, supervisor=supervisor, view=view)
    is_supervised = supervisor is not None and is_supervisor(*supervisor, wanted)
    if is_supervised and read_state(job.supervisor_pid or 0) == "R":
        return Presence("late", f"supervisor {job.supervisor_pid} waits for a processor")
    if found.processes:
        count = len(found.processes)
        return Presence("running", f"{count} process{'es run' if count > 1 else ' runs'}")
    if is_supervised:
        return Presence("running", f"supervisor {job.supervisor_pid} is there and does not report")
    hidden = unseen(job, view, known, wanted=wanted)
    if hidden is None:
        return Presence("restarted" if restarted_since(job) else "gone")
    if not pids_count_here(job):
        return Presence(
            "elsewhere", "its processes are in another pid namespace and cannot be seen from here"
        )
    return Presence("running" if hidden.is_certain else "hidden", f"process {hidden.pid} {hidden.why}")


def _may_have_processes(namespace: str | None, view: ProcessView) -> bool:
    """Whether there could be a process in a pid namespace of this machine; False only where all can be seen."""
    if namespace is None or not sees_all_namespaces():
        return True
    return any(_namespace_of(pid) in (None, namespace) for pid in view.table)


def _namespace_of(pid: int) -> str | None:
    """The pid namespace of a process; None where it can't be told."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except ProcessLookupError:
        return ""
    except OSError:
        return None
