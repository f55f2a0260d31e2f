"""How much of a reply is read: a value of hundreds of megabytes, whoever wrote it, must not fill its readers' memory.

A reply that goes on beyond the limit ends its connection with `TooLarge`. Who reads many hashes at once then reads
them again one by one, with the sizes of their fields first.
"""

from collections.abc import Sequence
from typing import Any, Final

import redis

LARGEST_REPLY: Final = 72 * 1024 * 1024
LARGEST_FIELD: Final = 256 * 1024


class TooLarge(redis.RedisError):
    """What Redis holds there is larger than anything that is read at once."""


class BoundedSocket:
    """A connected socket that gives up when more than `LARGEST_REPLY` bytes follow what was sent last."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._received = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def sendall(self, data: Any) -> None:
        """Send, and count anew what comes."""
        self._received = 0
        self._socket.sendall(data)

    def recv_into(self, *arguments: Any) -> int:
        """Receive into a buffer."""
        count: int = self._socket.recv_into(*arguments)
        return self._counted(count)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive."""
        data: bytes = self._socket.recv(size, flags)
        self._counted(0 if flags else len(data))
        return data

    def _counted(self, count: int) -> int:
        self._received += count
        if self._received > LARGEST_REPLY:
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
        return [read_carefully(client, key, names) for key in keys]


def read_carefully(client: redis.Redis, key: str, names: Sequence[str]) -> Any:
    """Read the fields of one hash, those that are not too large; raises `TooLarge` where all others are, together."""
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.hstrlen(key, name)
    sizes: list[Any] = pipe.execute(raise_on_error=False)
    if isinstance(sizes[0], Exception):
        return sizes[0]
    small = [name for name, size in zip(names, sizes, strict=True) if 0 < size <= LARGEST_FIELD]
    found: Any = client.hmget(key, small) if small else []
    known = dict(zip(small, found, strict=True))
    told = {n: told_size(size) for n, size in zip(names, sizes, strict=True) if size > LARGEST_FIELD}
    return [known.get(name, told.get(name)) for name in names]


_MOST_ENTRIES: Final = 1000


def newest_entries(client: redis.Redis, stream: str, after: str = "-") -> list[tuple[bytes, Any]]:
    """The entries of a stream that come behind all that are too large to be read, at most a thousand, oldest first."""
    found: list[tuple[bytes, Any]] = []
    end = "+"
    while len(found) < _MOST_ENTRIES:
        try:
            newest: Any = client.xrevrange(stream, end, after, count=1)
        except TooLarge:
            break
        if not newest:
            break
        found += newest
        end = f"({newest[0][0].decode()}"
    return found[::-1]


def told_size(size: int) -> bytes:
    """What stands in place of a value that is too large."""
    return b"(%d bytes)" % size
