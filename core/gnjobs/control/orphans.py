"""The agent's rounds: looks for jobs of this host that nobody reports on, and says what it has verified of each."""

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from gnjobs.control.turns import WRITING_SECONDS, Turns, apart
from gnjobs.health.assess import BEAT_SECONDS, beat_overdue_after
from gnjobs.health.verdict import Limits
from gnjobs.processes.find import is_supervisor, processes_of, wanted_of
from gnjobs.processes.host import host_name, is_on_this_host, pid_namespace
from gnjobs.processes.presence import look
from gnjobs.processes.proc import command_text, owners_of
from gnjobs.processes.seen import Presence, SeenProcess
from gnjobs.processes.stored import known_identities, read_processes
from gnjobs.processes.table import UNREAD, ProcessView, descendants
from gnjobs.processes.traces import may_be_of
from gnjobs.processes.workers import worker_processes_of
from gnjobs.records import events, values
from gnjobs.records.bounded import cut_record, read_hashes
from gnjobs.records.connection import patiently, readable
from gnjobs.records.ends import JobEnd, StopRequest, end_children, end_job
from gnjobs.records.fields import JOB_FIELDS, Job, read_job_list
from gnjobs.records.indexes import Cursor, read_index
from gnjobs.records.keys import OWN_STATUS, is_user
from gnjobs.records.reading import Records
from gnjobs.records.scripts import Value, set_fields
from gnjobs.records.statuses import KILLED, LOST, PENDING, STOPPING, UNFINISHED_STATUSES
from gnjobs.supervisor.children import ChildWatch
from gnjobs.supervisor.measure import Measuring, clocks_now
from gnjobs.supervisor.signs import JobSigns

_AT_ONCE: Final = 500
_MOST_A_ROUND: Final = 5000
_LAUNCH_SECONDS: Final = 3 * BEAT_SECONDS
_OVERDUE_SECONDS: Final = 60.0
_WHOLE: Final = (*JOB_FIELDS, OWN_STATUS)
_MOST_OVERDUE: Final = 1000
_MOST_ORPHANS: Final = 500
_LOOK_SECONDS: Final = 5.0  # a round, since whoever writes records can make any number of orphans


class Orphan:
    """A job without its supervisor, whose signs of life the agent follows as that did."""

    def __init__(self, store: Records, job: Job, view: ProcessView) -> None:
        self._store = store
        self._id, self._written = job.id, job.written or 0  # the rest may be as long as somebody likes
        self._run = store.run_of(job)
        self._wanted = wanted_of(job, store)
        self._view: ProcessView | None = None
        snapshot = read_processes(store.client, store.keys, job.id)
        known = snapshot.processes if snapshot is not None else ()
        self._known = {each.pid: each for each in known if view.has(each.pid, each.started)}
        self._named = set[int]()
        self._signs = JobSigns(
            store.keys,
            job.id,
            ChildWatch(store.keys, job.id),
            Measuring(
                self._find,
                Limits().quiet(job),
                lambda _: self._view or ProcessView(),
                may_not_look_into=lambda process: process.pid in self._named,
            ),
            job.last_output or job.started or 0.0,
        )

    def is_of(self, job: Job) -> bool:
        """Whether it is this job, and not an earlier one of its id."""
        return self._run == self._store.run_of(job)

    def beat(self, now: float, view: ProcessView, fields: Mapping[str, Value]) -> None:
        """Beat in its supervisor's place, with what a view shows of it `now` (the server's time) and `fields` more."""
        self._view = view
        client, keys = self._store.client, self._store.keys
        said = self._signs.look(clocks_now(now))
        written = max(self._written, values.integer(str(said.fields["written"])) or 0)
        pipe = client.pipeline(transaction=False)
        reads = self._signs.add_reads(pipe)
        set_fields(pipe, self._run.record, {**said.fields, "written": written, **fields}, self._run)
        if said.snapshot is not None:
            pipe.set(keys.processes(self._id), said.snapshot, xx=True, keepttl=True)
        with self._signs.watch.noting_what_is_too_large():
            replies = pipe.execute(raise_on_error=False)
        self._signs.watch.discover(client, self._signs.take([readable(replies[0]), *replies[1:reads]]))

    def _find(self, view: ProcessView) -> Iterator[SeenProcess]:
        """Its processes, and those without a mark that its supervisor knew by descent, with what these have started.

        Only Redis says whose these are, and somebody may have written that to have root look into another's processes:
        they are `_named`.
        """
        self._named.clear()
        found = {each.pid: each for each in processes_of(self._wanted, view=view).processes}
        yield from found.values()
        # Whoever writes records may have named any as known: none of another account than the marked ones counts.
        accounts = {owners_of(pid) for pid in found}
        known = {
            p.pid: p
            for p in self._known.values()
            if view.has(p.pid, p.started) and p.pid not in found and self._may_be_its(p.pid, view, accounts)
        }
        self._named.update(known)
        yield from known.values()
        for pid, _ in descendants(view.table, known):
            if pid not in found and pid not in known and self._may_be_its(pid, view, accounts):
                self._named.add(pid)
                yield SeenProcess(pid, view.table[pid].started, command=command_text(pid))

    def _may_be_its(self, pid: int, view: ProcessView, accounts: Collection[tuple[int, ...]]) -> bool:
        mark = view.owner_of_mark(pid)
        return owners_of(pid) in accounts and (mark is None or self._wanted.matches(mark))


class Rounds:
    """Goes through the unfinished jobs, a bounded number each round: none is left out for ever.

    `on_stopping` is told of jobs that somebody asked to kill, whose supervisor is gone, and that still run. `in_slurm`
    are those of the last round that Slurm runs or lets wait.
    """

    def __init__(self, store: Records, on_stopping: Callable[[Job], None]) -> None:
        self._store = store
        self._on_stopping = on_stopping
        self.overdue: dict[str, tuple[str, float]] = {}  # job id → owner, until when (monotonic) that counts
        self._cursor: Cursor | None = None
        self._orphans: dict[str, Orphan] = {}
        self._turns = Turns()
        self.in_slurm: list[Job] = []

    def go(self, now: float) -> None:
        """One round: look at jobs, newest first, from where the last round ended."""
        unfinished = list(self._next_jobs())
        self.in_slurm = [job for job in unfinished if job.is_in_slurm]
        suspects = [job for job in unfinished if self._is_suspect(job, now)]
        jobs = list(self._read_whole(suspects))
        self._note_overdue(jobs)
        doubtful = [job for job in self._safely(jobs, self._needs_look) if self._is_suspect(job, now)]
        view = ProcessView() if doubtful else None
        gone = self._safely(self._in_turn(doubtful), self._is_gone, now, view)
        if gone:
            view = ProcessView()  # a process that forks and ends meanwhile can escape one look
            self._safely(self._in_turn(gone), self._conclude, now, view)

    def _in_turn(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Yield jobs that were not looked at yet, then those of longest ago, until the time of a round is over."""
        until = time.monotonic() + _LOOK_SECONDS
        for job in self._turns.due(jobs):
            yield job
            self._turns.note(job.id)
            if time.monotonic() > until:
                return

    def _note_overdue(self, jobs: Sequence[Job]) -> None:
        """Note whose supervisors here are gone or frozen, so that their owners are heard in their place."""
        now = time.monotonic()
        self.overdue = {name: entry for name, entry in self.overdue.items() if entry[1] > now}
        for job in jobs[:_MOST_OVERDUE]:
            if job.user is not None and is_user(job.user) and is_on_this_host(job):
                self.overdue[job.id] = (job.user, now + _OVERDUE_SECONDS)

    def _next_jobs(self) -> Iterator[Job]:
        """Some of the unfinished; what has ended, or has no record any more, is removed from the index."""
        client, keys = self._store.client, self._store.keys
        for _ in range(_MOST_A_ROUND // _AT_ONCE):
            entries = read_index(client, keys.unfinished, self._cursor, _AT_ONCE)
            jobs = self._store.many([entry.job_id for entry in entries])
            pairs = list(zip(entries, jobs, strict=True))
            done = [entry.job_id for entry, job in pairs if job is None or job.is_final]
            if done:
                client.zrem(keys.unfinished, *done)
                for job_id in done:
                    self._orphans.pop(job_id, None)
            yield from (job for _, job in pairs if job is not None and not job.is_final)
            is_more = len(entries) == _AT_ONCE
            self._cursor = Cursor.behind(entries, self._cursor) if is_more else None
            if self._cursor is None:
                return

    def _is_suspect(self, job: Job, now: float) -> bool:
        """Whether nobody seems to report on a job that this host may know of."""
        if job.status == PENDING:
            return not job.is_in_slurm and now - (job.launched or job.created or 0.0) > _LAUNCH_SECONDS
        since = job.heartbeat or job.started or job.created or 0.0
        return is_on_this_host(job) and (job.id in self._orphans or now - since > beat_overdue_after(job))

    def _read_whole(self, jobs: list[Job]) -> Iterator[Job]:
        """Read the fields that lists leave out."""
        for start in range(0, len(jobs), _AT_ONCE):
            chunk = jobs[start : start + _AT_ONCE]
            names = [self._store.keys.job(job.id) for job in chunk]
            replies = read_hashes(self._store.client, names, _WHOLE)
            for job, reply in zip(chunk, replies, strict=True):
                is_read = not isinstance(reply, Exception)
                found = read_job_list(job.id, cut_record(reply), _WHOLE) if is_read else None
                if found is not None and not found.is_final and found.run == job.run:
                    yield found

    def _safely(self, jobs: Iterable[Job], judge: Callable[..., bool], *arguments: Any) -> list[Job]:
        """The jobs for which `judge` is true; one that can't be judged does not stop the others."""
        found = []
        for job in jobs:
            with apart(job):
                if judge(job, *arguments):
                    found.append(job)
        return found

    def _needs_look(self, job: Job) -> bool:
        if job.status == PENDING:
            return (job.launch_host, job.launch_namespace) == (host_name(), pid_namespace())
        return not is_supervisor(job.supervisor_pid, job.supervisor_started, wanted_of(job, self._store))

    def _is_gone(self, job: Job, now: float, view: ProcessView) -> bool:
        """Whether nothing of it was seen; what still runs is kept."""
        if job.status == PENDING:
            return not _may_be_launched(job, view)
        present = look(job, view, wanted=wanted_of(job, self._store))
        if present.kind == "running":
            self._keep(job, now, view, present)
        return present.kind in ("gone", "restarted")

    def _conclude(self, job: Job, now: float, view: ProcessView) -> bool:
        """Write the end of a job if a second look sees nothing of it either."""
        if job.status == PENDING:
            return not _may_be_launched(job, view) and self._write_lost_launch(job, now)
        present = look(job, view, known_identities(self._store, job.id), wanted_of(job, self._store))
        job = next(self._read_whole([job]), job)  # a kill that was its end was announced before it
        match present.kind:
            case "gone":
                if worker_processes_of(job, self._store, view, with_names=True):
                    return False  # another program runs it, whatever the record says
                why = f"nothing of it runs on {job.host}, and its supervisor is gone"
                return self._write_end(job, now, why)
            case "restarted":
                return self._write_end(job, now, f"{job.host} was restarted")
            case "running":
                self._keep(job, now, view, present)
        return False

    def _keep(self, job: Job, now: float, view: ProcessView, present: Presence) -> None:
        """Beat for an orphan, since it still runs, and say so; what can't be seen is not beaten for."""
        if job.id in self._orphans and not self._orphans[job.id].is_of(job):
            del self._orphans[job.id]
        if job.id not in self._orphans and len(self._orphans) < _MOST_ORPHANS:
            self._orphans[job.id] = Orphan(self._store, job, view)
        fields: dict[str, Value] = {}
        if job.orphaned is None:
            text = f"its supervisor is gone, yet {present.words}; the agent of {job.host} beats for it"
            fields |= {"orphaned": f"{now:.3f}", "error": text}
            events.record_event(self._store.client, self._store.keys, "orphaned", job, text=text, by="agent")
        if job.id in self._orphans:
            self._orphans[job.id].beat(now, view, fields)
        if job.status == STOPPING:
            self._on_stopping(job)

    def _write_end(self, job: Job, now: float, why: str) -> bool:
        """Write the final status of a job that has no process left: killed if that was asked for, else lost."""
        stop = StopRequest.of(job)
        status = KILLED if stop else LOST
        fields: dict[str, Value] = {"finished": f"{now:.3f}", "error": why, **(stop.fields if stop else {})}
        end_children(self._store, job, status, fields)
        return self._write(job, UNFINISHED_STATUSES, status, fields, why, stop)

    def _write_lost_launch(self, job: Job, now: float) -> bool:
        """Close a launch that left nothing here; where a server forgot that it began, there may be children."""
        why = f"its supervisor ended on {job.launch_host} before it began the job, as far as is known"
        fields: dict[str, Value] = {"finished": f"{now:.3f}", "error": why}
        is_written = self._write(job, {PENDING}, LOST, fields, why)
        if is_written:  # not before: a supervisor that was slow may have begun it meanwhile
            end_children(self._store, job, LOST, fields)
        return is_written

    def _write(
        self,
        job: Job,
        allowed: Collection[str],
        status: str,
        fields: dict[str, Value],
        why: str,
        stop: StopRequest | None = None,
    ) -> bool:
        by, reason = (stop.by, stop.reason) if stop else ("agent", None)
        end = JobEnd(status, fields, f"{status}: {why}", by, reason)
        token = uuid.uuid4().hex
        write = partial(end_job, self._store, job, end, allowed=allowed, token=token)
        outcome, _ = patiently(write, WRITING_SECONDS)
        self._orphans.pop(job.id, None)
        return outcome == "done"


def _may_be_launched(job: Job, view: ProcessView) -> bool:
    """Whether a supervisor for a pending job may be there: something says its id, or is its account's, unread."""
    others = ((pid, mark) for pid, mark in view.marks.items() if pid not in view.spared)
    return any(
        mark.job == job.id if mark is not None and mark != UNREAD else may_be_of(pid, mark, job.account)
        for pid, mark in others
    )
