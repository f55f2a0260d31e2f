"""Reads what is newest in streams and what comes; entries that are too large hide those before them."""

import re
from collections.abc import Mapping
from typing import Any, Final

import redis
from redis.exceptions import InvalidResponse

from gnjobs.records import values
from gnjobs.records.bounded import ELEMENT, LARGEST_REPLY, TooLarge
from gnjobs.records.connection import read_or_none, server_time

_MOST_ENTRIES: Final = 1000
_ENTRY_ID: Final = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
_IDS_END: Final = 2**64


def newest_entries(
    client: redis.Redis, stream: str, after: str = "-", room: int | None = None
) -> list[tuple[bytes, Any]]:
    """The newest entries of a stream, oldest first: at most a thousand, together no larger than `room` (bytes).

    By default that is as much as is read at once.
    """
    found: list[tuple[bytes, Any]] = []
    end, room = "+", LARGEST_REPLY if room is None else room
    while len(found) < _MOST_ENTRIES:
        try:
            newest: Any = client.xrevrange(stream, end, after, count=1)
        except TooLarge:
            break
        if not newest or (room := room - _size(newest[0][1])) < 0:
            break
        found += newest
        end = f"({newest[0][0].decode()}"
    return found[::-1]


def _size(fields: Mapping[bytes, bytes]) -> int:
    return sum(len(name) + len(value) + 2 * ELEMENT for name, value in fields.items())


def newest_id(client: redis.Redis, stream: str) -> str:
    """The id of a stream's newest entry, behind which those to come will stand."""
    try:
        newest = read_or_none(client.xrevrange, stream, count=1)
    except TooLarge:
        return _id_of_now(client)
    return (values.text(newest[0][0]) if newest else None) or "0-0"


def where_to_go_on(client: redis.Redis, stream: str, last: str) -> str:
    """Behind the `last` id, and in a stream that ended in the future and was begun anew at its beginning."""
    now = server_time(client)
    is_anew = values.is_ahead(last, now) and not values.is_ahead(newest_id(client, stream), now)
    return "0-0" if is_anew else last


def _id_of_now(client: redis.Redis) -> str:
    """What stands before all entries to come, where those up to now can't be read."""
    seconds, microseconds = client.time()
    return f"{int(seconds) * 1000 + int(microseconds) // 1000}-0"


def read_behind(client: redis.Redis, last: dict[str, str], count: int, block: int) -> list[Any]:
    """What stands behind the `last` ids of streams, by XREAD, which waits for it (`block` in milliseconds).

    Where entries are too large to be read, they and those before them are left out, each stream's beyond its share of
    the room, and `last` is set to now. Raises `InvalidResponse` for what is none of it: what answers for a moment on
    the port of a server that is away may answer anything, behind which nothing would ever come.
    """
    found = _read_behind(client, last, count, block)
    for stream, entries in found:
        if values.text(stream) not in last or not all(_is_entry_id(entry_id) for entry_id, _ in entries):
            raise InvalidResponse("a stream was asked for, and something else was answered")
    return found


def _is_entry_id(found: bytes) -> bool:
    return bool(_ENTRY_ID.fullmatch(found)) and all(int(part) < _IDS_END for part in found.split(b"-"))


def _read_behind(client: redis.Redis, last: dict[str, str], count: int, block: int) -> list[Any]:
    try:
        return client.xread(dict(last), count, block) or []  # type: ignore[arg-type,return-value]
    except TooLarge:
        now, share = _id_of_now(client), LARGEST_REPLY // len(last)
        found = {stream: newest_entries(client, stream, f"({after}", share) for stream, after in last.items()}
        last.update(dict.fromkeys(last, now))
        return [(stream.encode(), entries) for stream, entries in found.items() if entries]
