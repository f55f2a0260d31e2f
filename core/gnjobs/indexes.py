"""The indexes of jobs: filled by creators, read by page, newest first, and tidied of what is gone."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import redis

from gnjobs import values
from gnjobs.keys import Keys, is_id
from gnjobs.records import Job

Cursor = tuple[float, str]
_TIDIED_AT_ONCE = 100
_SCANNED_AT_ONCE = 500


class Entry(NamedTuple):
    """One job id in an index, with its creation time (unix seconds)."""

    job_id: str
    created: float


def add_to_indexes(pipe: Any, keys: Keys, job: Job) -> None:
    """Add an unfinished job to every index that lists it; `pipe` may be a pipeline or a client."""
    created = job.created or 0.0
    pipe.zadd(keys.jobs, {job.id: created})
    pipe.zadd(keys.unfinished, {job.id: created})
    if job.user is not None and is_id(job.user):
        pipe.zadd(keys.users, {job.user: created}, gt=True)
        pipe.zadd(keys.user_jobs(job.user), {job.id: created})


def remove_from_indexes(pipe: Any, keys: Keys, job_ids: Iterable[str], user: str | None) -> None:
    """Remove jobs from every index that may list them."""
    ids = list(job_ids)
    indexes = [keys.jobs, keys.unfinished]
    if user is not None and is_id(user):
        indexes.append(keys.user_jobs(user))
    for index in indexes:
        pipe.zrem(index, *ids)


def read_index(client: redis.Redis, index: str, before: Cursor | None, count: int) -> list[Entry]:
    """Read the entries of an index that come before a cursor, newest first; members that are no ids are left out.

    Entries of the same score are ordered by id, so that a cursor never loses or repeats one.
    """
    highest: float | str = "+inf" if before is None else before[0]
    found: list[Entry] = []
    offset = 0
    while len(found) < count:
        chunk: Any = client.zrevrangebyscore(index, highest, "-inf", offset, count, withscores=True)
        for member, score in chunk:
            job_id = values.text(member) or ""
            if is_id(job_id) and (before is None or (score, job_id) < before):
                found.append(Entry(job_id, score))
        if len(chunk) < count:
            break
        offset += len(chunk)
    return found[:count]


def tidy(client: redis.Redis, keys: Keys, user: str | None) -> None:
    """Remove entries whose record is gone from the old ends of the indexes that a creator has just written to."""
    indexes = [keys.jobs, keys.unfinished] + ([keys.user_jobs(user)] if user else [])
    for index in indexes:
        oldest: Any = client.zrange(index, 0, _TIDIED_AT_ONCE - 1)
        ids = [values.text(member) or "" for member in oldest]
        pipe = client.pipeline(transaction=False)
        for job_id in ids:
            pipe.exists(keys.job(job_id) if is_id(job_id) else keys.jobs)
        gone = [member for member, exists in zip(oldest, pipe.execute(), strict=True) if not exists]
        if gone:
            client.zrem(index, *gone)


def ids_beginning(client: redis.Redis, keys: Keys, beginning: str) -> Iterator[str]:
    """Find the ids of all jobs, indexed or not, that begin so."""
    seen: set[str] = set()
    pattern = f"{keys.jobs_namespace}{beginning}*"
    for member, _ in client.zscan_iter(keys.jobs, match=f"{beginning}*", count=_SCANNED_AT_ONCE):
        job_id = values.text(member) or ""
        if is_id(job_id) and job_id not in seen:
            seen.add(job_id)
            yield job_id
    for key in client.scan_iter(pattern, count=_SCANNED_AT_ONCE):
        parsed = keys.parse(values.text(key) or "")
        if parsed is not None and parsed.kind == "record" and parsed.job_id not in seen:
            seen.add(parsed.job_id)
            yield parsed.job_id
