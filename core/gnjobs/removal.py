"""Removing a job: outputs, children, control and processes, then the record, then the indexes."""

from typing import Any

import redis

from gnjobs import indexes, values
from gnjobs.keys import Keys
from gnjobs.records import Job

_CHUNK = 500


def remove_job(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Remove every key of a job in an order that leaves it listed until all below it is gone."""
    _unlink(client, [keys.output(job.id)])
    for chunk in _keys_inside(client, keys, job.id):
        _unlink(client, chunk)
    _unlink(client, [keys.control(job.id), keys.processes(job.id)])
    _unlink(client, [keys.job(job.id)])
    pipe = client.pipeline(transaction=False)
    indexes.remove_from_indexes(pipe, keys, [job.id], job.user)
    pipe.execute()


def _keys_inside(client: redis.Redis, keys: Keys, job_id: str) -> Any:
    """Keys in chunks, found by SCAN: also children that the record does not name, and what others left there."""
    chunk: list[str] = []
    for key in client.scan_iter(keys.scan_pattern(job_id), count=_CHUNK):
        name = values.text(key) or ""
        if keys.owns(job_id, name):
            chunk.append(name)
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _unlink(client: redis.Redis, names: list[str]) -> None:
    if names:
        client.unlink(*(name.encode("utf-8", "surrogateescape") for name in names))
