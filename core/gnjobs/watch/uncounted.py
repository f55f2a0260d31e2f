"""Counts the faults that other programs' jobs left in lists, of the keys that come by while everything is read."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.fields import Job
from gnjobs.records.foreign import Part, count_left, parse_part
from gnjobs.records.keys import Keys

_MOST_BYTES: Final = 150_000_000  # of half a million parts
_PART_BYTES: Final = 200  # of each besides its name


class _Parts(set[Part]):
    """The parts of one job."""

    def parts(self) -> Sequence[Part]:
        return sorted(self)


class UncountedFaults:
    """The parts of the jobs of one prefix that hold faults, and the jobs whose faults nobody else counts.

    Nothing is counted before every key has come by (`has_all`): there might be more. `jobs` are their ids.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self.has_all = False
        self.jobs: set[str] = set()
        self._client = client
        self._keys = keys
        self._parts: dict[str, _Parts] = {}
        self._noted = 0
        kinds = [re.escape(kind) for kind, holds in keys.layout.parts.items() if holds != "lines"]
        self._telling = re.compile(f":(?:{'|'.join(kinds)}):".encode()) if kinds else None

    def forget(self) -> None:
        """Begin anew: keys may have come and gone unseen."""
        self.has_all, self._noted = False, 0
        self._parts.clear()

    def note_all(self, names: Iterable[bytes]) -> None:
        """Take the names of many keys, most of which are nothing of interest."""
        for name in () if self._telling is None else filter(self._telling.search, names):
            self.note(name)

    def note(self, name: bytes) -> str | None:
        """Take the name of a key; of a part of a job that nobody else counts, say which job that is."""
        if self._telling is None or self._telling.search(name) is None or self._noted > _MOST_BYTES:
            return None
        key = values.text(name) or ""
        parsed = self._keys.parse(key)
        part = parse_part(self._keys, parsed.job_id, key) if parsed and parsed.kind == "foreign" else None
        if parsed is None or part is None:
            return None
        parts = self._parts.setdefault(parsed.job_id, _Parts())
        self._noted += 0 if part in parts else len(name) + _PART_BYTES
        parts.add(part)
        return parsed.job_id if parsed.job_id in self.jobs else None

    def count(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs, with the number of faults that nobody else counts, where it is known by now."""
        return [self._counted(job) if job.is_uncounted else self._known(job) for job in jobs]

    def _known(self, job: Job) -> Job:
        self.jobs.discard(job.id)
        return job

    def _counted(self, job: Job) -> Job:
        self.jobs.add(job.id)
        if not self.has_all or self._noted > _MOST_BYTES or job.heartbeat is not None:
            return job  # a supervisor of ours knows of further faults
        parts = self._parts.get(job.id, _Parts())
        faults = count_left(self._client, self._keys, job, parts) if parts else 0
        return job if faults is None else msgspec.structs.replace(job, faults=faults, is_uncounted=False)
