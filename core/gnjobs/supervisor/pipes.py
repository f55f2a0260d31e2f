"""From the bytes of a pipe to lines in an output."""

import os
import select
import selectors
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from gnjobs.outputs.writer import OutputWriter
from gnjobs.records import values

LONGEST_UNFINISHED = 1 << 20
LONGEST_STRUCTURED = 16 << 20
_READER_LOOK_SECONDS = 0.25
STRUCTURED_KINDS = frozenset({b"log", b"fault", b"record", b"result"})


class LineFeed(ABC):
    """Cuts the bytes of a pipe into lines; one that becomes longer than `longest` is taken in pieces."""

    longest = LONGEST_UNFINISHED

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; may block while the output can't take more."""
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            self._store((self._rest + head).split(b"\n"))
            self._rest = tail
        else:
            self._rest += chunk
        while len(self._rest) >= self.longest:
            self._store([self._rest[: self.longest]])
            self._rest = self._rest[self.longest :]

    def end(self) -> None:
        """Take the end of the pipe: what stands on the last line is a line."""
        if self._rest:
            self._store([self._rest])
            self._rest = b""

    @abstractmethod
    def _store(self, lines: Sequence[bytes]) -> None:
        """Take complete lines."""


class TextFeed(LineFeed):
    """Cuts what a command prints into lines of one kind; optionally copies it to a descriptor as it comes."""

    def __init__(self, sink: OutputWriter, kind: str, echo: int | None = None) -> None:
        super().__init__()
        self._sink = sink
        self._kind = kind
        self._echo = echo
        self._waits_for_reader = True
        self._shown = b""
        self.last_words = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes, show what stands on an unfinished line, and copy them."""
        super().feed(chunk)
        self._rest = after_last_return(self._rest)
        self._show(self._rest)
        self._copy(chunk)

    def end(self) -> None:
        """Take the end of the pipe; no line is unfinished any more."""
        super().end()
        self._show(b"")

    def _store(self, lines: Sequence[bytes]) -> None:
        self.last_words = next((line for line in reversed(lines) if line.strip()), self.last_words)
        self._sink.write_many(lines, self._kind)

    def _show(self, unfinished: bytes) -> None:
        if unfinished != self._shown:
            self._shown = unfinished
            self._sink.partial(unfinished.rstrip(b"\r").decode("utf-8", "surrogateescape"))

    def wait_for_no_reader(self) -> None:
        """Stop waiting for the reader of the copy: a kill must not be held up by a pager."""
        self._waits_for_reader = False

    def _copy(self, chunk: bytes) -> None:
        while chunk and self._echo is not None:
            try:
                if select.select([], [self._echo], [], _READER_LOOK_SECONDS)[1]:
                    chunk = chunk[os.write(self._echo, chunk[: select.PIPE_BUF]) :]
                elif not self._waits_for_reader:
                    self._echo = None
            except OSError:
                self._echo = None  # nobody reads along any more; the output is stored all the same


class StructuredFeed(LineFeed):
    """Reads the lines `<kind> <JSON>` that a job's own code sends; anything else is stored as `err`."""

    longest = LONGEST_STRUCTURED

    def __init__(self, sink: OutputWriter) -> None:
        super().__init__()
        self._sink = sink
        self.faults = 0

    def _store(self, lines: Sequence[bytes]) -> None:
        """Store lines; those of one kind that follow each other together."""
        for kind, read in groupby(map(read_structured, lines), key=itemgetter(0)):
            texts = [text for _, text in read]
            self.faults += len(texts) if kind == "fault" else 0
            self._sink.write_many(texts, kind)


def read_structured(line: bytes) -> tuple[str, bytes]:
    """Read one structured line as its kind and JSON text, or the whole line as kind `err`."""
    word, _, value = line.partition(b" ")
    if word not in STRUCTURED_KINDS:
        return "err", line
    if not _is_utf8(value) or values.json(value, msgspec.Raw) is None:
        return "err", line
    return word.decode(), value


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def after_last_return(unfinished: bytes) -> bytes:
    """Keep what a terminal still shows of a line: what follows its last inner carriage return."""
    return unfinished[unfinished.rstrip(b"\r").rfind(b"\r") + 1 :]


CHUNK_BYTES = 1 << 18
PIPE_BYTES = 1 << 20  # the most that an unprivileged pipe can hold


class PipePump(threading.Thread):
    """Reads pipes until each has ended, or until told to stop; the job waits where a feed blocks."""

    def __init__(self, feeds: Mapping[int, LineFeed]) -> None:
        super().__init__(name="pipes", daemon=True)
        self._feeds = dict(feeds)
        self._stop_read, self._stop_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        for descriptor in self._feeds:
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)
        self._selector.register(self._stop_read, selectors.EVENT_READ)

    def run(self) -> None:
        """Pump until the end of every pipe, or a stop and then only what the pipes already hold."""
        while self._feeds:
            ready = {key.fd for key, _ in self._selector.select()}
            if self._stop_read in ready:
                self._read_what_is_there()
                return
            for descriptor in ready:
                self._read_once(descriptor)

    def wait_for_end(self, limit: float) -> bool:
        """Wait until every pipe has ended, at most `limit` seconds; tell whether they have."""
        self.join(limit)
        return not self.is_alive()

    def stop(self) -> None:
        """Read what the pipes hold now, then end; for pipes that somebody else keeps open. Waits for it."""
        os.write(self._stop_write, b"\0")
        self.join()

    def _read_what_is_there(self) -> None:
        for descriptor in list(self._feeds):
            left = PIPE_BYTES
            while left > 0 and (count := self._read_once(descriptor)):
                left -= count
            if descriptor in self._feeds:
                self._end(descriptor)

    def _read_once(self, descriptor: int) -> int:
        """Read one chunk; return its length, 0 at the end of the pipe or when it holds nothing now."""
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            chunk = b""
        if chunk:
            self._feeds[descriptor].feed(chunk)
        else:
            self._end(descriptor)
        return len(chunk)

    def _end(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        self._feeds.pop(descriptor).end()
        os.close(descriptor)
