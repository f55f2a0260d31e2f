"""Reads any output as numbered lines: those of gnjobs' own writer, and what others keep in Redis."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import redis

from gnjobs.errors import NoSuchChild, OutputRestarted
from gnjobs.outputs.lines import NUMBERS_END, Extent, ExtentKind, Hole, Line, entry_number, up_to
from gnjobs.outputs.streams import (
    ForeignStream,
    MayHold,
    NumberedStream,
    OtherForm,
    is_numbered,
    last_numbers,
)
from gnjobs.outputs.texts import LARGEST_FIELD, FieldText, ListLines, StringText, TextLines
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import is_wrong_type, read_or_none
from gnjobs.records.fields import Child
from gnjobs.records.foreign import STDERR_CHILD
from gnjobs.records.reading import Records
from gnjobs.records.values import encode_text

_LINES_AT_ONCE: Final = 5000
# Lines may be a megabyte long: few are asked for until it is known that they are short.
_FIRST_ASKED: Final = 16
_LARGEST_PORTION: Final = 8_000_000
_LINES_SKIMMED: Final = 500
_LONGEST_BLOCK: Final = 1.0

Result = TypeVar("Result")


class Form(Protocol):
    """One form in which lines are stored."""

    def extent(self) -> Extent:
        """Where its lines begin and end."""

    def last(self) -> int:
        """The number of the last line, 0 where there is none."""

    def read(self, first: int, count: int, /) -> list[Line | Hole]:
        """Read at most `count` lines from `first` on."""

    def wait(self, after: int, seconds: float, most: int, /) -> list[Line | Hole]:
        """Wait for lines that follow `after`; what is missing before them is a hole."""


class NoLines:
    """A key that is not there, or holds what can't be read as lines."""

    def __init__(self, kind: ExtentKind) -> None:
        self._extent = Extent(1, 0, kind)

    def extent(self) -> Extent:
        """What kind of thing stands there, which has no lines."""
        return self._extent

    def last(self) -> int:
        """There is no last line."""
        return 0

    def read(self, _first: int, _count: int) -> list[Line | Hole]:
        """There are no lines."""
        return []

    def wait(self, _after: int, seconds: float, _most: int) -> list[Line | Hole]:
        """Let a moment pass."""
        time.sleep(min(seconds, 0.2))
        return []


def _next_count(portion: Sequence[Line | Hole]) -> int:
    """How many lines to ask for after these, if they are as long."""
    size = sum(len(item.text) for item in portion if isinstance(item, Line))
    return max(1, min(_LINES_AT_ONCE, _LARGEST_PORTION * len(portion) // max(1, size)))


def _skim(stored: Form, first: int, count: int, may_hold: MayHold) -> tuple[list[Line | Hole], int]:
    if isinstance(stored, NumberedStream):
        return stored.skim(first, count, may_hold)
    found = stored.read(first, min(count, _LINES_SKIMMED))
    return found, found[-1].last + 1 if found else first


class OutputReader:
    """The output at `key`, or in one field of the hash at `key`, whatever its form.

    Never raises on data: what can't be read has the extent's kind `unreadable`. Errors of the connection pass
    through. Lines of over 1 MiB in a text are cut unless they are to be `whole`.
    """

    def __init__(
        self, client: redis.Redis, key: str, field: str | None = None, *, whole: bool = False
    ) -> None:
        self.key = key
        self._is_whole = whole
        self.field = field
        self._name = encode_text(key)  # a file's name in a key may be anything but UTF-8
        self._client = client
        self._stored: Form | None = None

    def extent(self) -> Extent:
        """Say which lines there are, and in what form they are stored."""
        self._stored = None
        return self._ask(lambda stored: stored.extent())

    def read(self, first: int, count: int) -> list[Line | Hole]:
        """Read at most `count` lines from number `first` on; missing ones are an uncounted `Hole`."""
        return self._ask(lambda stored: stored.read(first, count))

    def skim(self, first: int, count: int, may_hold: MayHold) -> tuple[list[Line | Hole], int]:
        """Read on from `first`, leaving out entries that hold nothing of interest; also the number to go on from.

        That number is `first` where there is no more. Only whole entries of numbered lines are left out, unsplit; of
        other forms some lines are read.
        """
        return self._ask(lambda stored: _skim(stored, first, count, may_hold))

    def tail(self, count: int) -> list[Line | Hole]:
        """Read the last `count` lines."""
        extent = self.extent()
        return self.read(max(extent.first, extent.last - count + 1), count)

    def follow(self, after: int, block_seconds: float = 1.0) -> list[Line | Hole]:
        """Wait for lines that follow number `after`; `[]` when none came within `block_seconds`.

        Raises `OutputRestarted` where the output now ends before `after`: what was read is there no more.
        """
        deadline = time.monotonic() + block_seconds
        while True:
            found = self._wait(after, min(deadline - time.monotonic(), self._longest_block()))
            if found:
                return found
            last = self._ask(lambda stored: stored.last())
            if last < after:
                raise OutputRestarted(f"{self.key} now ends at line {last}, before line {after}")
            if last == after and time.monotonic() >= deadline:
                return []

    def iterate(self, first: int = 1, last: int = NUMBERS_END) -> Iterator[Line | Hole]:
        """Go through the lines from `first` to `last`, reading them in portions of bounded size."""
        cursor, count = max(first, 1), _FIRST_ASKED
        while cursor <= last and (portion := self.read(cursor, min(count, last - cursor + 1))):
            yield from portion if portion[-1].last <= last else up_to(portion, last)
            cursor, count = portion[-1].last + 1, _next_count(portion)

    def _wait(self, after: int, seconds: float) -> list[Line | Hole]:
        return self._ask(lambda stored: stored.wait(after, max(0.0, seconds), _LINES_AT_ONCE))

    def _longest_block(self) -> float:
        timeout = self._client.connection_pool.connection_kwargs.get("socket_timeout")
        return min(_LONGEST_BLOCK, timeout / 2) if timeout else _LONGEST_BLOCK

    def _ask(self, question: Callable[[Form], Result]) -> Result:
        """Ask the form that the key had last time; look at the key again if it has changed."""
        for _ in range(2):
            if self._stored is None or isinstance(self._stored, NoLines):
                self._stored = self._find()
            try:
                return question(self._stored)
            except (redis.ResponseError, OtherForm) as error:
                if isinstance(error, redis.ResponseError) and not is_wrong_type(error):
                    raise
                self._stored = None
        return question(NoLines("unreadable"))

    def _find(self) -> Form:
        found: Any = self._client.type(self._name)
        if found == b"none":
            return NoLines("none")
        if self.field is not None:
            return self._find_field(self.field) if found == b"hash" else NoLines("unreadable")
        if found == b"stream":
            return self._find_stream()
        if found == b"list":
            return ListLines(self._client, self._name)
        if found == b"string":
            return TextLines(StringText(self._client, self._name), is_whole=self._is_whole)
        return NoLines("unreadable")

    def _find_field(self, field: str) -> Form:
        length: Any = self._client.hstrlen(self._name, field)
        if length > LARGEST_FIELD:
            return NoLines("unreadable")
        text = FieldText(self._client, self._name, field)
        return TextLines(text, is_whole=self._is_whole) if length else NoLines("none")

    def _find_stream(self) -> Form:
        try:
            info: Any = self._client.xinfo_stream(self._name)
        except redis.ResponseError:
            return NoLines("none")
        last_id = info["last-generated-id"]
        ends = [entry for entry in (info["first-entry"], info["last-entry"]) if entry is not None]
        if is_numbered(ends) and (last_id == b"0-0" or entry_number(last_id) is not None):
            return NumberedStream(self._client, self._name)
        return ForeignStream(self._client, self._name)


def line_counts(records: Records, job_id: str, children: Sequence[Child]) -> list[int | None]:
    """The number of the last line of each child's output; None where it lies outside of the job, or is too large."""
    owned = {
        child.id: child.output_key
        for child in children
        if child.output_key and records.keys.owns(job_id, child.output_key)
    }
    try:
        counted = dict(zip(owned, last_numbers(records.client, list(owned.values())), strict=True))
    except TooLarge:
        return [None] * len(children)
    return [
        _last_line(records, job_id, child) if (last := counted.get(child.id)) is None else last
        for child in children
    ]


def _last_line(records: Records, job_id: str, child: Child) -> int | None:
    """The last line as its own reader finds it, for an output that is not a numbered stream."""
    try:
        return open_output(records, job_id, child.id).extent().last
    except (NoSuchChild, TooLarge):
        return None


def open_output(
    records: Records, job_id: str, child_id: str | None = None, *, whole: bool = False
) -> OutputReader:
    """Open an output of a job, or of one of its children if its key lies inside the job; raises `NoSuchChild`."""
    make = partial(OutputReader, records.client, whole=whole)
    record, layout = records.keys.job(job_id), records.keys.layout
    if child_id == STDERR_CHILD:
        return make(record, layout.output_field("stderr"))
    if child_id is None:
        key, field = records.keys.output(job_id), layout.output_field("stdout")
        is_field = not records.client.exists(key) and read_or_none(records.client.hexists, record, field)
        return make(record, field) if is_field else make(key)
    key = records.child(job_id, child_id).output_key or ""
    if not records.keys.owns(job_id, key):
        raise NoSuchChild(f"the output of child {child_id} lies outside its job, so it is not opened")
    return make(key)
