"""One prefix whose jobs are watched: how its records become rows of the catalogue."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

import redis

from gnjobs.health.states import state_of
from gnjobs.health.verdict import OK
from gnjobs.records import values
from gnjobs.records.columns import ColumnReader, Columns, Replies
from gnjobs.records.connection import is_wrong_type, passing_over_other_types
from gnjobs.records.fields import ALIASES, JOB_FIELDS, ROW_FIELDS, Job
from gnjobs.records.foreign import dated, list_names, read_listed
from gnjobs.records.keys import MIRROR_FIELD, OWN_STATUS, Keys
from gnjobs.records.layouts import UPLOADER, Layout
from gnjobs.records.pipeline import RecordPipeline
from gnjobs.records.statuses import FINAL_STATUSES, SUCCESS
from gnjobs.records.summaries import children_summary
from gnjobs.text import mask_secrets, telling
from gnjobs.watch.rows import LONGEST_TEXT, RANK_FINISHED, JobRow, cut, ended_children, last_word, row_of
from gnjobs.watch.uncounted import UncountedFaults

READ_AT_ONCE = 500

# What is read of every job first, then what the row of one that has ended may need besides.
BRIEF_FIELDS: Final = (*ROW_FIELDS, "created", "label", "message", "children-summary", MIRROR_FIELD)
FURTHER_FIELDS: Final = (
    *ALIASES, OWN_STATUS, "command", "error", "stop-by", "stop-reason", "signal", "exit-code",
)  # fmt: skip
_STATUS: Final = BRIEF_FIELDS.index("status")
_always_there: Final = itemgetter(*(BRIEF_FIELDS.index(name) for name in ALIASES.values()))
_SUCCESS: Final = SUCCESS.encode()


class RowReader:
    """Makes rows of jobs that have ended under one prefix, column by column, since that is quick.

    `first` is what to ask for of every job; of one that `needs_further`, `FURTHER_FIELDS` besides.
    """

    def __init__(self, prefix: str = "", *, key_prefix: str = "", layout: Layout = UPLOADER) -> None:
        self.prefix = prefix
        self._key_prefix = key_prefix
        self._columns = ColumnReader(layout, BRIEF_FIELDS + FURTHER_FIELDS)
        # Other programs' records hold few of these fields, but hardly ever just the brief ones.
        self.is_described = self._columns.is_described
        self.first = self._columns.names if self.is_described else BRIEF_FIELDS
        self.has_ended = self._columns.has_ended

    def key(self, job_id: str) -> str:
        """Name the row of a job in the catalogue."""
        return self._key_prefix + job_id

    def needs_further(self, first: Sequence[bytes | None]) -> bool:
        """Whether the row of this ended job needs `FURTHER_FIELDS`."""
        if len(first) > len(BRIEF_FIELDS):
            return False
        return first[_STATUS] != _SUCCESS or not all(_always_there(first))

    def read(self, job_ids: Sequence[str], replies: Replies) -> list[JobRow]:
        """Make rows of the values of `BRIEF_FIELDS`, behind which stand those of `FURTHER_FIELDS` in all or in none."""
        if not job_ids:
            return []
        stored, read = self._columns.columns(job_ids, replies), self._columns.read
        recorded = values.many_seconds(stored["created"])
        made: dict[str, Iterable[Any]] = {
            field.attribute: read(field.kind.read, stored[name]) for name, field in ROW_FIELDS.items()
        }
        made |= {
            "rank": repeat(RANK_FINISHED),
            "started": [at or None for at in made["started"]],  # the epoch is nobody's start
            "created": [at or 0.0 for at in recorded],
            "recorded": recorded,
            "key": [self._key_prefix + job_id for job_id in job_ids],
            "prefix": repeat(self.prefix),
            "label": _labels(stored, job_ids),
            "state": map(_state_word, made["status"], made["faults"]),
            "children_done": read(_children_done, stored["children-summary"]),
            "says": self._last_words(made["status"], stored),
            "job": repeat(None),
        }
        return list(map(JobRow, *(made[name] for name in JobRow.__struct_fields__)))

    def _last_words(self, statuses: Iterable[str], stored: Columns) -> Iterable[str | None]:
        read = self._columns.read
        if "error" not in stored:
            return read(_message, stored["message"])
        found = (read(JOB_FIELDS[name].kind.read, stored[name]) for name in _SAYING)
        return map(last_word, statuses, *found)


# In the order in which `last_word` takes them.
_SAYING: Final = ("message", "error", "stop-by", "stop-reason", "signal", "exit-code")


def _labels(stored: Columns, job_ids: Sequence[str]) -> Iterable[str]:
    found = zip(stored["label"], stored["command"], job_ids, strict=True)
    return (
        (values.text(label) or telling(mask_secrets(values.text(command) or "")) or job_id)[:LONGEST_TEXT]
        for label, command, job_id in found
    )


def _message(value: bytes | str | None) -> str | None:
    return cut(values.text(value))


def _children_done(value: bytes | str | None) -> int | None:
    return ended_children(children_summary(value))


@lru_cache(maxsize=1000)
def _state_word(status: str, faults: int | None) -> str:
    return state_of(status, OK, faults).word


class ReadRows(NamedTuple):
    """Rows that were read, and the keys of those without a record, or of a user who is not watched."""

    rows: list[JobRow]
    gone: list[str]


class WatchedPrefix:
    """Reads rows of the jobs under one prefix; `users` limits them to those of some users."""

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        *,
        key_prefix: str = "",
        users: frozenset[str] | None = None,
    ) -> None:
        self.client = client
        self.keys = keys
        self.events = keys.events.encode()
        self.users = users
        self.uncounted = UncountedFaults(client, keys)
        self._rows = RowReader(keys.prefix, key_prefix=key_prefix, layout=keys.layout)
        self._first = RecordPipeline(client, keys, self._rows.first)
        self._further = RecordPipeline(client, keys, FURTHER_FIELDS)
        self._names = list_names(keys.layout)
        self._whole = RecordPipeline(client, keys, self._names)

    def key(self, job_id: str) -> str:
        """Name the row of a job in the catalogue."""
        return self._rows.key(job_id)

    def id_of(self, key: str) -> str | None:
        """The id of the job whose row has this key, or None for a row of another source."""
        prefix, separator, job_id = key.rpartition(":")
        return job_id if prefix + separator == self._rows.key("") else None

    def check_readable(self) -> None:
        """Raise what the server answers while it has no data to show us; not for a key of another type."""
        with passing_over_other_types():
            self.client.zcard(self.keys.unfinished)

    def read(self, job_ids: Sequence[str]) -> ReadRows:
        """Read jobs of which few are expected to be finished."""
        found = ReadRows([], [])
        for start in range(0, len(job_ids), READ_AT_ONCE):
            ids = job_ids[start : start + READ_AT_ONCE]
            jobs = [
                self._job(job_id, reply) for job_id, reply in zip(ids, self._whole.read(ids), strict=True)
            ]
            known = [job for job in jobs if job is not None]
            known = self.uncounted.count(dated(self.client, self.keys, known))
            rows = {job.id: self._row(job) for job in known}
            for job_id in ids:
                self._keep(found, self.key(job_id), rows.get(job_id))
        return found

    def read_mostly_finished(
        self, job_ids: Sequence[str], pause: Callable[[], None] = lambda: None
    ) -> ReadRows:
        """Read jobs of which most have ended: in brief, and only the others, and those without a time, whole.

        `pause` is called before each few hundred are looked at.
        """
        rows: list[JobRow] = []
        further: dict[str, list[bytes | None]] = {}
        whole: list[str] = []
        unread = iter(job_ids)
        for portion in self._first.portions(job_ids):
            pause()
            ended = {}
            for reply, job_id in zip(portion, unread, strict=False):
                if not self._rows.has_ended(reply):
                    whole.append(job_id)
                elif self._rows.needs_further(reply):
                    further[job_id] = reply
                else:
                    ended[job_id] = reply
            rows += self._rows.read(list(ended), list(ended.values()))
        rows += self._further_rows(further)
        if poor := {row.id for row in rows if _says_too_little(row)}:
            whole += poor
            rows = [row for row in rows if row.id not in poor]
        found = ReadRows(rows, [])
        if self.users is not None:
            found = ReadRows([], [])
            for row in rows:
                self._keep(found, row.key, row)
        others = self.read(whole)
        return ReadRows(found.rows + others.rows, found.gone + others.gone)

    def read_unindexed(self, job_ids: Sequence[str], pause: Callable[[], None]) -> ReadRows:
        """Read jobs that no index lists, as other programs make them, most of which have ended."""
        # Of one like our own, which has no description, the first fields tell too little.
        return self.read_mostly_finished(job_ids, pause) if self._rows.is_described else self.read(job_ids)

    def _further_rows(self, brief: Mapping[str, list[bytes | None]]) -> list[JobRow]:
        listed = {
            job_id: brief[job_id] + reply
            for job_id, reply in zip(brief, self._further.read(list(brief)), strict=True)
            if isinstance(reply, list)
        }
        return self._rows.read(list(listed), list(listed.values()))

    def _job(self, job_id: str, reply: Any) -> Job | None:
        if isinstance(reply, list):
            return read_listed(self.keys.layout, job_id, self._names, reply)
        return Job(id=job_id) if is_wrong_type(reply) else None

    def _row(self, job: Job) -> JobRow:
        return row_of(job, prefix=self.keys.prefix, key=self.key(job.id))

    def _keep(self, found: ReadRows, key: str, row: JobRow | None) -> None:
        if row is not None and (self.users is None or row.user in self.users):
            found.rows.append(row)
        else:
            found.gone.append(key)


def _says_too_little(row: JobRow) -> bool:
    """Whether a job may say more in other fields, or by its expiry: another program made it, or it has not ended."""
    if row.status not in FINAL_STATUSES:
        return True
    return not row.created and (row.started is None or (row.faults is None and row.status == SUCCESS))


def make_sources(
    client: redis.Redis,
    prefixes: Iterable[str],
    users: frozenset[str] | None = None,
    layouts: Mapping[str, Layout] | None = None,
) -> list[WatchedPrefix]:
    """Make a source for each prefix; only the rows of the first are named by their ids alone."""
    every = [Keys(prefix, (layouts or {}).get(prefix)) for prefix in prefixes]
    return [
        WatchedPrefix(client, keys, key_prefix=f"{keys.prefix}:" if number else "", users=users)
        for number, keys in enumerate(every)
    ]
