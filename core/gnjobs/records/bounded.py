"""Bounds the size of a reply and the wait for slow ones, so that nobody who writes can stop those who read.

A reply that goes on beyond the limit ends its connection with `TooLarge`, one that trickles in with `TooSlow`.
Many hashes that were read at once are then read again one by one, with the sizes of their fields first.
"""

import re
import time
from collections.abc import Sequence
from typing import Any, Final

import redis

LARGEST_REPLY: Final = 72 * 1024 * 1024
LARGEST_FIELD: Final = 256 * 1024
LONGEST_RECORD: Final = 32 * 1024  # of which many are kept at once
_LONGEST_OF_MANY: Final = 500
# What each element of a reply takes in memory besides its own bytes. Those of the first megabyte can't take much: as
# nearly every reply ends there, they are not counted.
ELEMENT: Final = 64
_COUNTED_FROM: Final = 2**20
_BEGINNINGS: Final = re.compile(rb"\r\n[-+:$*_#,(!=%~>|]")
LONGEST_REPLY: Final = 60.0
_SLOW_REPLY: Final = 1.0
# A command that is to wait says so at its beginning.
_BLOCK, _BEGINNING = b"BLOCK", 64


class TooLarge(redis.RedisError):
    """What Redis holds there is too large to be read at once."""


class TooSlow(redis.TimeoutError):
    """The server answers, but too slowly to be waited for."""


class Slowness:
    """How long a server may keep somebody waiting for slow replies, all together (seconds)."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._waited = 0.0

    def add(self, seconds: float) -> None:
        """Count one wait for some of a reply; raises `TooSlow` beyond the limit."""
        self._waited += seconds if seconds > _SLOW_REPLY else 0.0
        if self._waited > self._limit:
            raise _too_slow(self._waited)


def _too_slow(waited: float) -> TooSlow:
    return TooSlow(f"answers too slowly: {waited:.0f} s went by waiting for it")


class BoundedSocket:
    """A connected socket that gives up on a reply of over `LARGEST_REPLY` bytes, or of over `longest` seconds."""

    def __init__(self, socket: Any, slowness: Slowness | None = None, longest: float = LONGEST_REPLY) -> None:
        self._socket = socket
        self._slowness = slowness
        self._longest = longest
        self._blocks = False
        self.count_anew()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def sendall(self, data: Any) -> None:
        """Send, and count anew what comes."""
        self.count_anew()
        self._blocks = _BLOCK in data[:_BEGINNING]
        self._socket.sendall(data)

    def count_anew(self) -> None:
        """Count from here on, for messages that come without a command of ours."""
        self._received = self._elements = 0
        self._waited = 0.0

    def recv_into(self, buffer: bytearray) -> int:
        """Receive into a buffer."""
        began = time.monotonic()
        count: int = self._socket.recv_into(buffer)
        return self._counted(buffer, count, began)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive."""
        began = time.monotonic()
        data: bytes = self._socket.recv(size, flags)
        self._counted(data, 0 if flags else len(data), began)
        return data

    def _counted(self, data: bytes | bytearray, count: int, began: float) -> int:
        waited = time.monotonic() - began
        if self._slowness is not None and not self._blocks:
            self._slowness.add(waited)
        self._waited += waited
        if self._waited > self._longest:
            raise _too_slow(self._waited)
        self._received += count
        if self._received > _COUNTED_FROM:
            self._elements += len(_BEGINNINGS.findall(data, 0, count)) + 1  # its first may begin in between
        if self._received + self._elements * ELEMENT > LARGEST_REPLY:
            raise TooLarge(f"what stands there is larger than {LARGEST_REPLY // 2**20} MB, and is not read")
        return count


def read_hashes(client: redis.Redis, keys: Sequence[str], names: Sequence[str]) -> list[Any]:
    """HMGET of the same fields of many hashes: for each the values, or the error with which the server refused.

    Where they are too large together, the size of a value beyond 256 KiB stands in its place.
    """
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.hmget(key, names)
    try:
        return pipe.execute(raise_on_error=False)
    except TooLarge:
        return read_carefully(client, keys, names)


def read_carefully(client: redis.Redis, keys: Sequence[str], names: Sequence[str | bytes]) -> list[Any]:
    """Read hashes one by one, with the sizes of their fields first: together no more than half of the largest reply."""
    room = LARGEST_REPLY // (2 * len(keys))
    return [_read_smallest(client, key, names, room) for key in keys]


def _read_smallest(client: redis.Redis, key: str, names: Sequence[str | bytes], room: int) -> Any:
    """The smallest fields of one hash, as many as fit, and the sizes of the others."""
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.hstrlen(key, name)
    sizes: list[Any] = pipe.execute(raise_on_error=False)
    if isinstance(sizes[0], Exception):
        return sizes[0]
    small = []
    for size, name in sorted(zip(sizes, names, strict=True)):
        if size <= min(room, LARGEST_FIELD):
            small.append(name)
            room -= size
    found: Any = client.hmget(key, small) if small else []
    known = dict(zip(small, found, strict=True))
    told = {name: told_size(size) for name, size in zip(names, sizes, strict=True) if size}
    return [known.get(name, told.get(name)) for name in names]


def cut_record(listed: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """The values of one of many records that are kept: only their beginnings where they are long together."""
    if sum(map(len, filter(None, listed))) <= LONGEST_RECORD:
        return listed
    return [value and value[:_LONGEST_OF_MANY] for value in listed]


def told_size(size: int) -> bytes:
    """What stands in place of a value that is too large."""
    return b"(%d bytes)" % size
