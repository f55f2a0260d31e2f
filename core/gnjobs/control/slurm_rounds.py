"""Jobs in Slurm, followed by the agent of their login host.

It says why each waits, closes what Slurm has ended and nobody will report on, and lets what Slurm starts again wait
again.
"""

import signal
import time
import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from gnjobs.control.turns import WRITING_SECONDS, Turns, apart
from gnjobs.health.assess import beat_overdue_after
from gnjobs.processes.host import host_name
from gnjobs.processes.slurm import Placed, SlurmError, look_up, look_up_names, size_words
from gnjobs.records.connection import patiently
from gnjobs.records.ends import JobEnd, end_children, end_job, requeue_job
from gnjobs.records.fields import SLURM, Job
from gnjobs.records.reading import Records
from gnjobs.records.scripts import Run, Value
from gnjobs.records.statuses import KILLED, LOST, PENDING
from gnjobs.records.values import encode_text
from gnjobs.supervisor.slurm import SUBMITTING, note_queue, slurm_mark, slurm_name
from gnjobs.text import complain, place_of

LOOK_SECONDS: Final = 10.0
_ROUND_SECONDS: Final = 5.0
_AT_ONCE: Final = 500
_MOST_ENDED: Final = 100_000
_SAY_AGAIN_SECONDS: Final = 60.0
_SUBMIT_SECONDS: Final = 60.0


class SlurmRounds:
    """The agent's looks at jobs that were submitted on its host.

    Slurm is asked for names, hundreds at once, and for the numbers of those alone that it does not have under theirs.
    """

    def __init__(self, store: Records) -> None:
        self._store = store
        self._turns = Turns()
        self._ended: set[Run] = set()
        self._again = 0.0
        self._complaint = ""

    def go(self, jobs: Iterable[Job], now: float) -> None:
        """Look at those of these jobs that are ours, each at most every ten seconds; `now` is the server's time."""
        if time.monotonic() < self._again:
            return
        ours = [job for job in jobs if job.is_in_slurm and job.launch_host == host_name()]
        doubtful = [job for job in ours if job.status == PENDING or _nobody_reports(job, now)]
        try:
            self._look(self._turns.due(doubtful, LOOK_SECONDS), now)
            self._complaint = ""
        except SlurmError as problem:
            self._again = time.monotonic() + LOOK_SECONDS
            if str(problem) != self._complaint:
                complain(f"agent: {problem}")
            self._complaint = str(problem)

    def _look(self, jobs: list[Job], now: float) -> None:
        """Look at some after the other until the time of a round is over; the next one goes on from there."""
        until = time.monotonic() + _ROUND_SECONDS
        for start in range(0, len(jobs), _AT_ONCE):
            self._look_at(jobs[start : start + _AT_ONCE], now, until)
            if time.monotonic() > until:
                return

    def _look_at(self, jobs: list[Job], now: float, until: float) -> None:
        named = look_up_names(slurm_name(job.id) for job in jobs)
        found: dict[str, Placed | None] = {placed.id: placed for placed in named}
        others = {job.slurm_job for job in jobs if job.slurm_job} - found.keys()
        found |= look_up(others, until=until)
        reasons: dict[Run, Mapping[str, Value]] = {}
        for job in jobs:
            if job.slurm_job and job.slurm_job not in found:
                continue  # no time was left to ask for it
            self._turns.note(job.id)
            if job.slurm_job:
                placed = self._its_own(job, found[job.slurm_job])
            else:
                placed = self._by_name(job, named, now, reasons)
            with apart(job):
                self._judge(job, placed, now, reasons)
        if reasons:
            note_queue(self._store, reasons)

    def _judge(
        self, job: Job, placed: Placed | None, now: float, reasons: dict[Run, Mapping[str, Value]]
    ) -> None:
        run = self._store.run_of(job)
        had_ended = run in self._ended
        self._ended.discard(run)
        if placed is not None and not placed.has_ended:
            self._follow(job, placed, now, reasons)
        elif _nobody_reports(job, now) and (placed is not None or job.slurm_job or _is_old(job, now)):
            # At second sight: a supervisor's last word may be on its way.
            if had_ended:
                self._conclude(job, placed, now)
                return
            if len(self._ended) >= _MOST_ENDED:  # most of them were removed since
                self._ended.clear()
            self._ended.add(run)

    def _its_own(self, job: Job, placed: Placed | None) -> Placed | None:
        """What Slurm has under the job's number, unless it gave that to another one since."""
        is_its = placed is not None and (placed.name == slurm_name(job.id) or self._is_marked(placed, job))
        return placed if is_its else None

    def _is_marked(self, placed: Placed, job: Job) -> bool:
        mark = slurm_mark(job.id, place_of(self._store.url, self._store.keys.prefix))
        return mark in placed.comment.split()

    def _by_name(
        self, job: Job, named: Iterable[Placed], now: float, reasons: dict[Run, Mapping[str, Value]]
    ) -> Placed | None:
        """Find a job whose id in Slurm was not recorded, since its launcher or Redis was gone at that moment."""
        if not _is_old(job, now, LOOK_SECONDS):
            return None
        for placed in named:
            # Any account can give its job this name and comment.
            is_its = placed.name == slurm_name(job.id) and self._is_marked(placed, job)
            if is_its and job.account in (None, placed.account):
                reasons[self._store.run_of(job)] = {"slurm-job": placed.id}
                return placed
        return None

    def _follow(self, job: Job, placed: Placed, now: float, reasons: dict[Run, Mapping[str, Value]]) -> None:
        if job.status == PENDING:
            reason = placed.reason if placed.waits else f"starting on {placed.nodes}"
            is_news = reason != (job.queue_reason or "") and not (job.requeues and not reason)
            if is_news or now - (job.queue_read or 0.0) > _SAY_AGAIN_SECONDS:
                run = self._store.run_of(job)
                reasons[run] = {**reasons.get(run, {}), "queue-reason": encode_text(reason)}
        elif placed.waits and _nobody_reports(job, now):
            job = self._store.again(job)  # Slurm may have taken long to answer, and have started it since
            if job.status != PENDING and _nobody_reports(job, now):
                requeue_job(self._store, job, placed.how_it_ends or "asked for in Slurm")

    def _conclude(self, job: Job, placed: Placed | None, now: float) -> None:
        """Write the end of a job that Slurm has ended, or knows no more, and that no supervisor reported."""
        job = self._store.again(job)
        if not _nobody_reports(job, now):
            return
        status, why = _verdict(job, placed)
        by = SLURM if status == KILLED else None
        fields: dict[str, Value] = {"finished": f"{now:.3f}"}
        fields |= {"stop-by": SLURM, "stop-reason": encode_text(why)} if by else {"error": encode_text(why)}
        end_children(self._store, job, status, fields)
        text = f"ended by {SLURM}: {why}" if by else f"{status}: {why}"
        end = JobEnd(status, fields, text, by or "agent", why if by else None)
        patiently(partial(end_job, self._store, job, end, token=uuid.uuid4().hex), WRITING_SECONDS)


def _verdict(job: Job, placed: Placed | None) -> tuple[str, str]:
    """The final status of a job that Slurm has ended without a word of its supervisor, and why."""
    if placed is None:
        known = (
            f"Slurm knows nothing more of its job {job.slurm_job}"
            if job.slurm_job
            else "it never came to Slurm"
        )
        return LOST, known
    why = placed.how_it_ends
    if placed.state in ("NODE_FAIL", "BOOT_FAIL"):
        return LOST, f"ended by Slurm: {why}"
    if why:
        return KILLED, why
    where = f" on {placed.nodes}" if placed.nodes else ""
    when = " before it began" if job.status == PENDING else ""
    if placed.signal == signal.SIGKILL:
        limit = f" (limit: {size_words(job.memory_limit)})" if job.memory_limit else ""
        return (
            LOST,
            f"its supervisor was killed{where}{when} by SIGKILL, as is a job that exceeds its memory{limit}",
        )
    reason = f", {placed.reason}" if placed.reason else ""
    return LOST, f"its supervisor ended{where}{when}: Slurm calls it {placed.state}{reason}"


def _is_old(job: Job, now: float, seconds: float = _SUBMIT_SECONDS) -> bool:
    return now - (job.launched or job.created or 0.0) > seconds


def _nobody_reports(job: Job, now: float) -> bool:
    if job.status == PENDING:
        return job.queue_reason != SUBMITTING or _is_old(job, now)
    return now - (job.heartbeat or job.started or 0.0) > beat_overdue_after(job)
