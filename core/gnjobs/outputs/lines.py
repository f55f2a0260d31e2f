"""Numbered lines, and the form in which they lie in a stream's entries."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from gnjobs.records import values

KINDS: Final = ("out", "err", "log", "fault", "record", "result")
ENTRY_FIELDS: Final = (b"at", b"kind", b"data")
NUMBERS_END: Final = 10**12  # ids from here on are times: the stream is not one of numbered lines

ExtentKind = Literal["numbered", "list", "string", "stream", "field", "none", "unreadable"]


class Line(msgspec.Struct, frozen=True):
    """One line of an output; `at` in unix seconds, None where it is not known.

    Bytes that were not UTF-8 are lone surrogates in `text` (the error handler `surrogateescape` gives them back).
    """

    number: int
    at: float | None
    kind: str
    text: str

    @property
    def first(self) -> int:
        """Its number, as a hole has it."""
        return self.number

    @property
    def last(self) -> int:
        """Its number, as a hole has it."""
        return self.number


class Hole(msgspec.Struct, frozen=True):
    """Lines that are missing, both ends included: trimmed, or lost by the server."""

    first: int
    last: int

    @property
    def words(self) -> str:
        """Say what is missing."""
        if self.first == self.last:
            return f"line {self.first} is missing"
        return f"lines {self.first} to {self.last} are missing"


class Extent(msgspec.Struct, frozen=True):
    """Which lines an output has; none where `last` is less than `first`. Those before `first` are gone."""

    first: int
    last: int
    kind: ExtentKind


class Entry(msgspec.Struct, frozen=True):
    """One entry of a numbered stream: the lines `first` to `last`, still joined."""

    first: int
    last: int
    at: float | None
    kind: str
    data: bytes

    def lines(self, first: int, count: int) -> list[Line]:
        """Take at most `count` lines from line `first` on, splitting no more of the data than that needs."""
        total = self.last - self.first + 1
        start = max(0, first - self.first)
        end = min(total, start + count)
        if start >= end:
            return []
        if end <= total - start:
            parts = self.data.split(b"\n", end)[start:end]
        else:
            parts = self.data.rsplit(b"\n", total - start)[start - total :][: end - start]
        number = self.first + start
        return [
            Line(number + i, self.at, self.kind, part.decode("utf-8", "surrogateescape"))
            for i, part in enumerate(parts)
        ]


def up_to(items: Sequence[Line | Hole], last: int) -> list[Line | Hole]:
    """What of these is line `last` or before it; a hole that goes on is cut there."""
    wanted = (item for item in items if item.first <= last)
    return [Hole(item.first, min(item.last, last)) if isinstance(item, Hole) else item for item in wanted]


def entry_number(entry_id: bytes) -> int | None:
    """Read an entry's id as a line number; None where it is not one."""
    number, _, sequence = entry_id.partition(b"-")
    if sequence != b"0" or not number.isdigit() or len(number) > 12:
        return None
    return int(number) or None


def read_entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry | None:
    """Read an entry of numbered lines, or None where it is something else."""
    number = entry_number(entry_id)
    if number is None or tuple(fields) != ENTRY_FIELDS:
        return None
    at, kind, data = fields.values()
    milliseconds = values.number(at, 0.0, values.LATEST_TIME * 1000)
    return Entry(
        first=number - data.count(b"\n"),
        last=number,
        at=None if milliseconds is None else milliseconds / 1000,
        kind=kind.decode("utf-8", "surrogateescape"),
        data=data,
    )


def encode_json(value: Any) -> bytes:
    """Encode a value as JSON on one line; what JSON does not know becomes a number or its text."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError, OverflowError):
        return _encode_oddity(value)


def _plain(value: Any) -> Any:
    """The number or text that stands for a value; numpy's scalars have `item`."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


def _encode_oddity(value: Any) -> bytes:
    import json

    try:
        return json.dumps(value, default=str, skipkeys=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError, OverflowError):
        return json.dumps(repr(value)).encode()
