"""A kill done on the job's own host by the asker or the agent, where no supervisor answers."""

import math
import time
from collections.abc import Callable, Collection, Iterator

import msgspec
from redis.exceptions import RedisError

from gnjobs.errors import NoSuchJob
from gnjobs.processes.end import end_processes, kill_child
from gnjobs.processes.find import (
    SUPERVISOR_MODULE,
    OtherJobs,
    claimants,
    describe,
    processes_of,
    supervisor_here,
    supervisor_process,
    wanted_of,
)
from gnjobs.processes.host import host_name, is_on_this_host
from gnjobs.processes.presence import unseen
from gnjobs.processes.proc import STOPPED_STATES, read_command, read_entry
from gnjobs.processes.seen import Found, Identity, SeenProcess
from gnjobs.processes.stored import known_identities
from gnjobs.processes.table import ProcessView
from gnjobs.processes.workers import is_shared, worker_processes_of
from gnjobs.records.connection import server_time
from gnjobs.records.ends import StopRequest, conclude_kill
from gnjobs.records.fields import Child, Job
from gnjobs.records.reading import Records
from gnjobs.records.requests import KillStep, pid_list, step
from gnjobs.records.statuses import KILLED, LOST, PENDING

_ENDING_SECONDS = 5.0
_LOOK_SECONDS = 0.02
# For so long a server that forgot its last second may lack a launch, until a beat says it again.
_FORGETTABLE_SECONDS = 60.0


def _may_be_ending(process: SeenProcess) -> bool:
    return not (words := read_command(process.pid)) or SUPERVISOR_MODULE in words


class LocalKill:
    """The kill of a job or of one child on its own host, where the supervisor can't do it."""

    def __init__(
        self,
        store: Records,
        job: Job,
        child: Child | None,
        stop: StopRequest,
        grace: float,
        owner: str | None = None,
        *,
        as_agent: bool = False,
    ) -> None:
        self._store = store
        self._job = job
        self._child = child
        self._stop = stop
        self._grace = grace
        self._owner = owner
        self._as_agent = as_agent
        self._wanted = wanted_of(job, store, owner)
        self._supervisor = supervisor_here(job, self._wanted)
        self._child_id = child.id if child is not None else None
        self._is_shared = False
        self._has_met_worker = False
        self._doubted: dict[Identity, str] = {}

    def is_there(self) -> bool:
        """Whether anything of it runs here, or may."""
        return bool(self._find())

    def runs_on(self, *, is_verified: bool = False) -> bool:
        """Whether something of what is said to have ended, or to be elsewhere, runs here all the same.

        Where its end was verified, only a mark shows that: `unless_seen` names what looks like its worker, and gives
        what may be ending time for it.
        """
        if is_verified:
            return not all(map(_may_be_ending, self._marked(self._child_id).processes))
        found = self._find()
        is_left = bool(self._job.left_running) and is_on_this_host(self._job)
        others = any(SUPERVISOR_MODULE not in read_command(each.pid) for each in found.processes)
        return others or bool(is_left and found.hidden)

    def is_claimed(self) -> bool:
        """Whether anything here claims to be of the job, whatever the record says."""
        return bool(self._claimants())

    def may_run_elsewhere(self) -> bool:
        """Whether what is said to wait or to have ended may run on another host: a server may forget its last second.

        Of a job in Slurm, Slurm tells, unless somebody beats for one that waits.
        """
        job = self._job
        if job.is_final:
            return not job.is_in_slurm and (job.heartbeat or 0.0) > (job.finished or math.inf)
        if job.status != PENDING:
            return False
        if job.heartbeat is not None:
            return True
        if job.is_in_slurm:
            return False
        if job.launched is not None:
            return job.launch_host != host_name()
        return server_time(self._store.client) - (job.created or 0.0) < _FORGETTABLE_SECONDS

    def unless_seen(self, answered: KillStep) -> KillStep:
        """The last step; it names what still claims here to be of the job, whatever the record says."""
        is_blind = answered.kind == "refused" and self._child is None
        alive = self._claimants() if answered.verified or is_blind else ()
        if not alive:
            return answered
        pids, accounts = [each.pid for each in alive], sorted({each.account or "?" for each in alive})
        text = f"{answered.text}; yet it runs here: {pid_list(pids)} of {', '.join(accounts)}"
        return step("left", text, pids, final=True)

    def _claimants(self) -> tuple[SeenProcess, ...]:
        """What claims it; what may be a supervisor, or no longer has a command line, is given time to end."""
        until = time.monotonic() + _ENDING_SECONDS
        while True:
            alive = claimants(self._wanted, self._child_id, self._store)
            if self._child is None:
                view = ProcessView()
                worker = worker_processes_of(self._job, self._store, view, with_names=True)
                alive += worker.processes + describe(view, {pid: None for pid, _ in worker.hidden}).processes
            if not any(map(_may_be_ending, alive)) or time.monotonic() > until:
                return alive
            time.sleep(_LOOK_SECONDS)

    def steps(self) -> Iterator[KillStep]:
        """End the child, the job and its frozen supervisor, or what another program started; yields each step."""
        if not self._job.is_supervised:
            yield from self._end_foreign_job()
        elif self._child is not None:
            yield from kill_child(
                self._store,
                self._job,
                self._child,
                self._stop,
                self._marked,
                look=self._find,
                grace=self._grace,
            )
        else:
            known = known_identities(self._store, self._job.id)
            yield from self._end_job(lambda: self._find(known))

    def _end_job(self, find: Callable[[], Found]) -> Iterator[KillStep]:
        verdict = yield from end_processes(find, grace=self._grace)
        if self._supervisor is not None and not self._goes_on(self._supervisor[0], verdict):
            yield from self._end_supervisor(self._supervisor)
        # Where nothing was left to be killed, only a kill that was asked for earlier can have been its end.
        earlier = StopRequest.of(self._job)
        status = KILLED if verdict.pids or earlier else LOST
        stop = self._stop if verdict.pids else earlier or self._stop
        last = conclude_kill(
            self._store, self._job, None, stop, verdict, status=status, wait_seconds=_ENDING_SECONDS
        )
        yield self._of_this_host(last) if last.verified else last

    def _goes_on(self, supervisor: int, verdict: KillStep) -> bool:
        """Whether its supervisor, unless that is stopped, has more to end, or soon writes the end itself."""
        until = time.monotonic() + _ENDING_SECONDS
        while (entry := read_entry(supervisor)) is not None and entry.state not in STOPPED_STATES:
            if not verdict.verified or self._has_end():
                return True
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_SECONDS)
        return entry is None

    def _has_end(self) -> bool:
        try:
            return self._store.again(self._job).is_final
        except (NoSuchJob, RedisError):
            return False

    def _find(self, known: Collection[Identity] = ()) -> Found:
        """Find what is to be ended; when there is nothing, what may be the job's and can't be touched."""
        view = ProcessView()
        found = self._seen(view)
        hidden = None if found else unseen(self._job, view, known, self._child, self._wanted)
        return found if hidden is None else Found(hidden=((hidden.pid, hidden.why),))

    def _seen(self, view: ProcessView | None = None) -> Found:
        """Its processes, and what can't be touched, also where what was above that has ended since an earlier look."""
        view = view or ProcessView()
        found, others = self._marked_or_worker(view), OtherJobs(view, self._store)
        known = {pid for pid, _ in found.hidden} | {each.pid for each in found.processes}
        left = tuple(
            (pid, why)
            for (pid, started), why in self._doubted.items()
            if pid not in known and view.has(pid, started) and others.doubt(pid)
        )
        self._doubted |= {(pid, view.table[pid].started): why for pid, why in found.hidden}
        return msgspec.structs.replace(found, hidden=(*found.hidden, *left))

    def _marked_or_worker(self, view: ProcessView) -> Found:
        """Its processes by their marks, else by what the command line of another program's worker says."""
        found = self._marked(self._child_id, view)
        is_ours = self._job.is_supervised
        if found or self._child is not None or (is_ours and self._owner is not None):
            return found
        with_names = self._as_agent or is_ours or self._job.is_final
        worker = worker_processes_of(
            self._job, self._store, view, with_names=with_names, is_shared=self._is_shared
        )
        self._has_met_worker |= bool(worker.processes)
        return worker

    def _marked(self, child_id: str | None, view: ProcessView | None = None) -> Found:
        return processes_of(self._wanted, child_id, supervisor=self._supervisor, view=view, store=self._store)

    def _end_supervisor(self, supervisor: Identity) -> Iterator[KillStep]:
        yield step("killing", f"ending the frozen supervisor {supervisor[0]}", (supervisor[0],))
        yield from end_processes(lambda: supervisor_process(supervisor, self._wanted), grace=0.0)

    def has_worker(self) -> bool:
        """Whether a worker of another program runs the job here, or may."""
        return bool(self._seen())

    def _of_this_host(self, gone: KillStep) -> KillStep:
        """Any account can start what looks like a worker: say that no other host was looked at."""
        is_ours = self._job.is_supervised
        if is_on_this_host(self._job) or (is_ours and not self._has_met_worker):
            return gone
        if self._job.host is None and not is_ours:
            text = f"{gone.text}; its record names no host: {host_name()} alone was looked at"
            return msgspec.structs.replace(gone, text=text)
        host = self._job.host or "another host"
        return step("left", f"{gone.text}; its record says that it runs on {host}", final=True)

    def _end_foreign_job(self) -> Iterator[KillStep]:
        """End what another program started; this host is all that can be looked at, whatever runs elsewhere."""
        if self._owner is not None:
            text = "another program runs it, and nothing shows for whom: only an admin can have it killed"
            yield step("refused", text, final=True)
        elif self.has_worker():
            self._is_shared = is_shared(self._job, self._store)
            yield from self._end_job(self._seen)
        else:
            text = (
                f"no process of it was found on {host_name()}, and its record names no supervisor and no host"
            )
            yield step("refused", text, final=True)
