"""How jobs and killed children end: every end, and what follows from it, goes through here.

A job's supervisor, a kill in the supervisor's place, an agent that finds a job lost: each calls `end_job`. What else
is to happen whenever a job ends belongs in `_follow_up`.
"""

import uuid
from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol

import msgspec
import redis
from redis.client import Pipeline

from gnjobs.records.connection import patiently, replies_of
from gnjobs.records.events import record_event
from gnjobs.records.fields import MAY_FAIL_FIELD, SLURM, Child, Job
from gnjobs.records.hooks import run_on_end
from gnjobs.records.keys import WORDS_FIELD
from gnjobs.records.lifecycle import expire_ended
from gnjobs.records.reading import Records
from gnjobs.records.requests import KillStep, step
from gnjobs.records.scripts import MoveOutcome, Value, add_fields, add_transition, set_fields, transition
from gnjobs.records.statuses import ERROR, KILLED, LOST, PENDING, RUNNING, STOPPING, UNFINISHED_STATUSES
from gnjobs.records.values import encode_text

_AT_ONCE = 500
_EVENT_KINDS = {KILLED: "killed", ERROR: "failed", LOST: "lost"}


class Move(Protocol):
    """Changes a job's status as `transition` does."""

    def __call__(
        self, allowed_from: Collection[str], to: str, *, fields: Mapping[str, Value]
    ) -> tuple[MoveOutcome, str]:
        """Return the outcome, and the status that the job has then."""


class JobEnd(NamedTuple):
    """How a job ended: its final status, the fields that say more, and for the event log a sentence, who and why."""

    status: str
    fields: Mapping[str, Value]
    text: str
    by: str | None = None
    reason: str | None = None


class StopRequest(NamedTuple):
    """Who asked for a job or child to be killed, why, and when (unix seconds)."""

    by: str
    reason: str
    at: float

    @classmethod
    def of(cls, job: Job) -> "StopRequest | None":
        """What a job's record says of it; None where nobody asked."""
        if job.stop_requested is None:
            return None
        return cls(job.stop_by or "", job.stop_reason or "", job.stop_requested)

    @property
    def fields(self) -> dict[str, Value]:
        """The fields that say so in a job's or a child's hash."""
        return {"stop-by": encode_text(self.by), "stop-reason": encode_text(self.reason)}

    @property
    def job_fields(self) -> dict[str, Value]:
        """The fields that say so in a job's record, which says when, too."""
        return {**self.fields, "stop-requested": round(self.at, 3)}


def end_job(
    records: Records,
    job: Job,
    end: JobEnd,
    *,
    allowed: Collection[str] = UNFINISHED_STATUSES,
    token: str | None = None,
    move: Move | None = None,
    is_repeated: bool = False,
    is_own: bool = False,
) -> tuple[MoveOutcome, str]:
    """Write how a job ended, unless its end is written already; returns the outcome and the status that it has.

    Raises redis-py's errors, and may then be called again with the same `token`, or the same `move` in place of the
    transition. `is_repeated` writes again what a server forgot, and logs nothing. `is_own` says that this process is
    the job's supervisor.
    """
    if move is None:
        move = _mover(records, job, token)
        if job.is_foreign and job.supervisor_pid is None:
            if records.keys.layout.json:
                return "refused", job.status or ""  # its readers could not read the record any more
            allowed = _for_old_readers(records, job, allowed)
    outcome, status = move(allowed, end.status, fields=end.fields)
    goes_on = outcome == "refused" and records.keys.layout.meaning(status) in UNFINISHED_STATUSES
    if outcome == "gone" or goes_on:
        return outcome, status
    pipe = records.client.pipeline(transaction=False)
    pipe.zrem(records.keys.unfinished, job.id)
    pipe.unlink(records.keys.processes(job.id))
    replies_of(pipe)
    if is_own or job.supervisor_pid is not None or not job.is_foreign:
        expire_ended(records.client, records.keys, job)  # what others wrote keeps the end that they gave it
    if outcome == "done" and not is_repeated:
        _follow_up(records, job, end, is_own)
    return outcome, status


def _mover(records: Records, job: Job, token: str | None = None) -> Move:
    run = records.run_of(job)
    return partial(transition, records.client, run.record, token=token or uuid.uuid4().hex, run=run)


def _for_old_readers(records: Records, job: Job, allowed: Collection[str]) -> Collection[str]:
    """Note its readers' words in another program's record; returns `allowed` with that program's word for a status."""
    if records.keys.layout.writes:
        words = msgspec.json.encode(records.keys.layout.writes)
        add_fields(records.client, records.keys.job(job.id), {WORDS_FIELD: words})
    return {*allowed, job.raw.get("status", "")} - {""} if job.status in allowed else allowed


def _follow_up(records: Records, job: Job, end: JobEnd, is_own: bool) -> None:
    """Do what happens once whenever a job has ended: an event, and the command that the configuration names."""
    kind = _EVENT_KINDS.get(end.status, "ended")
    record_event(records.client, records.keys, kind, job, text=end.text, by=end.by, reason=end.reason)
    run_on_end(records, job, as_ourselves=is_own)


def end_children(records: Records, job: Job, status: str, fields: Mapping[str, Value]) -> None:
    """Give a final status to all children that have none, for a job that has no process left."""
    run = records.run_of(job)

    def end(pipe: Pipeline, key: str, child: Child) -> None:
        if not child.is_final:
            add_transition(pipe, key, UNFINISHED_STATUSES, status, uuid.uuid4().hex, fields, run)

    _write_children(records, job, end)


def _write_children(records: Records, job: Job, add: Callable[[Pipeline, str, Child], Any]) -> None:
    """Write to the keys of all children, hundreds in one turn; one that holds something else stops no other."""
    children = records.children(job.id)
    while chunk := list(islice(children, _AT_ONCE)):
        pipe = records.client.pipeline(transaction=False)
        for child in chunk:
            add(pipe, records.keys.child(job.id, child.id), child)
        replies_of(pipe)


# What a record says of one run: nothing of it is true of a job that waits again.
_OF_A_RUN = (
    *"started heartbeat host account pid process-started supervisor-pid supervisor-started boot-id".split(),
    *"pid-namespace mark cpu rss processes idle-since last-output orphaned queue-read".split(),
    *"stop-requested stop-by stop-reason left-running error percent message".split(),
)


def requeue_job(records: Records, job: Job, why: str, *, move: Move | None = None) -> bool:
    """Let a job that Slurm will start again wait again, as the same job; returns whether it does.

    Its children of this run are put away: whatever became of them is no failure of the next one. Called again after
    an error of redis-py's, with the same `move`, it is done once.
    """
    run = records.run_of(job)
    end_children(records, job, KILLED, {"finished": f"{records.now():.3f}", "error": f"requeued: {why}"})
    _write_children(records, job, lambda pipe, key, _: set_fields(pipe, key, {MAY_FAIL_FIELD: 1}, run))
    move = move or _mover(records, job)
    fields: dict[str, Value] = {
        "queue-reason": encode_text(f"requeued: {why}"),
        "requeues": (job.requeues or 0) + 1,
    }
    outcome, _ = move((RUNNING, STOPPING), PENDING, fields=fields)
    if outcome == "done":
        records.client.hdel(run.record, *_OF_A_RUN)
        records.client.unlink(records.keys.processes(job.id))
        record_event(
            records.client, records.keys, "requeued", job, text=f"requeued by Slurm: {why}", by=SLURM
        )
    return outcome == "done"


def last_step(verdict: KillStep, by: str, outcome: MoveOutcome, status: str) -> KillStep:
    """The last step of a kill, as its askers are told: what became of the processes, and of the record."""
    if not verdict.verified:
        return step("left", f"not killed: {verdict.text}", verdict.pids, final=True)
    if outcome != "done":
        record = f"its status is {status}" if status else "its record is gone"
        return step("verified", f"{verdict.text}; {record}", verified=True, final=True)
    written = "closed as lost" if status == LOST else f'written "killed by {by}"'
    return step("written", f"{verdict.text}; {written}", verified=True, final=True)


def conclude_kill(
    records: Records,
    job: Job,
    child: Child | None,
    stop: StopRequest,
    verdict: KillStep,
    *,
    allowed: Collection[str] = UNFINISHED_STATUSES,
    status: str = KILLED,
    wait_seconds: float = 0.0,
) -> KillStep:
    """Write what a kill of a job or child came to, unless something is left; returns its last step.

    Waits up to `wait_seconds` for a Redis that is away.
    """
    if not verdict.verified:
        return last_step(verdict, stop.by, "refused", "")
    token = uuid.uuid4().hex

    def write() -> tuple[MoveOutcome, str]:
        if child is not None:
            return _write_child(records, job, child, stop, verdict, token)
        return _write_job(records, job, stop, verdict, status, allowed, token)

    try:
        outcome, stands = patiently(write, wait_seconds)
    except redis.RedisError as problem:
        text = f"{verdict.text}, but Redis did not take the status: {problem}"
        return step("left", text, verdict.pids, final=True)
    return last_step(verdict, stop.by, outcome, stands)


def _write_job(
    records: Records,
    job: Job,
    stop: StopRequest,
    verdict: KillStep,
    status: str,
    allowed: Collection[str],
    token: str,
) -> tuple[MoveOutcome, str]:
    fields: dict[str, Value] = {"finished": f"{records.now():.3f}", **stop.fields}
    end = JobEnd(status, fields | stop.job_fields, f"{status}; {verdict.text}", stop.by, stop.reason)
    if RUNNING in allowed:
        end_children(records, job, status, fields)
    outcome, stands = end_job(records, job, end, allowed=allowed, token=token)
    if RUNNING not in allowed and outcome == "done":  # not before: it may have begun meanwhile
        end_children(records, job, status, fields)
    return outcome, stands


def _write_child(
    records: Records, job: Job, child: Child, stop: StopRequest, verdict: KillStep, token: str
) -> tuple[MoveOutcome, str]:
    key = records.keys.child(job.id, child.id)
    fields = {"finished": f"{records.now():.3f}", **stop.fields}
    run = records.run_of(job)
    outcome, status = transition(records.client, key, UNFINISHED_STATUSES, KILLED, token, fields, run)
    if outcome == "done":
        text = f"child {child.label or child.id} killed; {verdict.text}"
        record_event(records.client, records.keys, "killed", job, text=text, by=stop.by, reason=stop.reason)
    return outcome, status
