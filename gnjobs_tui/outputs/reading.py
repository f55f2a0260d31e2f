"""Reads the lines of one output around a position, and follows its end in a thread."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from gnjobs.errors import GnjobsError, OutputRestarted
from gnjobs.outputs.lines import Hole, Line, up_to
from gnjobs.outputs.reader import OutputReader
from gnjobs.records import values
from gnjobs.records.keys import is_id
from gnjobs.records.statuses import FINAL_STATUSES
from gnjobs.store import JobStore
from gnjobs_tui.outputs.pager import Need
from gnjobs_tui.outputs.seen import Item, see, see_partial


class Beside(NamedTuple):
    """What the record says of an output: whether its writer has ended, and the line that has no end yet."""

    has_ended: bool = False
    partial: str = ""


class OutputSource(NamedTuple):
    """Names an output; every thread opens a reader of its own."""

    store: JobStore
    job_id: str
    child_id: str | None = None

    def open(self) -> OutputReader:
        """Open it; raises `NoSuchChild`, and redis-py's errors."""
        return self.store.output(self.job_id, self.child_id)

    def beside(self) -> Beside:
        """Read what the record says, whatever it holds."""
        keys = self.store.keys
        own = self.child_id is not None and is_id(self.child_id)
        key = keys.child(self.job_id, self.child_id or "") if own else keys.job(self.job_id)
        try:
            found: Any = self.store.client.hmget(key, "status", "partial-line")
        except redis.ResponseError:
            return Beside()
        status, partial = found
        has_partial = own or self.child_id is None
        return Beside(
            values.text(status) in FINAL_STATUSES, (values.text(partial) or "") if has_partial else ""
        )


# Lines may be a megabyte long: few are asked for until it is known that they are short.
FIRST_ASKED = 16
LARGEST_PORTION = 8_000_000


def read_after(reader: OutputReader, after: int, count: int) -> list[Item]:
    """Read about `count` lines that follow a line, fewer where they are very long."""
    found: list[Item] = []
    ask, size = FIRST_ASKED, 0
    while len(found) < count and size < LARGEST_PORTION:
        stored = reader.read(after + 1, min(ask, count - len(found)))
        if not stored:
            break
        found += [see(item) for item in stored]
        size += _size(stored)
        after, ask = found[-1].last, ask * 8
    return found


def read_before(reader: OutputReader, before: int, count: int) -> list[Item]:
    """Read about `count` lines that precede a line, in their order, fewer where they are very long."""
    found: list[Item] = []
    ask, size = FIRST_ASKED, 0
    while len(found) < count and size < LARGEST_PORTION and before > 1:
        start = max(1, before - min(ask, count - len(found)))
        stored = up_to(reader.read(start, before - start), before - 1)
        if not stored:
            break
        stored = _whole_first_hole(reader, stored, start)
        found = [see(item) for item in stored] + found
        size += _size(stored)
        before, ask = found[0].first, ask * 8
    return found


def read_around(reader: OutputReader, number: int, count: int) -> list[Item]:
    """Read about `count` lines, half of them before line `number`."""
    after = read_after(reader, number - 1, count - count // 2)
    if after and isinstance(after[0], Hole):
        after[0] = Hole(_begin_of(reader, number), after[0].last)
    return read_before(reader, after[0].first if after else number, count // 2) + after


def last_items(source: OutputSource, count: int) -> list[Item]:
    """Read the last lines of an output, and the one that has not ended."""
    reader = source.open()
    last, partial = reader.extent().last, source.beside().partial
    items = read_before(reader, last + 1, count)
    return [*items, see_partial(last + 1, partial)] if partial else items


def read_need(reader: OutputReader, need: Need, count: int) -> list[Item]:
    """Read what a pager needs."""
    read = {"before": read_before, "after": read_after, "around": read_around}[need.direction]
    return read(reader, need.number, count)


def _whole_first_hole(reader: OutputReader, items: list[Line | Hole], start: int) -> list[Line | Hole]:
    first = items[0]
    if not isinstance(first, Hole) or start <= 1:
        return items
    return [Hole(_begin_of(reader, start), first.last), *items[1:]]


def _begin_of(reader: OutputReader, inside: int) -> int:
    """Find where a hole begins that is known from its line `inside` on, by halving."""
    low, high = 1, inside
    while low < high:
        middle = (low + high) // 2
        found = reader.read(middle, 1)
        if found and isinstance(found[0], Hole) and found[0].last >= inside:
            high = middle
        else:
            low = middle + 1
    return low


def _size(items: list[Line | Hole]) -> int:
    return sum(len(item.text) for item in items if isinstance(item, Line))


# What comes within this time is shown together.
GATHER_SECONDS = 0.1
# More lines at once than this are a flood that nobody reads as it passes: a line over SSH is spared most of it.
MANY = 100
GATHER_FLOOD_SECONDS = 0.5
BLOCK_SECONDS = 1.0
RETRY_SECONDS = 1.0
NEWEST = 1000


class News(NamedTuple):
    """What became of an output; `first` to `last` are its lines now, `items` the newest of them.

    `is_new`: what was known of it counts no more. `away`: why it can't be read at the moment.
    """

    key: str = ""
    kind: str = "none"
    first: int = 1
    last: int = 0
    items: tuple[Item, ...] = ()
    partial: str = ""
    has_ended: bool = False
    is_new: bool = False
    away: str = ""


class OutputFollower:
    """Reads the end of an output, then waits for more; `deliver` is called in the follower's thread."""

    def __init__(self, source: OutputSource, deliver: Callable[[News], None]) -> None:
        self._source = source
        self._deliver = deliver
        self._stopped = threading.Event()
        self._told = News()

    def start(self) -> None:
        """Follow in a thread that no exit waits for: it may be in a blocking read."""
        threading.Thread(target=self.run, name="output-follower", daemon=True).start()

    def stop(self) -> None:
        """Tell nothing more; the thread ends within about a second."""
        self._stopped.set()

    def run(self) -> None:
        """Follow, over lost connections too, until stopped or nothing more will come."""
        while not self._stopped.is_set():
            try:
                self._follow()
                return
            except OutputRestarted:
                continue
            except (redis.RedisError, OSError, GnjobsError, ValueError) as error:
                self._tell(self._told._replace(items=(), away=str(error) or type(error).__name__))
                self._stopped.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        reader = self._source.open()
        self._begin(reader)
        while not self._stopped.is_set():
            if (
                self._told.has_ended
                and self._told.key == reader.key
                and not reader.follow(self._told.last, 0)
            ):
                return
            stored = reader.follow(self._told.last, BLOCK_SECONDS)
            self._tell_more(reader, stored)
            if stored:
                self._stopped.wait(GATHER_FLOOD_SECONDS if len(stored) > MANY else GATHER_SECONDS)

    def _begin(self, reader: OutputReader) -> None:
        extent, beside = reader.extent(), self._source.beside()
        told = News(
            key=reader.key if reader.field is None else f"{reader.key}  field {reader.field}",
            kind=extent.kind,
            first=extent.first,
            last=extent.last,
            items=tuple(read_before(reader, extent.last + 1, NEWEST // 4)),
            partial=beside.partial,
            has_ended=beside.has_ended,
            is_new=True,
        )
        self._tell(told)

    def _tell_more(self, reader: OutputReader, stored: list[Line | Hole]) -> None:
        beside = self._source.beside()
        told = self._told._replace(partial=beside.partial, has_ended=beside.has_ended, away="", items=())
        if stored:
            extent = reader.extent()
            items = [see(item) for item in stored[-NEWEST:]]
            if extent.last - items[-1].last > NEWEST:
                # The writer is faster than this: go on at the end, or what is seen would lag further and further.
                items = read_before(reader, extent.last + 1, NEWEST // 4) or items
            last = items[-1].last
            told = told._replace(kind=extent.kind, first=extent.first, last=last, items=tuple(items))
        self._tell(told)

    def _tell(self, news: News) -> None:
        if news != self._told and not self._stopped.is_set():
            self._told = news._replace(items=(), is_new=False)
            self._deliver(news)
