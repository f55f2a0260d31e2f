"""How much of a reply is read, and how long slow ones are waited for: whoever writes must not stop who reads.

A reply that goes on beyond the limit ends its connection with `TooLarge`. Who reads many hashes at once then reads
them again one by one, with the sizes of their fields first.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis

from gnjobs.records import values

LARGEST_REPLY: Final = 72 * 1024 * 1024
LARGEST_FIELD: Final = 256 * 1024
LONGEST_RECORD: Final = 32 * 1024  # of which many are kept at once
_LONGEST_OF_MANY: Final = 500
# What each element of a reply takes in memory besides its own bytes. Those of the first megabyte can't take much: as
# nearly every reply ends there, they are not counted.
_ELEMENT: Final = 64
_COUNTED_FROM: Final = 2**20
_BEGINNINGS: Final = re.compile(rb"\r\n[-+:$*_#,(!=%~>|]")
_SLOW_REPLY: Final = 1.0
# A command that is to wait says so at its beginning.
_BLOCK, _BEGINNING = b"BLOCK", 64


class TooLarge(redis.RedisError):
    """What Redis holds there is larger than anything that is read at once."""


class TooSlow(redis.TimeoutError):
    """A server that answers, and so slowly that nobody would wait for it."""


class Slowness:
    """How long a server may keep somebody waiting for slow replies, all together (seconds)."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._waited = 0.0

    def add(self, seconds: float) -> None:
        """Count the wait for one reply; raises `TooSlow` beyond the limit."""
        self._waited += seconds if seconds > _SLOW_REPLY else 0.0
        if self._waited > self._limit:
            raise TooSlow(f"answers too slowly: {self._waited:.0f} s went by waiting for it")


class BoundedSocket:
    """A connected socket that gives up when what follows the last command takes more than `LARGEST_REPLY` bytes."""

    def __init__(self, socket: Any, slowness: Slowness | None = None) -> None:
        self._socket = socket
        self._received = self._elements = 0
        self._slowness = slowness
        self._sent: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def sendall(self, data: Any) -> None:
        """Send, and count anew what comes."""
        self.count_anew()
        self._sent = None if _BLOCK in data[:_BEGINNING] else time.monotonic()
        self._socket.sendall(data)

    def count_anew(self) -> None:
        """Begin with what comes now, where that comes without having been asked for."""
        self._received = self._elements = 0

    def recv_into(self, buffer: bytearray) -> int:
        """Receive into a buffer."""
        count: int = self._socket.recv_into(buffer)
        return self._counted(buffer, count)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive."""
        data: bytes = self._socket.recv(size, flags)
        self._counted(data, 0 if flags else len(data))
        return data

    def _counted(self, data: bytes | bytearray, count: int) -> int:
        if self._sent is not None and self._slowness is not None:
            self._slowness.add(time.monotonic() - self._sent)
            self._sent = None
        self._received += count
        if self._received > _COUNTED_FROM:
            self._elements += len(_BEGINNINGS.findall(data, 0, count)) + 1  # its first may begin in between
        if self._received + self._elements * _ELEMENT > LARGEST_REPLY:
            raise TooLarge(f"what stands there is larger than {LARGEST_REPLY // 2**20} MB, and is not read")
        return count


def read_hashes(client: redis.Redis, keys: Sequence[str], names: Sequence[str]) -> list[Any]:
    """HMGET of the same fields of many hashes: for each the values, or the error with which the server refused.

    Where they are too large together, in place of a value beyond 256 KiB stands its size.
    """
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.hmget(key, names)
    try:
        return pipe.execute(raise_on_error=False)
    except TooLarge:
        return read_carefully(client, keys, names)


def read_carefully(client: redis.Redis, keys: Sequence[str], names: Sequence[str]) -> list[Any]:
    """Read hashes one by one, with the sizes of their fields first: together no more than half of the largest reply."""
    room = LARGEST_REPLY // (2 * len(keys))
    return [_read_smallest(client, key, names, room) for key in keys]


def _read_smallest(client: redis.Redis, key: str, names: Sequence[str], room: int) -> Any:
    """The smallest fields of one hash that have room together, and the sizes of the others."""
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.hstrlen(key, name)
    sizes: list[Any] = pipe.execute(raise_on_error=False)
    if isinstance(sizes[0], Exception):
        return sizes[0]
    small = []
    for size, name in sorted(zip(sizes, names, strict=True)):
        if 0 < size <= min(room, LARGEST_FIELD):
            small.append(name)
            room -= size
    found: Any = client.hmget(key, small) if small else []
    known = dict(zip(small, found, strict=True))
    told = {name: told_size(size) for name, size in zip(names, sizes, strict=True) if size}
    return [known.get(name, told.get(name)) for name in names]


def cut_record(listed: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """The values of a record of which many are kept: only how each begins where they are long together."""
    if sum(map(len, filter(None, listed))) <= LONGEST_RECORD:
        return listed
    return [value and value[:_LONGEST_OF_MANY] for value in listed]


_MOST_ENTRIES: Final = 1000


def newest_entries(
    client: redis.Redis, stream: str, after: str = "-", room: int | None = None
) -> list[tuple[bytes, Any]]:
    """The newest entries of a stream, oldest first: at most a thousand, together no larger than what is read at once.

    Where they have less `room` (bytes), that counts.
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
    return sum(len(name) + len(value) + 2 * _ELEMENT for name, value in fields.items())


def newest_id(client: redis.Redis, stream: str) -> str:
    """The id of a stream's newest entry, behind which those to come will stand."""
    try:
        newest: Any = client.xrevrange(stream, count=1)
    except TooLarge:
        return _id_of_now(client)
    return (values.text(newest[0][0]) if newest else None) or "0-0"


def _id_of_now(client: redis.Redis) -> str:
    """What stands before all entries to come, where those up to now can't be read."""
    seconds, microseconds = client.time()
    return f"{int(seconds) * 1000 + int(microseconds) // 1000}-0"


def read_behind(client: redis.Redis, last: dict[str, str], count: int, block: int) -> list[Any]:
    """What stands behind the `last` ids of streams, by XREAD, which waits for it (`block` in milliseconds).

    Where entries are too large to be read, they and those before them are left out, each stream's beyond its share of
    the room, and `last` is set to now.
    """
    try:
        return client.xread(dict(last), count, block) or []  # type: ignore[arg-type,return-value]
    except TooLarge:
        now, share = _id_of_now(client), LARGEST_REPLY // len(last)
        found = {stream: newest_entries(client, stream, f"({after}", share) for stream, after in last.items()}
        last.update(dict.fromkeys(last, now))
        return [(stream.encode(), entries) for stream, entries in found.items() if entries]


def told_size(size: int) -> bytes:
    """What stands in place of a value that is too large."""
    return b"(%d bytes)" % size
