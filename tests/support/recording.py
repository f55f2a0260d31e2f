"""A terminal that notes when each byte came, and parses later: that takes longer than to send it."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tests.support.terminal import Terminal


class Mark(NamedTuple):
    """A moment of a recording: how many bytes and pieces there were."""

    bytes: int
    pieces: int


class Recording(Terminal):
    """A program in a pseudo-terminal of which every piece is kept with the moment (perf_counter) when it was read."""

    def __init__(
        self, command: list[str], columns: int, rows: int, env: Mapping[str, str] | None = None
    ) -> None:
        self._times: list[float] = []
        self._ends: list[int] = []
        self._shown = 0
        super().__init__(command, columns, rows, env)

    def _take(self, data: bytes) -> None:
        self._times.append(time.perf_counter())
        self.raw += data
        self._ends.append(len(self.raw))

    def now(self) -> Mark:
        """This moment."""
        with self._changed:
            return Mark(len(self.raw), len(self._ends))

    def replay(self) -> Iterator[float]:
        """Put on the screen what was not yet, piece by piece; the moment when each was read."""
        while self._shown < (total := self.now().pieces):
            for number in range(self._shown, total):
                start = self._ends[number - 1] if number else 0
                self._stream.feed(bytes(self.raw[start : self._ends[number]]))
                self._shown = number + 1
                yield self._times[number]

    @property
    def lines(self) -> list[str]:
        """What is on the screen now, a string a row, without trailing blanks."""
        for _ in self.replay():
            pass
        return [line.rstrip() for line in self.screen.display]

    def wait_for(self, wanted: str | Callable[[str], bool], limit: float = 60.0) -> str:
        """Wait until the screen shows a text, or fulfils a condition; return the screen. Parses, so it takes time."""
        fulfilled = wanted if callable(wanted) else lambda text: wanted in text
        deadline = time.monotonic() + limit
        while not fulfilled(text := self.text):
            with self._changed:
                more = self._changed.wait_for(
                    lambda: len(self._ends) > self._shown, deadline - time.monotonic()
                )
            assert more, f"not seen within {limit} s: {wanted!r}; the screen shows\n{text}"
        return text

    def wait_for_length(self, length: int, limit: float = 60.0) -> None:
        """Wait until more bytes than this have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.raw) > length, limit), f"{len(self.raw)} bytes"

    def first_seen_at(self, text: str, since: Mark) -> float | None:
        """The moment when the last byte of a text, which is sent as it stands, was read first; None: it was not."""
        wanted = text.encode()
        with self._changed:
            found = self.raw.find(wanted, since.bytes)
            return None if found < 0 else self._times[bisect_left(self._ends, found + len(wanted))]

    def seen_at(self, text: str, since: Mark, limit: float = 60.0) -> float:
        """Wait for a text; the moment when it was read first."""
        with self._changed:
            found = self._changed.wait_for(lambda: self.first_seen_at(text, since), limit)
        assert found is not None, text
        return found

    def wait_until_quiet(self, seconds: float = 0.5, limit: float = 60.0) -> None:
        """Wait until nothing has come for so long."""
        with self._changed:
            deadline = time.monotonic() + limit
            while self._changed.wait(seconds):
                assert time.monotonic() < deadline, "it never rests"
