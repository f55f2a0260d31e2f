"""Lists, strings and hash fields read as numbered lines."""

import time
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Protocol

import redis

from gnjobs.outputs.lines import Extent, ExtentKind, Hole, Line

CHUNK_BYTES: Final = 1024 * 1024
LARGEST_FIELD: Final = 64 * CHUNK_BYTES
_LONGEST_LINE: Final = CHUNK_BYTES
_ELEMENTS_AT_ONCE: Final = 1000
_HEAD_BYTES: Final = 64
_LOOK_EVERY: Final = 0.2


def _line(number: int, data: bytes) -> Line:
    return Line(number, None, "out", data.decode("utf-8", "surrogateescape"))


class ListLines:
    """A list: each element is a line."""

    kind: Final = "list"

    def __init__(self, client: redis.Redis, key: bytes) -> None:
        self._client = client
        self._key = key

    def extent(self) -> Extent:
        """Where its lines begin and end."""
        return Extent(1, self.last(), self.kind)

    def last(self) -> int:
        """The number of elements."""
        length: Any = self._client.llen(self._key)
        return int(length)

    def read(self, first: int, count: int) -> list[Line | Hole]:
        """Read at most `count` elements from `first` on."""
        found: list[Line | Hole] = []
        start, end = max(first, 1), max(first, 1) + count
        while start < end:
            stop = min(end, start + _ELEMENTS_AT_ONCE)
            elements: Any = self._client.lrange(self._key, start - 1, stop - 2)
            found += [_line(start + i, element) for i, element in enumerate(elements)]
            if len(elements) < stop - start:
                break
            start = stop
        return found

    def wait(self, after: int, seconds: float, most: int) -> list[Line | Hole]:
        """Look again until there are lines that follow `after`."""
        deadline = time.monotonic() + seconds
        while not (found := self.read(after + 1, most)) and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_LOOK_EVERY, left))
        return found


class Text(Protocol):
    """A text somewhere in Redis."""

    @property
    def kind(self) -> ExtentKind:
        """Which kind its extent is."""

    def look(self) -> tuple[int, bytes]:
        """Its length in bytes, and how it begins."""

    def fetch(self, start: int) -> bytes:
        """At most a chunk of it, from a position on."""


class StringText:
    """The text of a string, fetched in chunks."""

    kind: Final = "string"

    def __init__(self, client: redis.Redis, key: bytes) -> None:
        self._client = client
        self._key = key

    def look(self) -> tuple[int, bytes]:
        """Its length in bytes, and how it begins."""
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.strlen(self._key)
            pipeline.getrange(self._key, 0, _HEAD_BYTES - 1)
            length, head = pipeline.execute()
        return length, head

    def fetch(self, start: int) -> bytes:
        """At most a chunk of it, from a position on."""
        chunk: Any = self._client.getrange(self._key, start, start + CHUNK_BYTES - 1)
        return bytes(chunk)


class FieldText:
    """The text of a hash's field, which Redis gives only as a whole."""

    kind: Final = "field"

    def __init__(self, client: redis.Redis, key: bytes, field: str) -> None:
        self._client = client
        self._key = key
        self._field = field
        self._value = b""

    def look(self) -> tuple[int, bytes]:
        """Its length in bytes, and how it begins; fetches it where the length has changed."""
        length: Any = self._client.hstrlen(self._key, self._field)
        if length != len(self._value):
            value: Any = self._client.hget(self._key, self._field) if length <= LARGEST_FIELD else b""
            self._value = value or b""
        return len(self._value), self._value[:_HEAD_BYTES]

    def fetch(self, start: int) -> bytes:
        """At most a chunk of it, from a position on."""
        return self._value[start : start + CHUNK_BYTES]


class TextLines:
    """A text that may grow, read as lines; it remembers where the lines of each chunk begin, but not the text.

    A last line without its newline counts, but whoever waits gets it only once it has stopped growing. A line of over
    1 MiB is cut, which an ellipsis shows, unless lines are to be whole (`is_whole`).
    """

    def __init__(self, text: Text, *, is_whole: bool = False) -> None:
        self.kind = text.kind
        self._text = text
        self._is_whole = is_whole
        self._forget()

    def extent(self) -> Extent:
        """Where its lines begin and end."""
        return Extent(1, self.last(), self.kind)

    def last(self) -> int:
        """The number of the last line."""
        self._scan()
        return self._whole + (self._scanned > self._marks[-1][1])

    def read(self, first: int, count: int) -> list[Line | Hole]:
        """Read at most `count` lines from `first` on."""
        self._scan()
        start = max(first, 1)
        number, position = self._marks[bisect_right(self._marks, start, key=lambda mark: mark[0]) - 1]
        wanted = islice(self._lines_from(position), start - number, start - number + max(0, count))
        return [_line(start + i, data) for i, data in enumerate(wanted)]

    def wait(self, after: int, seconds: float, most: int) -> list[Line | Hole]:
        """Look again until there are whole lines that follow `after`, or one that has not grown meanwhile."""
        deadline = time.monotonic() + seconds
        self._scan()
        length = self._scanned
        while self._whole <= after and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_LOOK_EVERY, left))
            self._scan()
        whole = self._whole - after
        return self.read(after + 1, most if self._scanned == length else min(most, whole))

    def _forget(self) -> None:
        self._head = b""
        self._scanned = 0
        self._whole = 0
        self._marks = [(1, 0)]

    def _scan(self) -> None:
        """Count the lines of what was added."""
        length, head = self._text.look()
        if length < self._scanned or not head.startswith(self._head):
            self._forget()
        self._head = head
        while self._scanned < length and (chunk := self._text.fetch(self._scanned)):
            end = chunk.rfind(b"\n") + 1
            if end:
                self._whole += chunk.count(b"\n")
                self._marks.append((self._whole + 1, self._scanned + end))
            self._scanned += len(chunk)

    def _lines_from(self, position: int) -> Iterator[bytes]:
        rest = b""
        while chunk := self._text.fetch(position):
            position += len(chunk)
            whole = chunk.split(b"\n")
            whole[0] = rest + whole[0]
            rest = whole.pop()
            yield from whole if self._is_whole else map(_cut, whole)
        if rest:
            yield rest if self._is_whole else _cut(rest)


def _cut(line: bytes) -> bytes:
    return line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE].rstrip("…".encode()) + "…".encode()
