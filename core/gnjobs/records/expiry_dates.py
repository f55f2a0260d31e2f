"""When jobs began whose program records no times, as gn-uploader's: worked out from what is left of their expiry."""

from collections.abc import Sequence

import msgspec
import redis

from gnjobs.records.connection import readable
from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys


def dated(client: redis.Redis, keys: Keys, jobs: Sequence[Job], lifetime: float | None) -> list[Job]:
    """Give those of these jobs that record no time an `estimated_start`, in one round trip.

    `lifetime` is the expiry in seconds that the program gives a record once, when it makes it; None: not known. Of a
    record that does not expire, or later than that, nothing is said.
    """
    unknown = [job.id for job in jobs if job.created is None and job.started is None]
    if lifetime is None or not unknown:
        return list(jobs)
    pipe = client.pipeline(transaction=False)
    pipe.time()
    for job_id in unknown:
        pipe.pttl(keys.job(job_id))
    (seconds, microseconds), *left = map(readable, pipe.execute(raise_on_error=False))
    now = seconds + microseconds / 1e6
    starts = {
        job_id: now - lifetime + milliseconds / 1000
        for job_id, milliseconds in zip(unknown, left, strict=True)
        if 0 <= milliseconds <= lifetime * 1000
    }
    return [
        msgspec.structs.replace(job, estimated_start=starts[job.id]) if job.id in starts else job
        for job in jobs
    ]
