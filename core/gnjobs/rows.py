"""One job as lists show, filter and sort it: compact, since a million of them are held in memory.

A row of a finished job holds nothing but what a list needs. A row of an unfinished one also holds its record, since
its health is judged again and again. Rows are ordered as lists are by default, read from the end: troubled last,
then unfinished, then by creation.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from gnjobs import values
from gnjobs.health import OK
from gnjobs.records import ChildrenSummary, Job, children_summary, read_job_list
from gnjobs.states import State, state_of
from gnjobs.statuses import ERROR, FINAL_STATUSES, KILLED, LOST, STOPPING

RANK_FINISHED, RANK_UNFINISHED, RANK_TROUBLED = 0, 1, 2
LONGEST_TEXT = 300
_MOST_SHARED_WORDS = 50_000

# What is read of every job, in the order in which `RowReader.read` takes it apart.
ROW_FIELDS: Final = (
    "status",
    "job-type",
    "user-id",
    "label",
    "created",
    "started",
    "finished",
    "percent",
    "faults",
    "children",
    "children-summary",
    "host",
    "message",
    "exit-code",
    "signal",
    "error",
    "stop-by",
    "stop-reason",
    "filename",
    "command",
    "job_type",
    "user_id",
)


class JobRow(msgspec.Struct, frozen=True, order=True, gc=False):
    """One job in a list; times in unix seconds, `created` 0 where unknown, None for what is not known.

    `key` names the row in the catalogue (the id, with the prefix where several are watched), `says` is the last word
    on the job, `job` the record as lists read it, while the job is unfinished.
    """

    rank: int
    created: float
    key: str
    id: str
    prefix: str
    label: str
    state: str
    status: str | None = None
    type: str | None = None
    user: str | None = None
    host: str | None = None
    percent: float | None = None
    faults: int = 0
    children: int | None = None
    children_done: int | None = None
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    says: str | None = None
    job: Job | None = None

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good."""
        return self.job is None

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
        if self.job is None or self.started is None:
            return None
        return self.job.last_output or self.started

    @property
    def silence(self) -> float | None:
        """Seconds without a line or progress up to the last heartbeat, both by the supervisor's clock."""
        since, heartbeat = self.silent_since, self.heartbeat
        return None if since is None or heartbeat is None else max(0.0, heartbeat - since)

    def run_seconds(self, now: float) -> float | None:
        """How long the job has run, or ran."""
        if self.started is None:
            return None
        end = self.finished if self.is_final else now
        return None if end is None else max(0.0, end - self.started)

    def judged(self, verdict: str) -> "JobRow":
        """Return this row with a verdict of health; the same object where it changes nothing."""
        state = state_of(self.status, verdict, self.faults)
        if state.word == self.state:
            return self
        return msgspec.structs.replace(self, state=state.word, rank=rank_of(state))


def _cut(text: str | None) -> str | None:
    return text[:LONGEST_TEXT] if text else None


def _last_line(text: str | None) -> str | None:
    return next((line for line in reversed(text[-4096:].split("\n")) if line.strip()), None) if text else None


def _says(
    status: str | None, message: str | None, error: str | None, by: str | None, reason: str | None
) -> str | None:
    """Choose the last word on a job: why it was stopped, what went wrong, or what it says itself."""
    if by and status in {KILLED, STOPPING}:
        return _cut(f"by {by}: {reason}" if reason else f"by {by}")
    if status in {ERROR, LOST}:
        return _cut(_last_line(error)) or _cut(message)
    return _cut(message)


def _ended_children(summary: ChildrenSummary | None) -> int | None:
    if summary is None:
        return None
    return sum(count for status, count in summary.counts.items() if status in FINAL_STATUSES)


def rank_of(state: State) -> int:
    """How far to the end of the order a state puts a row: the worst have the highest rank."""
    return RANK_TROUBLED - state.rank


def row_of(job: Job, *, prefix: str = "", key: str | None = None, verdict: str = OK) -> JobRow:
    """Make a row of a record that was read and, while it is unfinished, judged."""
    state = state_of(job.status, verdict, job.faults)
    return JobRow(
        rank=rank_of(state),
        created=job.created or 0.0,
        key=key or job.id,
        id=job.id,
        prefix=prefix,
        label=job.name[:LONGEST_TEXT],
        state=state.word,
        status=job.status,
        type=job.type,
        user=job.user,
        host=job.host,
        percent=job.percent,
        faults=job.faults or 0,
        children=job.children,
        children_done=_ended_children(job.children_summary),
        started=job.started,
        finished=job.finished,
        exit_code=job.exit_code,
        signal=job.signal,
        says=_says(job.status, job.message, job.error, job.stop_by, job.stop_reason),
        job=None if job.is_final else job,
    )


class RowReader:
    """Makes rows straight from the replies of HMGET; words that many jobs share are kept once."""

    def __init__(self, prefix: str = "", *, key_prefix: str = "") -> None:
        self.prefix = prefix
        self._key_prefix = key_prefix
        self._words: dict[bytes, str] = {}
        self._percentages: dict[bytes, float | None] = {}

    def key(self, job_id: str) -> str:
        """Name the row of a job in the catalogue."""
        return self._key_prefix + job_id if self._key_prefix else job_id

    def read_whole(self, job_id: str, listed: Sequence[bytes | None]) -> JobRow | None:
        """Make a row of the values of `LIST_FIELDS`; None where there is no record."""
        job = read_job_list(job_id, listed)
        return None if job is None else row_of(job, prefix=self.prefix, key=self.key(job_id))

    def read(self, job_id: str, listed: Sequence[bytes | None]) -> JobRow | None:
        """Make a row of the values of `ROW_FIELDS`; None for a job that has not ended and must be read whole."""
        status = self._word(listed[0])
        if status not in FINAL_STATUSES:
            return None
        (
            _,
            job_type,
            user,
            label,
            created,
            started,
            finished,
            percent,
            faulty,
            children,
            summary,
            host,
            message,
        ) = listed[:13]
        (exit_code, signal, error, stop_by, stop_reason, filename, command, type_alias, user_alias) = listed[
            13:
        ]
        faults = values.integer(faulty) or 0
        by, reason = values.text(stop_by), values.text(stop_reason)
        return JobRow(
            RANK_FINISHED,
            values.seconds(created) or 0.0,
            self.key(job_id),
            job_id,
            self.prefix,
            (values.text(label or filename or command) or job_id)[:LONGEST_TEXT],
            state_of(status, OK, faults).word,
            status,
            self._word(type_alias if job_type is None else job_type),
            self._word(user_alias if user is None else user),
            self._word(host),
            self._percentage(percent),
            faults,
            values.integer(children),
            _ended_children(children_summary(summary)) if summary else None,
            values.seconds(started),
            values.seconds(finished),
            values.exit_code(exit_code),
            values.integer(signal),
            _says(status, values.text(message), values.text(error), by, reason),
        )

    def _word(self, value: bytes | None) -> str | None:
        if value is None:
            return None
        found = self._words.get(value)
        if found is None:
            if len(self._words) >= _MOST_SHARED_WORDS:
                self._words.clear()
            found = self._words[value] = values.text(value) or ""
        return found

    def _percentage(self, value: bytes | None) -> float | None:
        if value is None:
            return None
        if value not in self._percentages:
            if len(self._percentages) >= _MOST_SHARED_WORDS:
                self._percentages.clear()
            self._percentages[value] = values.percentage(value)
        return self._percentages[value]
