"""Jobs and children as gn-uploader writes them: found by their keys, and read as they are."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.connection import readable
from gnjobs.records.fields import MIRROR_FIELD, Child, Job
from gnjobs.records.indexes import MOST_KEYS_SCANNED, scan_steps
from gnjobs.records.keys import ForeignKey, Keys
from gnjobs.records.statuses import ERROR, RUNNING, STATUSES, SUCCESS
from gnjobs.records.values import encode_text

MOST_CHILDREN = 10_000
SHORTEST_REST = 10.0
REST_FACTOR = 20
_SEPARATOR = "/"
STDERR_CHILD = "field/stderr"
_STATUS_WORDS = {
    "checking": RUNNING,
    "started": RUNNING,
    "done": SUCCESS,
    "completed": SUCCESS,
    "failed": ERROR,
}


def is_foreign(job: Job) -> bool:
    """Whether gn-uploader wrote this record: nobody of ours created it, though a supervisor of ours may run it."""
    return (job.heartbeat is None and job.created is None) or MIRROR_FIELD in job.raw


def child_id_of(part: ForeignKey) -> str:
    """What such a child is called by; it has a `/` and so is never an id of ours."""
    return f"{part.section}{_SEPARATOR}{part.kind}{_SEPARATOR}{part.file}"


def part_of(child_id: str) -> ForeignKey | None:
    """The key's parts for what a child is called by."""
    match child_id.split(_SEPARATOR, 2):
        case [section, ("errors" | "logs") as kind, file] if section and file:
            return ForeignKey(section, kind, file)
        case _:
            return None


class PartFinder:
    """Finds gn-uploader's keys inside a job among the first `MOST_KEYS_SCANNED` of the server, and remembers them.

    A search takes from milliseconds to seconds: between two of them there are 10 s, or 20 times what the last one took.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, job_id: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._keys = keys
        self._job_id = job_id
        self._monotonic = monotonic
        self._found: list[ForeignKey] = []
        self._due = float("-inf")

    def parts(self) -> Sequence[ForeignKey]:
        """The parts of the keys that are known, in order, once it is time searched for anew."""
        started = self._monotonic()
        if started >= self._due:
            self._found = sorted(self._search())
            took = self._monotonic() - started
            self._due = started + took + max(SHORTEST_REST, REST_FACTOR * took)
        return self._found

    def _search(self) -> set[ForeignKey]:
        found: set[ForeignKey] = set()
        for names in scan_steps(self._client, self._keys.scan_pattern(self._job_id), MOST_KEYS_SCANNED):
            parts = (self._keys.parse_foreign(self._job_id, values.text(name) or "") for name in names)
            found.update(part for part in parts if part is not None)
            if len(found) >= MOST_CHILDREN:
                break
        return found


def read_children(
    client: redis.Redis, keys: Keys, job: Job, finder: PartFinder | None = None
) -> Iterator[Child]:
    """Read the children of a job of gn-uploader's: errors by file with progress, log lines by file, and its stderr."""
    job_id = job.id
    if job.heartbeat is None and job.raw.get("stderr"):
        yield Child(id=STDERR_CHILD, label="stderr")
    parts = (finder or PartFinder(client, keys, job_id)).parts()
    known = frozenset(parts)
    files = sorted({(part.section, part.file) for part in parts})
    pipe = client.pipeline(transaction=False)
    for section, file in files:
        pipe.hgetall(encode_text(keys.foreign(job_id, ForeignKey(section, "metadata", file))))
        pipe.llen(encode_text(keys.foreign(job_id, ForeignKey(section, "errors", file))))
    replies = iter([readable(reply) for reply in pipe.execute(raise_on_error=False)])
    for section, file in files:
        metadata, errors = next(replies), next(replies)
        yield _child(keys, job_id, ForeignKey(section, "errors", file), metadata, errors)
        log = ForeignKey(section, "logs", file)
        if log in known:
            yield Child(
                id=child_id_of(log), output_key=keys.foreign(job_id, log), label=f"{section}: {file} (log)"
            )


def _child(keys: Keys, job_id: str, part: ForeignKey, metadata: Any, errors: Any) -> Child:
    fields: dict[bytes, bytes] = metadata if isinstance(metadata, dict) else {}
    word = (values.text(fields.get(b"status")) or "").lower()
    done, total = values.number(fields.get(b"checked")), values.number(fields.get(b"linecount"))
    faults = values.integer(fields.get(b"total-errors"))
    return Child(
        id=child_id_of(part),
        output_key=keys.foreign(job_id, part),
        label=f"{part.section}: {part.file}",
        status=word if word in STATUSES else _STATUS_WORDS.get(word),
        percent=min(100.0, 100 * done / total) if done is not None and total else None,
        done=done,
        total=total,
        unit="lines",
        faults=faults if faults is not None else errors if isinstance(errors, int) else None,
        raw={values.text(name) or "": values.text(value) or "" for name, value in fields.items()},
    )


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
