"""`Records`: reads jobs and children in few round trips and bounded amounts, whatever type a key has."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress, islice
from typing import Any, Final, Self

import redis

from gnjobs.errors import AmbiguousId, InvalidName, NoSuchChild, NoSuchJob
from gnjobs.records import values
from gnjobs.records.bounded import Slowness, TooLarge, read_carefully, read_hashes
from gnjobs.records.columns import JobReader
from gnjobs.records.connection import connect, passing_over_other_types, read_or_none, readable, server_time
from gnjobs.records.fields import CHILD_FIELDS, Child, Job
from gnjobs.records.fields import read_child as understand_child
from gnjobs.records.foreign import (
    STDERR_CHILD,
    PartFinder,
    dated,
    known_names,
    list_names,
    part_key,
    part_of,
    read_listed,
    read_parts,
    read_record,
)
from gnjobs.records.indexes import (
    Cursor,
    Page,
    UserSummary,
    count_users,
    ids_beginning,
    read_page,
    unindexed_ids,
)
from gnjobs.records.keys import CHILD_FIELD, DEFAULT_PREFIX, Keys, check_id, check_ids, is_id
from gnjobs.records.layouts import Layout
from gnjobs.records.pipeline import RecordPipeline
from gnjobs.records.scripts import Run

MOST_FIELDS: Final = 5000
_CHUNK: Final = 500
_MOST_RECORDED: Final = 100_000
SHORTEST_BEGINNING: Final = 4
_NEVER_SHORTENED: Final = 32
_MOST_CANDIDATES: Final = 1000


def fetch_job(client: redis.Redis, keys: Keys, job_id: str) -> Job | None:
    """Fetch a whole record, or None where there is none; of a key that is not a hash nothing is known.

    Fields that are none of ours are fetched where there are at most 5000 fields; instead of one that is larger than
    256 KiB (an output, which has its own reader) its size is told.
    """
    key, known = keys.job(job_id), known_names(keys.layout)
    count = read_or_none(client.hlen, key)
    listed = readable(read_hashes(client, [key], known)[0]) if count is not None else None
    if listed is None:
        return Job(id=job_id)
    fields = _present(listed, known)
    if len(fields) < count <= MOST_FIELDS:
        with contextlib.suppress(TooLarge):
            fields |= _fetch_extra(client, key, fields)
    return read_record(keys.layout, job_id, fields) if count else None


def _present(listed: Sequence[bytes | None], names: Sequence[str | bytes]) -> dict[str, bytes]:
    texts = (values.text(name) or "" for name in names)
    return {name: value for name, value in zip(texts, listed, strict=True) if value is not None}


def _fetch_extra(client: redis.Redis, key: str, known: Mapping[str, bytes]) -> dict[str, bytes]:
    found: Any = client.hkeys(key)
    names = [
        name for name in found if not name.startswith(CHILD_FIELD.encode()) and values.text(name) not in known
    ]
    listed = readable(read_carefully(client, [key], names)[0]) if names else None
    return _present(listed, names) if listed else {}


def fetch_listed(
    client: redis.Redis, keys: Keys, job_ids: Sequence[str], ended: JobReader | None = None
) -> list[Job | None]:
    """Fetch the list fields of many records in one pipeline; None where there is no record.

    With `ended`, jobs that have ended are read by it, quickly and in part.
    """
    checked = check_ids(job_ids, "job id")
    if ended is not None:
        quick = _fetch_ended(client, keys, checked, ended)
        others = [job_id for job_id in checked if job_id not in quick]
        found = quick | dict(zip(others, fetch_listed(client, keys, others), strict=True))
        return [found[job_id] for job_id in checked]
    names = list_names(keys.layout)
    replies = RecordPipeline(client, keys, names).read(checked)
    return [
        Job(id=job_id)
        if (listed := readable(reply)) is None
        else read_listed(keys.layout, job_id, names, listed)
        for job_id, reply in zip(checked, replies, strict=True)
    ]


def _fetch_ended(
    client: redis.Redis, keys: Keys, job_ids: Sequence[str], reader: JobReader
) -> dict[str, Job | None]:
    found: dict[str, Job | None] = {}
    unread = iter(job_ids)
    for portion in RecordPipeline(client, keys, reader.names).portions(job_ids):
        listed = {
            job_id: reply for reply, job_id in zip(portion, unread, strict=False) if reader.has_ended(reply)
        }
        jobs = reader.read_jobs(list(listed), list(listed.values()))
        found.update((job.id, job) for job in jobs if job is not None)
    return found


def output_keys(client: redis.Redis, keys: Keys, job_id: str) -> Iterator[dict[str, str]]:
    """The output keys of 100 000 recorded children by id, in chunks; each once, none for a key that is no hash."""
    seen: set[str] = set()
    chunk: dict[str, str] = {}
    # What was found before is all that can be told.
    with contextlib.suppress(TooLarge), passing_over_other_types():
        for field, value in client.hscan_iter(keys.job(job_id), match=f"{CHILD_FIELD}*", count=_CHUNK):
            child_id = (values.text(field) or "").removeprefix(CHILD_FIELD)
            if is_id(child_id) and child_id not in seen:
                seen.add(child_id)
                chunk[child_id] = values.text(value) or ""
            if len(chunk) >= _CHUNK:
                yield chunk
                chunk = {}
            if len(seen) >= _MOST_RECORDED:
                break
    if chunk:
        yield chunk


def fetch_child_hashes(
    client: redis.Redis, keys: Keys, job_id: str, output_keys: Mapping[str, str]
) -> Iterator[Child]:
    """Fetch the hashes of children, given their output keys by id."""
    names = [keys.child(job_id, child_id) for child_id in output_keys]
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(name)
    try:
        replies: list[Any] = pipe.execute(raise_on_error=False)
    except TooLarge:
        known = tuple(CHILD_FIELDS)
        listed = read_carefully(client, names, known)
        replies = [_present(each, known) if isinstance(each, list) else each for each in listed]
    for (child_id, output_key), reply in zip(output_keys.items(), replies, strict=True):
        yield understand_child(child_id, readable(reply) or {}, output_key)


class Records:
    """Reads the records under one prefix. Errors of the connection are redis-py's and pass through."""

    def __init__(self, client: redis.Redis, keys: Keys, url: str) -> None:
        self.client = client
        self.keys = keys
        self.url = url
        self._ended: JobReader | None = None

    @classmethod
    def from_url(
        cls,
        url: str,
        prefix: str = DEFAULT_PREFIX,
        *,
        layout: Layout | None = None,
        slowness: Slowness | None = None,
    ) -> Self:
        """Make a store for a `redis://`, `rediss://` or `unix://` URL; connects when it is first used.

        `layout` describes the jobs that other programs keep under the prefix, where it is not the one that ships. With
        a `slowness` nothing waits longer than that for slow replies.
        """
        return cls(connect(url, slowness=slowness), Keys(prefix, layout), url)

    def brief(self, fields: Iterable[str]) -> Self:
        """The same store, whose lists read only these fields (names in Redis) of jobs that have ended, and quickly."""
        other = copy.copy(self)
        other._ended = JobReader(self.keys.layout, fields)
        return other

    def now(self) -> float:
        """The server's time in unix seconds."""
        return server_time(self.client)

    def get(self, job_id: str, created: float | None = None) -> Job:
        """Read a whole record; raises `NoSuchJob`, also where the id is now a job's that was not `created` then.

        A key that is no hash gives a job about which nothing is known.
        """
        job = fetch_job(self.client, self.keys, job_id)
        if job is None:
            raise NoSuchJob(f"there is no job {job_id}")
        if created is not None and job.created != created:
            raise NoSuchJob(f"another job has the id {job_id} by now")
        return dated(self.client, self.keys, [job])[0]

    def again(self, job: Job) -> Job:
        """Read the record of this job anew; raises `NoSuchJob`, also where another job has its id by now."""
        return self.get(job.id, job.created)

    def is_anothers(self, job: Job) -> bool:
        """Whether another job has the id of this one by now."""
        created = values.run_of(read_or_none(self.client.hget, self.keys.job(job.id), "created"))
        return "" not in (created, job.run) and created != job.run

    def run_of(self, job: Job) -> Run:
        """Name this job, and no other of its id, to the scripts that write."""
        return Run(self.keys.job(job.id), job.run)

    def many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read the list fields of many records in one pipeline; None where there is no record."""
        found = fetch_listed(self.client, self.keys, job_ids, self._ended)
        if self.keys.layout.expires_after is None:
            return found
        there = [job for job in found if job is not None]
        known = {job.id: job for job in dated(self.client, self.keys, there)}
        return [known.get(job_id) for job_id in job_ids]

    def page(
        self,
        *,
        user: str | None = None,
        unfinished: bool = False,
        before: Cursor | tuple[float, str] | None = None,
        count: int = 50,
    ) -> Page:
        """Read jobs newest first: all, one user's, or the unfinished. Entries whose record is gone are skipped.

        `before` is another page's `next`, or a creation time (unix seconds) and an id, behind which to go on.
        """
        index = self.keys.jobs if user is None else self.keys.user_jobs(user)
        if unfinished and user is None:
            index = self.keys.unfinished

        def is_listed(job: Job) -> bool:
            return not (unfinished and job.is_final)

        cursor = None if before is None else Cursor(*before)
        return read_page(self.client, index, self.many, before=cursor, count=count, is_listed=is_listed)

    def count(self, user: str | None = None) -> int:
        """How many jobs the index lists: all, or one user's; entries whose record is gone count, too."""
        index = self.keys.jobs if user is None else self.keys.user_jobs(user)
        return read_or_none(self.client.zcard, index) or 0

    def unindexed(
        self, user: str | None = None, looked: Callable[[int], None] = lambda _: None
    ) -> Iterator[Job]:
        """Find the jobs that no index lists, as other programs make them, in no order, searching the whole server.

        `looked` is told now and then about how many keys were looked at.
        """
        for job_ids in unindexed_ids(self.client, self.keys, looked):
            found = self.many(job_ids) if job_ids else []
            yield from (job for job in found if job is not None and user in (None, job.user))

    def resolve(self, beginning: str) -> str:
        """Find the one id with this beginning, or with a `/` behind it the id itself.

        A short one that begins others is ambiguous though it is an id: anybody who writes could have made a record for
        what people type in place of a longer id. Raises `NoSuchJob`, `AmbiguousId`, `InvalidName`.
        """
        whole = check_id(beginning.removesuffix("/"), "id")
        is_there = bool(self.client.exists(self.keys.job(whole)))
        if is_there and (whole != beginning or len(whole) >= _NEVER_SHORTENED):
            return whole
        if len(beginning) < SHORTEST_BEGINNING and not is_there:
            raise InvalidName(
                f"{beginning} is too short: give at least {SHORTEST_BEGINNING} characters of an id"
            )
        existing = self._existing_beginning(beginning) if whole == beginning else []
        if not existing:
            raise NoSuchJob(f"no job's id begins with {beginning}")
        if len(existing) > 1:
            raise AmbiguousId(beginning, existing)
        return existing[0]

    def _existing_beginning(self, beginning: str) -> list[str]:
        existing: list[str] = []
        named = ids_beginning(self.client, self.keys, beginning)
        while (chunk := list(islice(named, _CHUNK))) and len(existing) < _MOST_CANDIDATES:
            pipe = self.client.pipeline(transaction=False)
            for job_id in chunk:
                pipe.exists(self.keys.job(job_id))
            existing += compress(chunk, pipe.execute())
        return sorted(existing)[:_MOST_CANDIDATES]

    def children(self, job_id: str) -> Iterator[Child]:
        """Read a job's recorded children in chunks, each once; one whose hash is gone has no status."""
        for chunk in output_keys(self.client, self.keys, job_id):
            yield from fetch_child_hashes(self.client, self.keys, job_id, chunk)

    def all_children(
        self, job_id: str, finder: PartFinder | None = None, job: Job | None = None
    ) -> list[Child]:
        """Read all children of a job; of one that another program wrote, also what its processes left below its key.

        A `finder` that is passed again searches the server less often, and a `job` was read just now.
        """
        children = sorted(self.children(job_id), key=lambda child: child.id)
        job = job or self.get(job_id)
        return children + list(read_parts(self.client, self.keys, job, finder) if job.is_foreign else ())

    def child(self, job_id: str, child_id: str) -> Child:
        """Read one child; raises `NoSuchChild`."""
        if not is_id(child_id):
            return self._foreign_child(job_id, child_id)
        found = read_or_none(self.client.hget, self.keys.job(job_id), f"{CHILD_FIELD}{child_id}")
        if found is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        output_key = values.text(found) or ""
        return next(fetch_child_hashes(self.client, self.keys, job_id, {child_id: output_key}))

    def _foreign_child(self, job_id: str, child_id: str) -> Child:
        if child_id == STDERR_CHILD:
            return Child(id=child_id, label="stderr")
        part = part_of(self.keys, child_id)
        if part is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        return Child(id=child_id, output_key=part_key(self.keys, job_id, part))

    def users(self) -> list[UserSummary]:
        """All users who have jobs, the one with the newest first, with counts over the newest 1000 jobs of each."""
        return count_users(self.client, self.keys)
