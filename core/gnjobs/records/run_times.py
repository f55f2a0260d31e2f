"""How long jobs of a type usually run, from those that ended lately."""

from statistics import median
from typing import Final

import redis

from gnjobs.records import values
from gnjobs.records.connection import readable
from gnjobs.records.indexes import read_index
from gnjobs.records.keys import Keys
from gnjobs.records.statuses import SUCCESS

LOOKED_AT: Final = 200
FEWEST: Final = 3
_FIELDS: Final = ("job-type", "status", "started", "finished")


def usual_run(client: redis.Redis, keys: Keys, job_type: str | None) -> float | None:
    """The median of the seconds that successful jobs of a type took, among the newest 200 jobs; None below three."""
    if job_type is None:
        return None
    pipe = client.pipeline(transaction=False)
    for entry in read_index(client, keys.jobs, None, LOOKED_AT):
        pipe.hmget(keys.job(entry.job_id), _FIELDS)
    replies = [readable(reply) for reply in pipe.execute(raise_on_error=False)]
    runs = [run for reply in replies if reply and (run := _run(job_type, *reply)) is not None]
    return median(runs) if len(runs) >= FEWEST else None


def _run(
    wanted: str, job_type: bytes | None, status: bytes | None, started: bytes | None, finished: bytes | None
) -> float | None:
    if values.text(job_type) != wanted or values.text(status) != SUCCESS:
        return None
    began, ended = values.seconds(started), values.seconds(finished)
    return None if began is None or ended is None or ended < began else ended - began
