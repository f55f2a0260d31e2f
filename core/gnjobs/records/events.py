"""What happened, for people: a stream of ends, losses, removals and kills with who asked and why.

Label and owner are copied in, so that an event can be read when its job is gone. A log, not proof against forgery.
"""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.backoff import Backoff
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import connect, is_passing, read_or_none, server_time
from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys
from gnjobs.records.streams import newest_entries, newest_id, read_behind, where_to_go_on
from gnjobs.records.values import encode_text
from gnjobs.text import mask_secrets

KEPT = 100_000
LONGEST_TEXT = 2000
_CHUNK = 1000
_BLOCK_SECONDS: Final = 20.0
_LAST_SEQUENCE: Final = 2**64 - 1


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened; `at` in unix seconds, `kind` a word: `ended`, `failed`, `lost`, `killed`, `refused`.

    `id` is that of its entry in the stream: later ones are greater.
    """

    id: str = ""
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
    at: float | None = None,
) -> None:
    """Append an event about a job, of now or a millisecond after all others (`at`); `client` may be a pipeline.

    An event that the log does not take is lost and stops nothing. Raises redis-py's errors that pass.
    """
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
        name: encode_text(mask_secrets(value)[:LONGEST_TEXT])
        for name, value in fields.items()
        if value not in (None, "")
    }
    entry = "*" if at is None else f"{_milliseconds(at)}-0"
    try:
        client.xadd(keys.events, said, id=entry, maxlen=KEPT, approximate=True)
    except redis.ResponseError as error:
        if is_passing(error):
            raise


def record_refusal(
    client: redis.Redis, keys: Keys, action: str, job: Job, refusal: object, *, by: str, reason: str = ""
) -> None:
    """Append that an action on a job was refused, unless this account may not even say so."""
    with contextlib.suppress(redis.ResponseError):
        record_event(client, keys, "refused", job, text=f"{action} refused: {refusal}", by=by, reason=reason)


def follow_events(
    url: str, all_keys: Sequence[Keys], since: float | None = None, after: str | None = None
) -> Iterator[Event]:
    """Yield events as they happen, for ever, under one prefix or several; blocks, and lives through outages.

    Begins at a time (`since`, unix seconds), behind the event of an id (`after`), or by default with the next one.
    Raises redis-py's errors that will stay.
    """
    start = after if after is not None else None if since is None else _before(since)
    last: dict[str, str] = {} if start is None else {keys.events: start for keys in all_keys}
    backoff = Backoff()
    with connect(url, reply_timeout=_BLOCK_SECONDS + 10, retries=0) as client:
        while True:
            try:
                for keys in all_keys:
                    known = last.get(keys.events)
                    last[keys.events] = (
                        newest_id(client, keys.events)
                        if known is None
                        else where_to_go_on(client, keys.events, known)
                    )
                found = read_behind(client, last, _CHUNK, int(_BLOCK_SECONDS * 1000))
                backoff.succeeded()
            except redis.RedisError as error:
                if not is_passing(error):
                    raise
                time.sleep(backoff.failed())
                continue
            for name, entries in found:
                for entry_id, fields in entries:
                    last[values.text(name) or ""] = values.text(entry_id) or ""
                    yield read_event(entry_id, fields)


def renew_log(client: redis.Redis, keys: Keys) -> bool:
    """Begin a new log where the last id lies in the future, so that nothing could follow it; returns whether it did.

    The old one is kept as `P:events:ended`, in place of any earlier one.
    """
    now = server_time(client)
    try:
        last = values.text(client.xinfo_stream(keys.events)["last-generated-id"]) or "0-0"
        is_full = values.is_ahead(last, now)
    except redis.ResponseError:
        return False
    except TooLarge:  # it tells the first and the last entry, too
        is_full = _has_entries(client, keys, now + values.MOST_AHEAD)
    if is_full:
        client.rename(keys.events, keys.ended_events)
    return is_full


def _has_entries(client: redis.Redis, keys: Keys, since: float) -> bool:
    try:
        return bool(client.xrange(keys.events, f"{_milliseconds(since)}-0", count=1))
    except TooLarge:
        return True


def _milliseconds(at: float) -> int:
    return int(min(max(at, 0.0), values.LATEST_TIME) * 1000)


def _before(at: float) -> str:
    """The greatest id of all that are before a time."""
    return f"{_milliseconds(at) - 1}-{_LAST_SEQUENCE}" if _milliseconds(at) else "0-0"


class Events:
    """The events of one store: call it to read them, oldest first."""

    def __init__(self, client: redis.Redis, keys: Keys, url: str) -> None:
        self._client = client
        self._keys = keys
        self._url = url

    def __call__(self, since: float | None = None, after: str | None = None) -> Iterator[Event]:
        """Read events, oldest first, from a time on (unix seconds) or behind the event of an id.

        Whatever an entry holds, reading does not raise.
        """
        start = "-" if since is None else f"{_milliseconds(since)}-0"
        start = start if after is None else f"({after}"
        while True:
            try:
                entries = read_or_none(self._client.xrange, self._keys.events, min=start, count=_CHUNK) or []
            except TooLarge:
                entries = newest_entries(self._client, self._keys.events, start)
                yield from (read_event(*entry) for entry in entries)
                return
            for entry_id, fields in entries:
                yield read_event(entry_id, fields)
            if len(entries) < _CHUNK:
                return
            start = f"({values.text(entries[-1][0])}"

    def last(self, count: int) -> list[Event]:
        """The newest events, oldest of them first."""
        try:
            entries = read_or_none(self._client.xrevrange, self._keys.events, count=count) or []
        except TooLarge:
            entries = newest_entries(self._client, self._keys.events)[-count:][::-1]
        return [read_event(entry_id, fields) for entry_id, fields in reversed(entries)]

    def follow(self, since: float | None = None, after: str | None = None) -> Iterator[Event]:
        """Yield events as they happen, for ever; see `follow_events`."""
        return follow_events(self._url, (self._keys,), since, after)


def _text(value: bytes | None) -> str | None:
    """A field's text, up to the length that we write: others may write more."""
    said = values.text(None if value is None else value[: 4 * LONGEST_TEXT])
    return None if said is None else said[:LONGEST_TEXT]


def read_event(entry_id: bytes, fields: dict[bytes, bytes]) -> Event:
    """Read one entry."""
    names = (name for name in Event.__struct_fields__ if name not in ("id", "at"))
    known = {name: _text(fields.get(name.encode())) for name in names}
    milliseconds = values.number(entry_id.partition(b"-")[0], 0.0, values.LATEST_TIME * 1000) or 0.0
    said = known | {"kind": known["kind"] or "?", "text": known["text"] or ""}
    return Event(id=values.text(entry_id) or "", at=milliseconds / 1000, **said)  # type: ignore[arg-type]
