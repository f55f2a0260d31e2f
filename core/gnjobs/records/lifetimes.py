"""How long the keys of a job live: long enough while it may run, as long as it is kept once it has ended."""

import math
from collections.abc import Mapping
from typing import Final

import redis

from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys
from gnjobs.records.reading import output_keys

MONTH: Final = 30 * 86400
WEEK: Final = 7 * 86400
_KEYS_PER_PIPELINE: Final = 500


def kept_for(keep: float | None) -> int:
    """How long a job is kept after its end (seconds, rounded up)."""
    return math.ceil(keep) if keep else WEEK


def expire_ended(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Let every key of a job that has ended live as long as it is kept, for one whose supervisor can't do it."""
    for chunk in output_keys(client, keys, job.id):
        expire_keys(client, keys, job.id, chunk, kept_for(job.keep))
    expire_keys(client, keys, job.id, {}, kept_for(job.keep))


def expire_keys(
    client: redis.Redis, keys: Keys, job_id: str, child_keys: Mapping[str, str], seconds: int
) -> None:
    """Let a job's own keys and those of these children (id → output key) live for so many seconds."""
    names = [keys.job(job_id), keys.output(job_id), keys.control(job_id), keys.processes(job_id)]
    for child_id, output_key in child_keys.items():
        names.append(keys.child(job_id, child_id))
        if keys.owns(job_id, output_key):
            names.append(output_key)
    for start in range(0, len(names), _KEYS_PER_PIPELINE):
        pipe = client.pipeline(transaction=False)
        for name in names[start : start + _KEYS_PER_PIPELINE]:
            pipe.expire(name, seconds)
        pipe.execute()
