"""Records and children as they are fetched: in few round trips, in bounded amounts, whatever type a key has."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import redis

from gnjobs.records import values
from gnjobs.records.connection import is_wrong_type, readable
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
from gnjobs.records.keys import CHILD_FIELD, Keys, is_id

MOST_FIELDS: Final = 5000
LARGEST_EXTRA: Final = 256 * 1024
_KNOWN: Final = (*JOB_FIELDS, *ALIASES, TOKEN_FIELD)
_CHUNK: Final = 500


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
