"""One job as lists show, filter and sort it: compact, since a million of them are held in memory.

A row of a finished job holds nothing but what a list needs. A row of an unfinished one also holds its record, since
its health is judged again and again. Rows are ordered as lists are by default, read from the end: troubled last,
then unfinished, then by creation.
"""

import sys
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec

from gnjobs.health.silence import job_silence, silent_since
from gnjobs.health.states import State, state_of
from gnjobs.health.verdict import OK
from gnjobs.records.fields import ROW_FIELDS, Job, Listed
from gnjobs.records.statuses import ERROR, KILLED, LOST, PENDING, STOPPING, SUCCESS
from gnjobs.records.summaries import ChildrenSummary
from gnjobs.text import last_line, mask_secrets

RANK_FINISHED, RANK_UNFINISHED, RANK_TROUBLED = 0, 1, 2
LONGEST_TEXT = 300
UNCOUNTED: Final = "faults not counted"


class JobRow(Listed, frozen=True, gc=False):
    """One job in a list: the listed fields of its record, and what a list makes of others; times in unix seconds.

    `created` is estimated where the record does not say it, and 0 where unknown; `recorded` is what the record says,
    by which the job is told from a later one of its id. `key` names the row in the catalogue (the id; under further
    prefixes that are watched, with the prefix), `says` is the last word on the job, `job` the record while the job is
    unfinished.
    """

    rank: int = RANK_UNFINISHED
    created: float = 0.0
    recorded: float | None = None
    key: str = ""
    prefix: str = ""
    label: str = ""
    state: str = ""
    children_done: int | None = None
    says: str | None = None
    job: Job | None = None

    @property
    def id(self) -> str:
        """The job's id."""
        return self.key.rpartition(":")[2]

    @property
    def is_final(self) -> bool:
        """Whether the job had ended for good, whatever its record says beside that."""
        return self.job is None

    @property
    def is_uncounted(self) -> bool:
        """Whether there may be faults that nobody has counted, which is the first that is said of it."""
        return self.faults is None and self.says is not None and self.says.startswith(UNCOUNTED)

    @property
    def cpu(self) -> float | None:
        """Percent of one core, while the job is unfinished."""
        return self.job.cpu if self.job else None

    @property
    def rss(self) -> int | None:
        """Bytes of memory, while the job is unfinished."""
        return self.job.rss if self.job else None

    @property
    def heartbeat(self) -> float | None:
        """When the supervisor last reported, while the job is unfinished."""
        return self.job.heartbeat if self.job else None

    @property
    def silent_since(self) -> float | None:
        """When the last line or progress came, while the job runs."""
        return silent_since(self.job) if self.job else None

    @property
    def silence(self) -> float | None:
        """Seconds without a line or progress up to the last heartbeat, both by the supervisor's clock."""
        return job_silence(self.job) if self.job else None

    def judged(self, verdict: str) -> "JobRow":
        """Return this row with a verdict of health; the same object where it changes nothing."""
        state = state_of(self.status, verdict, self.faults)
        if state.word == self.state:
            return self
        return msgspec.structs.replace(self, state=state.word, rank=rank_of(state))


# By what rows are ordered as long as nobody sorts them: what comes last in this order is shown first.
default_order: Final = attrgetter("rank", "created", "key")


def cut(text: str | None) -> str | None:
    """As much of a text as a list keeps."""
    return text[:LONGEST_TEXT] if text else None


def last_word(
    status: str | None,
    message: str | None,
    error: str | None,
    stop_by: str | None,
    stop_reason: str | None,
    signal: int | None,
    exit_code: int | None,
) -> str | None:
    """Choose the last word on a job: why it was stopped, what went wrong, or what it says itself."""
    if stop_by and status in {KILLED, STOPPING}:
        return cut(f"by {stop_by}: {stop_reason}" if stop_reason else f"by {stop_by}")
    if status not in {ERROR, LOST, KILLED}:
        return cut(message)
    exited = f"signal {signal}" if signal else f"exit code {exit_code}" if exit_code else None
    # Masked before it is cut, which could leave a password's end.
    return cut(last_line(mask_secrets(error)[-4096:] if error else None)) or cut(message) or exited


def ended_children(summary: ChildrenSummary | None) -> int | None:
    """How many children have done their work, None where nothing is said of them."""
    return None if summary is None else summary.counts.get(SUCCESS, 0)


def _children_done(job: Job) -> int | None:
    """As the supervisor says; of a job at work also as its own code does, which knows before the next beat."""
    known = [ended_children(job.children_summary), None if job.is_final else job.children_done]
    return max((number for number in known if number is not None), default=None)


def rank_of(state: State) -> int:
    """How far to the end of the order a state puts a row: the worst have the highest rank."""
    return RANK_TROUBLED - state.rank


def row_of(job: Job, *, prefix: str = "", key: str | None = None, verdict: str = OK) -> JobRow:
    """Make a row of a record that was read and, while it is unfinished, judged."""
    state = state_of(job.status, verdict, job.faults)
    queued = f"Slurm: {job.queue_reason}" if job.status == PENDING and job.queue_reason else None
    says = last_word(
        job.status,
        job.message or queued,
        job.error,
        job.stop_by,
        job.stop_reason,
        job.signal,
        job.exit_code,
    )
    if job.is_uncounted:
        says = ", ".join(filter(None, (UNCOUNTED, says)))
    kept = {field.attribute: _shared(getattr(job, field.attribute)) for field in ROW_FIELDS.values()}
    return JobRow(
        **kept | {"started": job.began},
        rank=rank_of(state),
        created=job.created or job.estimated_start or 0.0,
        recorded=job.created,
        key=key or job.id,
        prefix=prefix,
        label=job.name[:LONGEST_TEXT],
        state=state.word,
        children_done=_children_done(job),
        says=says,
        job=None if job.is_final else job,
    )


def _shared(value: Any) -> Any:
    """The value itself; words that many rows have, such as users and hosts, are kept once."""
    return sys.intern(value) if isinstance(value, str) else value


FeedKind = Literal["connecting", "live", "polling", "away"]
Sweep = Literal["", "begin", "end"]


class FeedState(msgspec.Struct, frozen=True):
    """How changes arrive: `why` says in one (untrusted) line why they are polled for or don't come, `since` when.

    `refuses_writes`: nobody can tell the server anything at present.
    """

    kind: FeedKind
    why: str = ""
    since: float = 0.0
    refuses_writes: bool = False

    @property
    def hears_beats(self) -> bool:
        """Whether a supervisor's beat would be heard of."""
        return self.kind != "away" and not self.refuses_writes


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """News of one moment; most fields are empty in most of them.

    `touched` names the records (child None) and children that changed in Redis, by the row's key; `events` says that
    the log grew; `progress` runs from 0 to 1 while everything is loaded. Between the sweeps `begin` and `end` every
    job is told anew, so a row that was not is gone. `presences` answers what was asked by `Watcher.look_at`.
    `indexed` tells, before all are loaded, how many jobs the indexes list: in all (None) and of each user.
    """

    rows: tuple[JobRow, ...] = ()
    removed: tuple[str, ...] = ()
    touched: frozenset[tuple[str, str | None]] = frozenset()
    events: bool = False
    state: FeedState | None = None
    progress: float | None = None
    sweep: Sweep = ""
    presences: Mapping[str, Any] = {}
    indexed: Mapping[str | None, int] | None = None

    def concerns(self, key: str) -> bool:
        """Whether a job, or one of its children, may have changed: it is told so, or everything is told anew."""
        return bool(self.sweep) or any(key == touched for touched, _ in self.touched)
