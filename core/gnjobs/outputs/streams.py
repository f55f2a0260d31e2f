"""Streams read as numbered lines: those whose ids are line numbers, and any others."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import redis

from gnjobs.outputs.lines import NUMBERS_END, Entry, Extent, Hole, Line, encode_json, entry_number, read_entry
from gnjobs.records import values
from gnjobs.records.bounded import LARGEST_REPLY
from gnjobs.records.connection import replies_of
from gnjobs.records.values import encode_text

StoredEntry = tuple[bytes, Mapping[bytes, bytes]]
MayHold = Callable[[Entry], bool]

_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
_ENTRIES_AT_ONCE: Final = 1000
_KEYS_AT_ONCE = 500
_ENTRIES_FIRST: Final = 2
_ENTRIES_FOLLOWED: Final = 16
_EARLIEST_TIME: Final = 10**12  # milliseconds: ids below it are not times


class OtherForm(Exception):
    """The key now stores its lines in another form."""


def _entries(reply: Any) -> list[StoredEntry]:
    entries: list[StoredEntry] = reply
    return entries


def as_text(fields: Mapping[bytes, bytes]) -> str:
    """Put an entry of another form on one line: its only value, or all fields as JSON."""
    if len(fields) == 1:
        return values.text(next(iter(fields.values()))) or ""
    return encode_json({values.text(name): values.text(value) for name, value in fields.items()}).decode()


def _foreign_entry(number: int, fields: Mapping[bytes, bytes]) -> Entry:
    return Entry(number, number, None, "out", encode_text(as_text(fields).replace("\n", "␊")))


class NumberedStream:
    """A stream whose entry ids are the numbers of their last lines."""

    kind: Final = "numbered"

    def __init__(self, client: redis.Redis, key: bytes) -> None:
        self._client = client
        self._key = key

    def extent(self) -> Extent:
        """Where its lines begin and end."""
        oldest = _entries(self._client.xrange(self._key, "-", "+", count=1))
        if not oldest:
            last = self._last_number_given()
            return Extent(last + 1, last, self.kind)
        first = max(1, self._entry(*oldest[0]).first)
        return Extent(first, max(first - 1, self.last()), self.kind)

    def last(self) -> int:
        """The number of the last line."""
        newest = _entries(self._client.xrevrange(self._key, "+", "-", count=1))
        return self._entry(*newest[0]).last if newest else self._last_number_given()

    def read(self, first: int, count: int) -> list[Line | Hole]:
        """Read at most `count` lines from `first` on, fewer of many MB; what is missing before a line is a hole."""
        return self._read(first, count, _any, LARGEST_REPLY)[0]

    def skim(self, first: int, count: int, may_hold: MayHold) -> tuple[list[Line | Hole], int]:
        """Read only entries for which `may_hold` is true; also returns the number to continue from.

        Fewer lines are read where they are very long.
        """
        return self._read(first, count, may_hold, _BYTES_AT_ONCE)

    def _read(
        self, first: int, count: int, may_hold: MayHold, most_bytes: int
    ) -> tuple[list[Line | Hole], int]:
        found: list[Line | Hole] = []
        cursor, wanted, ask = max(first, 1), count, _ENTRIES_FIRST
        while wanted > 0:
            stored = _entries(self._client.xrange(self._key, f"{cursor}-0", "+", count=ask))
            entries = [self._entry(*entry) for entry in stored]
            cursor, wanted = _take(entries, cursor, wanted, found, may_hold)
            if len(entries) < ask or _size(found) >= most_bytes:
                break
            ask = _how_many(entries, wanted)
        return found, cursor

    def wait(self, after: int, seconds: float, most: int) -> list[Line | Hole]:
        """Wait for lines that follow `after`."""
        found: list[Line | Hole] = []
        block = max(1, int(seconds * 1000))
        reply: Any = self._client.xread({self._key: f"{after}-0"}, count=_ENTRIES_FOLLOWED, block=block)
        if reply:
            _take([self._entry(*entry) for entry in reply[0][1]], after + 1, most, found)
        return found

    def _entry(self, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
        number = values.integer(entry_id.partition(b"-")[0]) or 0
        if number >= NUMBERS_END:
            raise OtherForm
        return read_entry(entry_id, fields) or _foreign_entry(number, fields)

    def _last_number_given(self) -> int:
        try:
            info: Any = self._client.xinfo_stream(self._key)
        except redis.ResponseError:
            return 0
        return entry_number(info["last-generated-id"]) or 0


def _size(found: Iterable[Line | Hole]) -> int:
    return sum(len(line.text) for line in found if isinstance(line, Line))


def _any(_: Entry) -> bool:
    return True


def _take(
    entries: Iterable[Entry],
    cursor: int,
    wanted: int,
    found: list[Line | Hole],
    may_hold: MayHold = _any,
) -> tuple[int, int]:
    """Add the entries' lines from `cursor` on; returns the next number and how many are still wanted."""
    for entry in entries:
        if wanted <= 0:
            break
        if entry.first > cursor:
            found.append(Hole(cursor, entry.first - 1))
            cursor = entry.first
        passed = max(0, min(wanted, entry.last - cursor + 1))
        if passed and may_hold(entry):
            found.extend(entry.lines(cursor, passed))
        cursor += passed
        wanted -= passed
    return cursor, wanted


def _how_many(entries: list[Entry], wanted: int) -> int:
    """How many entries to ask for next, judging by the size of the last ones."""
    lines = sum(entry.last - entry.first + 1 for entry in entries) or 1
    size = sum(len(entry.data) + 1 for entry in entries)
    by_lines = wanted * len(entries) // lines + 1
    by_bytes = _BYTES_AT_ONCE * len(entries) // size
    return max(1, min(by_lines, by_bytes, _ENTRIES_AT_ONCE))


class ForeignStream:
    """A stream that another program writes: each entry is a line, numbered in order of arrival.

    Numbers stay when it is trimmed, where the server counts what was added (from version 7 on).
    """

    kind: Final = "stream"

    def __init__(self, client: redis.Redis, key: bytes) -> None:
        self._client = client
        self._key = key
        self._marks: list[tuple[int, bytes]] = []

    def extent(self) -> Extent:
        """Where its lines begin and end."""
        return self._state()[0]

    def last(self) -> int:
        """The number of the last line."""
        return self._state()[0].last

    def read(self, first: int, count: int) -> list[Line | Hole]:
        """Read at most `count` lines from `first` on; what was trimmed before them is a hole."""
        extent, last_id = self._state()
        found: list[Line | Hole] = []
        start = max(first, extent.first, 1)
        if start > max(first, 1) and extent.last >= start:
            found.append(Hole(max(first, 1), start - 1))
        left = extent.last - start + 1
        if count <= 0 or left <= 0:
            return found
        if left <= _ENTRIES_AT_ONCE:
            newest = _entries(self._client.xrevrange(self._key, last_id, "-", count=left))
            return found + [_line(start + i, *entry) for i, entry in enumerate(newest[::-1][:count])]
        return found + self._scan(extent, start, count)

    def wait(self, after: int, seconds: float, most: int) -> list[Line | Hole]:
        """Wait for lines that follow `after`."""
        extent, last_id = self._state()
        if extent.last == after:
            self._client.xread({self._key: last_id}, count=1, block=max(1, int(seconds * 1000)))
        return self.read(after + 1, most)

    def _state(self) -> tuple[Extent, bytes]:
        try:
            info: Any = self._client.xinfo_stream(self._key)
        except redis.ResponseError:
            return Extent(1, 0, self.kind), b"0-0"
        last = max(info.get("entries-added") or 0, info["length"])
        first = last - info["length"] + 1
        if self._marks and self._marks[-1][0] > last:
            self._marks.clear()
        return Extent(first, last, self.kind), info["last-generated-id"]

    def _scan(self, extent: Extent, start: int, count: int) -> list[Line | Hole]:
        """Read from the nearest entry whose number is known, remembering further entries on the way."""
        at = bisect_right(self._marks, start, key=lambda mark: mark[0])
        number, entry_id = (
            self._marks[at - 1] if at and self._marks[at - 1][0] >= extent.first else (extent.first, b"-")
        )
        found: list[Line | Hole] = []
        while len(found) < count:
            entries = _entries(self._client.xrange(self._key, entry_id, "+", count=_ENTRIES_AT_ONCE))
            for i, entry in enumerate(entries):
                if number + i >= start + len(found) and len(found) < count:
                    found.append(_line(number + i, *entry))
            if len(entries) < _ENTRIES_AT_ONCE:
                break
            number, entry_id = number + len(entries) - 1, entries[-1][0]
            if not self._marks or self._marks[-1][0] < number:
                self._marks.append((number, entry_id))
        return found


def _line(number: int, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Line:
    milliseconds = values.number(entry_id.partition(b"-")[0], _EARLIEST_TIME, values.LATEST_TIME * 1000)
    return Line(number, None if milliseconds is None else milliseconds / 1000, "out", as_text(fields))


def is_numbered(entries: Iterable[StoredEntry]) -> bool:
    """Whether all these entries are numbered lines."""
    return all(read_entry(*entry) is not None for entry in entries)


def read_short(client: redis.Redis, wanted: Sequence[tuple[str, int]]) -> list[list[Line | Hole] | None]:
    """Read many outputs, each named by its key and the number of a line, from that line to the end, in one round trip.

    None for one that is longer than a few entries or is stored in another form: its own reader can tell.
    """
    pipe = client.pipeline(transaction=False)
    for key, first in wanted:
        pipe.xrange(encode_text(key), f"{first}-0", "+", count=_ENTRIES_FIRST)
    replies = replies_of(pipe)
    return [_whole(reply, first) for reply, (_, first) in zip(replies, wanted, strict=True)]


def last_numbers(client: redis.Redis, keys: Sequence[str]) -> list[int | None]:
    """The number of the last line of many outputs, 0 where there is none, None where it is stored in another form."""
    numbers: list[int | None] = []
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for key in keys[start : start + _KEYS_AT_ONCE]:
            pipe.xrevrange(encode_text(key), count=1)
        numbers += map(_last_number, replies_of(pipe))
    return numbers


def _last_number(newest: Any) -> int | None:
    if newest is None or not is_numbered(_entries(newest)):
        return None
    return entry_number(newest[0][0]) if newest else 0


def _whole(reply: Any, first: int) -> list[Line | Hole] | None:
    if reply is None or len(reply) >= _ENTRIES_FIRST or not is_numbered(_entries(reply)):
        return None
    found: list[Line | Hole] = []
    for entry_id, fields in reply:
        if (entry := read_entry(entry_id, fields)) is not None:
            _take([entry], first, entry.last, found)
    return found
