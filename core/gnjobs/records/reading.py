"""`Records`: reads jobs and children in few round trips and bounded amounts, whatever type a key has."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import redis

from gnjobs.errors import AmbiguousId, InvalidName, NoSuchChild, NoSuchJob
from gnjobs.records import values
from gnjobs.records.connection import connect, is_wrong_type, readable
from gnjobs.records.fields import (
    ALIASES,
    JOB_FIELDS,
    LIST_FIELDS,
    TOKEN_FIELD,
    Child,
    Job,
    read_job,
    read_job_list,
)
from gnjobs.records.fields import read_child as understand_child
from gnjobs.records.indexes import (
    Cursor,
    Page,
    UserSummary,
    count_users,
    ids_beginning,
    read_page,
    unindexed_ids,
)
from gnjobs.records.keys import CHILD_FIELD, DEFAULT_PREFIX, Keys, check_id, is_id
from gnjobs.records.uploader import PartFinder, dated, is_foreign, part_of
from gnjobs.records.uploader import read_children as read_foreign_children

MOST_FIELDS: Final = 5000
LARGEST_EXTRA: Final = 256 * 1024
_KNOWN: Final = (*JOB_FIELDS, *ALIASES, TOKEN_FIELD)
_CHUNK: Final = 500
SHORTEST_BEGINNING: Final = 4
_MOST_CANDIDATES: Final = 1000


def fetch_job(client: redis.Redis, keys: Keys, job_id: str) -> Job | None:
    """Fetch a whole record, or None where there is none; of a key that is no hash, nothing is known.

    Fields that are none of ours are fetched where there are at most 5000 fields; instead of one that is larger than
    256 KiB (an output, which has its own reader) its size is told.
    """
    key = keys.job(job_id)
    pipe = client.pipeline(transaction=False)
    pipe.hlen(key)
    pipe.hmget(key, _KNOWN)
    count, listed = (readable(reply) for reply in pipe.execute(raise_on_error=False))
    if count is None:
        return Job(id=job_id)
    fields = _present(listed, _KNOWN)
    if len(fields) < count <= MOST_FIELDS:
        fields |= _fetch_extra(client, key, fields)
    return read_job(job_id, fields) if count else None


def _present(listed: Sequence[bytes | None], names: Sequence[str | bytes]) -> dict[bytes, bytes]:
    encoded = (name if isinstance(name, bytes) else name.encode() for name in names)
    return {name: value for name, value in zip(encoded, listed, strict=True) if value is not None}


def _fetch_extra(client: redis.Redis, key: str, known: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    found: Any = client.hkeys(key)
    names = [name for name in found if name not in known and not name.startswith(CHILD_FIELD.encode())]
    if not names:
        return {}
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.hstrlen(key, name)
    sizes = dict(zip(names, pipe.execute(), strict=True))
    small = [name for name in names if sizes[name] <= LARGEST_EXTRA]
    listed: Any = client.hmget(key, small) if small else []
    large = {name: b"(%d bytes)" % size for name, size in sizes.items() if size > LARGEST_EXTRA}
    return _present(listed, small) | large


def fetch_listed(client: redis.Redis, keys: Keys, job_ids: Sequence[str]) -> list[Job | None]:
    """Fetch the list fields of many records in one pipeline; None where there is no record."""
    pipe = client.pipeline(transaction=False)
    for job_id in job_ids:
        pipe.hmget(keys.job(job_id), LIST_FIELDS)
    replies = pipe.execute(raise_on_error=False)
    return [
        Job(id=job_id) if (listed := readable(reply)) is None else read_job_list(job_id, listed)
        for job_id, reply in zip(job_ids, replies, strict=True)
    ]


def fetch_children(client: redis.Redis, keys: Keys, job_id: str) -> Iterator[Child]:
    """Fetch a job's recorded children in chunks, each once; one whose hash is gone has no status."""
    for chunk in output_keys(client, keys, job_id):
        yield from fetch_child_hashes(client, keys, job_id, chunk)


def output_keys(client: redis.Redis, keys: Keys, job_id: str) -> Iterator[dict[str, str]]:
    """The recorded children's output keys by child id, in chunks; each child once, none for a key that is no hash."""
    seen: set[str] = set()
    chunk: dict[str, str] = {}
    try:
        for field, value in client.hscan_iter(keys.job(job_id), match=f"{CHILD_FIELD}*", count=_CHUNK):
            child_id = (values.text(field) or "").removeprefix(CHILD_FIELD)
            if is_id(child_id) and child_id not in seen:
                seen.add(child_id)
                chunk[child_id] = values.text(value) or ""
            if len(chunk) >= _CHUNK:
                yield chunk
                chunk = {}
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
    if chunk:
        yield chunk


def fetch_child_hashes(
    client: redis.Redis, keys: Keys, job_id: str, output_keys: Mapping[str, str]
) -> Iterator[Child]:
    """Fetch the hashes of children, given their output keys by id."""
    pipe = client.pipeline(transaction=False)
    for child_id in output_keys:
        pipe.hgetall(keys.child(job_id, child_id))
    replies = pipe.execute(raise_on_error=False)
    for (child_id, output_key), reply in zip(output_keys.items(), replies, strict=True):
        yield understand_child(child_id, readable(reply) or {}, output_key)


class Records:
    """Reads the records under one prefix. Errors of the connection are redis-py's and pass through.

    `lifetime` is the expiry in seconds that another program gives its jobs, where it is known: see `records.uploader`.
    """

    def __init__(self, client: redis.Redis, keys: Keys, url: str, lifetime: float | None = None) -> None:
        self.client = client
        self.keys = keys
        self.url = url
        self._lifetime = lifetime

    @classmethod
    def from_url(cls, url: str, prefix: str = DEFAULT_PREFIX, *, lifetime: float | None = None) -> Self:
        """Make a store for a `redis://`, `rediss://` or `unix://` URL; connects when it is first used."""
        return cls(connect(url), Keys(prefix), url, lifetime)

    def now(self) -> float:
        """The server's time in unix seconds."""
        seconds, microseconds = self.client.time()
        return float(seconds) + float(microseconds) / 1_000_000

    def get(self, job_id: str) -> Job:
        """Read a whole record; raises `NoSuchJob`. A key that is no hash is a job of which nothing is known."""
        job = fetch_job(self.client, self.keys, job_id)
        if job is None:
            raise NoSuchJob(f"there is no job {job_id}")
        return self._dated([job])[0]

    def many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read the list fields of many records in one pipeline; None where there is no record."""
        found = fetch_listed(self.client, self.keys, job_ids)
        known = {job.id: job for job in self._dated([job for job in found if job is not None])}
        return [known.get(job_id) for job_id in job_ids]

    def _dated(self, jobs: list[Job]) -> list[Job]:
        if self._lifetime is None:
            return jobs
        return dated(self.client, self.keys, jobs, self._lifetime)

    def page(
        self,
        *,
        user: str | None = None,
        unfinished: bool = False,
        before: Cursor | None = None,
        count: int = 50,
    ) -> Page:
        """Read jobs newest first: all, one user's, or the unfinished. Entries whose record is gone are skipped."""
        index = self.keys.jobs if user is None else self.keys.user_jobs(user)
        if unfinished and user is None:
            index = self.keys.unfinished

        def is_listed(job: Job) -> bool:
            return not (unfinished and job.is_final)

        return read_page(self.client, index, self.many, before=before, count=count, is_listed=is_listed)

    def unindexed(
        self, user: str | None = None, looked: Callable[[int], None] = lambda _: None
    ) -> Iterator[Job]:
        """Find the jobs that no index lists, as gn-uploader makes them, in no order, searching the whole server.

        `looked` is told now and then about how many keys were looked at.
        """
        for job_ids in unindexed_ids(self.client, self.keys, looked):
            found = self.many(job_ids) if job_ids else []
            yield from (job for job in found if job is not None and user in (None, job.user))

    def resolve(self, beginning: str) -> str:
        """Find the one id that begins so; raises `NoSuchJob`, `AmbiguousId`, `InvalidName`."""
        if is_id(beginning) and self.client.exists(self.keys.job(beginning)):
            return beginning
        check_id(beginning, "id")
        if len(beginning) < SHORTEST_BEGINNING:
            raise InvalidName(
                f"{beginning} is too short: give at least {SHORTEST_BEGINNING} characters of an id"
            )
        existing = self._existing_beginning(beginning)
        if not existing:
            raise NoSuchJob(f"no job's id begins with {beginning}")
        if len(existing) > 1:
            raise AmbiguousId(beginning, existing)
        return existing[0]

    def _existing_beginning(self, beginning: str) -> list[str]:
        existing: list[str] = []
        for job_id in ids_beginning(self.client, self.keys, beginning):
            if self.client.exists(self.keys.job(job_id)):
                existing.append(job_id)
            if len(existing) >= _MOST_CANDIDATES:
                break
        return sorted(existing)

    def children(self, job_id: str) -> Iterator[Child]:
        """Read a job's children in chunks, as they were recorded; one whose hash is gone has no status."""
        return fetch_children(self.client, self.keys, job_id)

    def all_children(self, job_id: str, finder: PartFinder | None = None) -> list[Child]:
        """Read all children of a job; of one that gn-uploader wrote, also what its workers left below its key.

        A `finder` that is passed again searches the server less often.
        """
        children = sorted(self.children(job_id), key=lambda child: child.id)
        if not children and is_foreign(job := self.get(job_id)):
            return list(read_foreign_children(self.client, self.keys, job, finder))
        return children

    def child(self, job_id: str, child_id: str) -> Child:
        """Read one child; raises `NoSuchChild`."""
        if not is_id(child_id):
            return self._foreign_child(job_id, child_id)
        found = self.read(self.client.hget, self.keys.job(job_id), f"{CHILD_FIELD}{child_id}")
        if found is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        output_key = values.text(found) or ""
        return next(fetch_child_hashes(self.client, self.keys, job_id, {child_id: output_key}))

    def _foreign_child(self, job_id: str, child_id: str) -> Child:
        part = part_of(child_id)
        if part is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        return Child(id=child_id, output_key=self.keys.foreign(job_id, part))

    @staticmethod
    def read(command: Callable[..., Any], *arguments: str) -> Any:
        """Run one read command; None where the key is of another type."""
        try:
            return command(*arguments)
        except redis.ResponseError as error:
            return readable(error)

    def users(self) -> list[UserSummary]:
        """All users who have jobs, the one with the newest first, with counts over the newest 1000 jobs of each."""
        return count_users(self.client, self.keys)
