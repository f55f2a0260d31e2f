"""One place where a supervisor waits: for signals, and for what its threads have to say."""

import os
import select
import signal
from collections import deque
from collections.abc import Iterable
from typing import Any


class Wakeups:
    """A queue of events that signals and threads fill, and that the main thread empties."""

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)

    def hear_signals(self, numbers: Iterable[int]) -> None:
        """Turn these signals into events (`signal.Signals`); only from the main thread."""
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda heard, _frame: self._events.append(signal.Signals(heard)))

    def post(self, event: object) -> None:
        """Add an event, from any thread."""
        self._events.append(event)
        try:
            os.write(self._write_end, b"\0")
        except BlockingIOError:
            return  # full of wake-ups that were not read yet: one of them serves for this event

    def wait(self, limit: float | None = None) -> list[Any]:
        """Wait until something happened, at most `limit` seconds, and return what did, in order."""
        while not self._events:
            ready, _, _ = select.select([self._read_end], [], [], limit)
            if not ready:
                break
            self._forget_wakeups()
        return [self._events.popleft() for _ in range(len(self._events))]

    def _forget_wakeups(self) -> None:
        try:
            while os.read(self._read_end, 4096):
                continue
        except BlockingIOError:
            return
