"""The thread that reads a command's pipes and feeds what comes out of them into its output."""

import os
import selectors
import threading
from collections.abc import Mapping
from typing import Protocol

CHUNK_BYTES = 1 << 18
PIPE_BYTES = 1 << 20  # the most that an unprivileged pipe can hold


class Feed(Protocol):
    """What takes the bytes of one pipe."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def end(self) -> None:
        """Take the end."""


class PipePump(threading.Thread):
    """Reads pipes until each has ended, or until told to stop; the job waits where a feed blocks."""

    def __init__(self, feeds: Mapping[int, Feed]) -> None:
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
