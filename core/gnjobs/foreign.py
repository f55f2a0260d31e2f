"""Children that gn-uploader's QC workers leave below a job's key, recorded nowhere, read as they are.

Each file has a list of errors, a list of log lines, and a hash with its progress; names come from the keys.
"""

from collections.abc import Iterator
from typing import Any

import redis

from gnjobs import values
from gnjobs.keys import ForeignKey, Keys
from gnjobs.records import Child, Job
from gnjobs.statuses import ERROR, RUNNING, STATUSES, SUCCESS

MOST_CHILDREN = 10_000
_SCANNED_AT_ONCE = 1000
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
    """Whether somebody else wrote this record: no supervisor ever beat in it, and no creator of ours dated it."""
    return job.heartbeat is None and job.created is None


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


def find_parts(client: redis.Redis, keys: Keys, job_id: str) -> list[ForeignKey]:
    """Find gn-uploader's keys inside a job, in small steps of SCAN so that no other client waits."""
    found: set[ForeignKey] = set()
    for name in client.scan_iter(keys.scan_pattern(job_id), count=_SCANNED_AT_ONCE):
        part = keys.parse_foreign(job_id, values.text(name) or "")
        if part is not None:
            found.add(part)
        if len(found) >= MOST_CHILDREN:
            break
    return sorted(found)


def read_children(client: redis.Redis, keys: Keys, job: Job) -> Iterator[Child]:
    """Read the children of a job of gn-uploader's: errors by file with progress, log lines by file, and its stderr."""
    job_id = job.id
    if job.raw.get("stderr"):
        yield Child(id=STDERR_CHILD, label="stderr")
    parts = find_parts(client, keys, job_id)
    files = sorted({(part.section, part.file) for part in parts})
    pipe = client.pipeline(transaction=False)
    for section, file in files:
        pipe.hgetall(_raw(keys.foreign(job_id, ForeignKey(section, "metadata", file))))
        pipe.llen(_raw(keys.foreign(job_id, ForeignKey(section, "errors", file))))
    replies = iter(pipe.execute(raise_on_error=False))
    for section, file in files:
        metadata, errors = next(replies), next(replies)
        yield _child(keys, job_id, ForeignKey(section, "errors", file), metadata, errors)
        log = ForeignKey(section, "logs", file)
        if log in parts:
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


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
