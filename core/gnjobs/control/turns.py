"""The agent's rounds: which job's turn it is where there is no time for all, and how one failure stops no other."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Final

import redis

from gnjobs.errors import NoSuchJob
from gnjobs.records.fields import Job
from gnjobs.text import complain

# How long an end waits for a Redis that is away: what follows from one whose reply was lost happens if it is repeated.
WRITING_SECONDS: Final = 10.0
_MOST: Final = 100_000


@contextmanager
def apart(job: Job) -> Iterator[None]:
    """What fails for one job, whatever its record holds, does not stop the others; a Redis that is away is raised."""
    try:
        yield
    except NoSuchJob:
        return  # removed meanwhile
    except redis.ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - the others are looked at
        complain(f"agent: job {job.id}: {error}")


class Turns:
    """When each job was last looked at; of more than 100 000, those of longest ago count as new again."""

    def __init__(self) -> None:
        self._looked_at: dict[str, float] = {}  # monotonic, by job id, in this order

    def due(self, jobs: Iterable[Job], every: float = 0.0) -> list[Job]:
        """Those that were not looked at yet, then those of longest ago, but for less than `every` seconds."""
        latest = time.monotonic() - every
        timed = ((self._looked_at.get(job.id, -math.inf), job) for job in jobs)
        return [job for _, job in sorted((each for each in timed if each[0] <= latest), key=itemgetter(0))]

    def note(self, job_id: str) -> None:
        """A job is looked at now."""
        self._looked_at.pop(job_id, None)
        self._looked_at[job_id] = time.monotonic()
        if len(self._looked_at) > _MOST:
            del self._looked_at[next(iter(self._looked_at))]
