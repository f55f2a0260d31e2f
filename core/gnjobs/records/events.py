"""What happened, for people: a stream of ends, losses, removals and kills with who asked and why.

Label and owner are copied in, so that an event can be read when its job is gone. A log, not proof against forgery.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.connection import is_wrong_type
from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys
from gnjobs.records.values import encode_text

KEPT = 100_000
LONGEST_TEXT = 2000
_CHUNK = 1000


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened; `at` in unix seconds, `kind` a word: `ended`, `failed`, `lost`, `killed`, `refused`."""

    at: float
    kind: str
    job: str | None = None
    label: str | None = None
    owner: str | None = None
    by: str | None = None
    host: str | None = None
    text: str = ""
    reason: str | None = None


def record_event(
    client: Any,
    keys: Keys,
    kind: str,
    job: Job,
    *,
    text: str,
    by: str | None = None,
    reason: str | None = None,
) -> None:
    """Append an event about a job; `client` may be a pipeline."""
    fields = {
        "kind": kind,
        "job": job.id,
        "label": job.name,
        "owner": job.user,
        "by": by,
        "host": socket.gethostname(),
        "text": text,
        "reason": reason,
    }
    said = {
        name: encode_text(value[:LONGEST_TEXT]) for name, value in fields.items() if value not in (None, "")
    }
    client.xadd(keys.events, said, maxlen=KEPT, approximate=True)


def record_refusal(
    client: redis.Redis, keys: Keys, action: str, job: Job, refusal: object, *, by: str, reason: str = ""
) -> None:
    """Append that an action on a job was refused, unless this account may not even say so."""
    with contextlib.suppress(redis.ResponseError):
        record_event(client, keys, "refused", job, text=f"{action} refused: {refusal}", by=by, reason=reason)


def read_events(client: redis.Redis, keys: Keys, since: float | None = None) -> Iterator[Event]:
    """Read events, oldest first, from a time on (unix seconds); whatever an entry holds, reading does not raise."""
    start = "-" if since is None else f"{int(min(max(since, 0.0), values.LATEST_TIME) * 1000)}-0"
    while True:
        entries = _entries(client.xrange, keys.events, min=start, count=_CHUNK)
        for entry_id, fields in entries:
            yield read_event(entry_id, fields)
        if len(entries) < _CHUNK:
            return
        start = f"({values.text(entries[-1][0])}"


def read_last_events(client: redis.Redis, keys: Keys, count: int) -> list[Event]:
    """Read the newest events, oldest of them first."""
    entries = _entries(client.xrevrange, keys.events, count=count)
    return [read_event(entry_id, fields) for entry_id, fields in reversed(entries)]


def _entries(command: Callable[..., Any], key: str, **options: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    try:
        return list(command(key, **options))
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
        return []


def read_event(entry_id: bytes, fields: dict[bytes, bytes]) -> Event:
    """Read one entry."""
    known = {name: values.text(fields.get(name.encode())) for name in Event.__struct_fields__ if name != "at"}
    milliseconds = values.number(entry_id.partition(b"-")[0], 0.0, values.LATEST_TIME * 1000) or 0.0
    said = known | {"kind": known["kind"] or "?", "text": known["text"] or ""}
    return Event(at=milliseconds / 1000, **said)  # type: ignore[arg-type]
