"""One prefix whose jobs are watched: how its records become rows of the catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import redis

from gnjobs.records.connection import is_wrong_type
from gnjobs.records.expiry_dates import dated
from gnjobs.records.fields import LIST_FIELDS, Job, read_job_list
from gnjobs.records.keys import Keys
from gnjobs.records.statuses import FINAL_STATUSES
from gnjobs.watch.record_pipeline import RecordPipeline
from gnjobs.watch.row_reader import ROW_FIELDS, RowReader
from gnjobs.watch.rows import JobRow, row_of

READ_AT_ONCE = 500
_FINAL = frozenset(status.encode() for status in FINAL_STATUSES)


class Found(NamedTuple):
    """Rows that were read, and the keys of those without a record, or of a user who is not watched."""

    rows: list[JobRow]
    gone: list[str]


class Source:
    """Reads rows of the jobs under one prefix; `users` limits them to those of some users.

    `lifetime` is the expiry in seconds of jobs that record no time, where it is known.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        *,
        key_prefix: str = "",
        users: frozenset[str] | None = None,
        lifetime: float | None = None,
    ) -> None:
        self.client = client
        self.keys = keys
        self.events = keys.events.encode()
        self.users = users
        self._lifetime = lifetime
        self._rows = RowReader(keys.prefix, key_prefix=key_prefix)
        self._brief = RecordPipeline(client, keys, ROW_FIELDS)
        self._whole = RecordPipeline(client, keys, LIST_FIELDS)

    def key(self, job_id: str) -> str:
        """Name the row of a job in the catalogue."""
        return self._rows.key(job_id)

    def id_of(self, key: str) -> str | None:
        """The id of the job whose row has this key, or None for a row of another source."""
        prefix, separator, job_id = key.rpartition(":")
        return job_id if prefix + separator == self._rows.key("") else None

    def check_readable(self) -> None:
        """Raise what the connection raises while the server has no data to show; a refusal is no such thing."""
        with suppress(redis.ResponseError):
            self.client.zcard(self.keys.unfinished)

    def read(self, job_ids: Sequence[str]) -> Found:
        """Read jobs of which few are expected to be finished."""
        found = Found([], [])
        for start in range(0, len(job_ids), READ_AT_ONCE):
            ids = job_ids[start : start + READ_AT_ONCE]
            jobs = [
                self._job(job_id, reply) for job_id, reply in zip(ids, self._whole.read(ids), strict=True)
            ]
            known = [job for job in jobs if job is not None]
            rows = {job.id: self._row(job) for job in dated(self.client, self.keys, known, self._lifetime)}
            for job_id in ids:
                self._keep(found, job_id, rows.get(job_id))
        return found

    def read_mostly_finished(self, job_ids: Sequence[str]) -> Found:
        """Read jobs of which most have ended: in brief, and only the others, and those without a time, whole."""
        found, whole = Found([], []), []
        for job_id, reply in zip(job_ids, self._brief.read(job_ids), strict=True):
            row = self._rows.read(job_id, reply) if isinstance(reply, list) and reply[0] in _FINAL else None
            if row is None or (self._lifetime and not row.created and row.started is None):
                whole.append(job_id)
            else:
                self._keep(found, job_id, row)
        others = self.read(whole)
        return Found(found.rows + others.rows, found.gone + others.gone)

    def _job(self, job_id: str, reply: Any) -> Job | None:
        if isinstance(reply, list):
            return read_job_list(job_id, reply)
        return Job(id=job_id) if is_wrong_type(reply) else None

    def _row(self, job: Job) -> JobRow:
        return row_of(job, prefix=self.keys.prefix, key=self.key(job.id))

    def _keep(self, found: Found, job_id: str, row: JobRow | None) -> None:
        if row is not None and (self.users is None or row.user in self.users):
            found.rows.append(row)
        else:
            found.gone.append(self.key(job_id))


def make_sources(
    client: redis.Redis,
    prefixes: Iterable[str],
    users: frozenset[str] | None = None,
    lifetimes: Mapping[str, float] | None = None,
) -> list[Source]:
    """Make a source for each prefix; only the rows of the first are named by their ids alone."""
    every = [Keys(prefix) for prefix in prefixes]
    return [
        Source(
            client,
            keys,
            key_prefix=f"{keys.prefix}:" if number else "",
            users=users,
            lifetime=(lifetimes or {}).get(keys.prefix),
        )
        for number, keys in enumerate(every)
    ]
