"""One prefix whose jobs are watched: how its records become rows of the catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import redis

from gnjobs.health.states import state_of
from gnjobs.health.verdict import OK
from gnjobs.records import values
from gnjobs.records.connection import is_wrong_type
from gnjobs.records.fields import LIST_FIELDS, Job, children_summary, read_job_list
from gnjobs.records.keys import Keys
from gnjobs.records.statuses import FINAL_STATUSES, SUCCESS
from gnjobs.records.uploader import dated
from gnjobs.watch.rows import LONGEST_TEXT, RANK_FINISHED, JobRow, ended_children, row_of


def _bulk(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    return b"$%d\r\n%s\r\n" % (len(encoded), encoded)


class RecordPipeline:
    """Reads the same fields of many jobs' records by HMGET, over connections of a client's pool."""

    def __init__(self, client: redis.Redis, keys: Keys, fields: Sequence[str]) -> None:
        self._pool: Any = client.connection_pool
        self._keys = keys
        self._head = b"*%d\r\n%s" % (len(fields) + 2, _bulk("HMGET"))
        self._fields = b"".join(map(_bulk, fields))

    def read(self, job_ids: Iterable[str]) -> list[Any]:
        """The values of each job's fields in order, or the `ResponseError` with which the server refused.

        Raises what the connection raises. All replies are in memory at once: a few hundred ids are a good number.
        """
        commands = [self._head + _bulk(self._keys.job(job_id)) + self._fields for job_id in job_ids]
        if not commands:
            return []
        connection = self._pool.get_connection()
        try:
            connection.send_packed_command([b"".join(commands)], check_health=False)
            return [_reply(connection) for _ in commands]
        except BaseException:
            # What was asked for and not read would be taken for the next answer.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


REFUSES: Final = "Redis refuses writes"


class WriteRefusals:
    """Looks at a server's own account of itself; the counts of its refusals tell whether they go on."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._counts: dict[str, int] | None = None
        self._is_forbidden = False

    def look(self) -> str:
        """Why the server refuses writes, in one line; empty where it does not, or may not be asked."""
        if self._is_forbidden:
            return ""
        try:
            info: Mapping[str, Any] = self._client.info()
        except redis.ResponseError:
            self._is_forbidden = True
            return ""
        counts = {kind: _count(info, kind) for kind in ("OOM", "MISCONF")}
        before = self._counts or counts
        self._counts = counts
        return _why(info, {kind for kind, count in counts.items() if count > before[kind]})


def _count(info: Mapping[str, Any], kind: str) -> int:
    found = info.get(f"errorstat_{kind}")
    return int(found["count"]) if isinstance(found, dict) and "count" in found else 0


def _why(info: Mapping[str, Any], rising: set[str]) -> str:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    can_evict = info.get("maxmemory_policy", "noeviction") != "noeviction"
    if "OOM" in rising or (0 < most < used and not can_evict):
        return f"{REFUSES}: its memory is full (OOM)"
    if info.get("aof_enabled") and info.get("aof_last_write_status") == "err":
        return f"{REFUSES}: its journal can't be written, is the disk full? (MISCONF)"
    if "MISCONF" in rising:
        return f"{REFUSES}: it can't save its data, is the disk full? (MISCONF)"
    return ""


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
        """Raise what the server answers while it has no data to show us; a key of another type is no such thing."""
        try:
            self.client.zcard(self.keys.unfinished)
        except redis.ResponseError as error:
            if not is_wrong_type(error):
                raise

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
