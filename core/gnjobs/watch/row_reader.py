"""Rows made straight from the replies of HMGET, as quickly as a million of them need."""

from collections.abc import Sequence
from typing import Final, TypeVar

from gnjobs.health.states import state_of
from gnjobs.health.verdict import OK
from gnjobs.records import values
from gnjobs.records.fields import LIST_FIELDS, children_summary, read_job_list
from gnjobs.records.statuses import FINAL_STATUSES, SUCCESS
from gnjobs.watch.rows import LONGEST_TEXT, RANK_FINISHED, JobRow, ended_children, row_of

Known = TypeVar("Known")

_MOST_SHARED_WORDS = 50_000
_LONGEST_SHARED_WORD = 80

# What is read of every job; `RowReader.read` takes it apart in this order.
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
    "filename",
    "command",
    "job_type",
    "user_id",
    "exit-code",
    "signal",
    "error",
    "stop-by",
    "stop-reason",
)


class RowReader:
    """Makes rows of the jobs under one prefix; words that many of them share are kept once."""

    def __init__(self, prefix: str = "", *, key_prefix: str = "") -> None:
        self.prefix = prefix
        self._key_prefix = key_prefix
        self._words: dict[bytes, str] = {}
        self._percentages: dict[bytes, float | None] = {}

    def key(self, job_id: str) -> str:
        """Name the row of a job in the catalogue."""
        return self._key_prefix + job_id

    def read_whole(
        self, job_id: str, listed: Sequence[bytes | None], names: Sequence[str] = LIST_FIELDS
    ) -> JobRow | None:
        """Make a row of the values of these fields; None where there is no record."""
        job = read_job_list(job_id, listed, names)
        return None if job is None else row_of(job, prefix=self.prefix, key=self.key(job_id))

    def read(self, job_id: str, listed: Sequence[bytes | None]) -> JobRow | None:
        """Make a row of the values of `ROW_FIELDS`; None for a job that has not ended and must be read whole."""
        status = self._word(listed[0])
        if status == SUCCESS:
            return self._read_success(job_id, listed)
        return self.read_whole(job_id, listed, ROW_FIELDS) if status in FINAL_STATUSES else None

    def _read_success(self, job_id: str, listed: Sequence[bytes | None]) -> JobRow:
        _, job_type, user, label, created, started, finished, percent, faulty, children = listed[:10]
        summary, host, message, filename, command, type_alias, user_alias = listed[10:17]
        faults = values.integer(faulty) or 0
        return JobRow(
            RANK_FINISHED,
            values.seconds(created) or 0.0,
            self.key(job_id),
            self.prefix,
            (values.text(label or filename or command) or job_id)[:LONGEST_TEXT],
            state_of(SUCCESS, OK, faults).word,
            SUCCESS,
            self._word(type_alias if job_type is None else job_type),
            self._word(user_alias if user is None else user),
            self._word(host),
            self._percentage(percent),
            faults,
            values.integer(children),
            ended_children(children_summary(summary)) if summary else None,
            values.seconds(started),
            values.seconds(finished),
            self._message(message),
        )

    def _message(self, value: bytes | None) -> str | None:
        if not value:
            return None
        if len(value) <= _LONGEST_SHARED_WORD:
            return self._word(value)
        return (values.text(value) or "")[:LONGEST_TEXT]

    def _word(self, value: bytes | None) -> str | None:
        if value is None:
            return None
        found = self._words.get(value)
        if found is None:
            found = values.text(value) or ""
            if len(value) <= _LONGEST_SHARED_WORD:
                _remember(self._words, value, found)
        return found

    def _percentage(self, value: bytes | None) -> float | None:
        if value is None:
            return None
        if value not in self._percentages:
            _remember(self._percentages, value, values.percentage(value))
        return self._percentages[value]


def _remember(known: dict[bytes, Known], value: bytes, meaning: Known) -> None:
    if len(known) >= _MOST_SHARED_WORDS:
        known.clear()
    known[value] = meaning
