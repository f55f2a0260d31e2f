"""Follows an output in a thread, from a line on, until it is stopped or its writer has ended."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import redis

from gnjobs.errors import GnjobsError, OutputRestarted
from gnjobs.outputs.lines import Hole, Line
from gnjobs.outputs.reader import OutputReader
from gnjobs_tui.outputs.portions import read_before
from gnjobs_tui.outputs.seen import Item, last_of, see
from gnjobs_tui.outputs.source import OutputSource

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
            if extent.last - last_of(items[-1]) > NEWEST:
                # The writer is faster than this: go on at the end, or what is seen would lag further and further.
                items = read_before(reader, extent.last + 1, NEWEST // 4) or items
            last = last_of(items[-1])
            told = told._replace(kind=extent.kind, first=extent.first, last=last, items=tuple(items))
        self._tell(told)

    def _tell(self, news: News) -> None:
        if news != self._told and not self._stopped.is_set():
            self._told = news._replace(items=(), is_new=False)
            self._deliver(news)
