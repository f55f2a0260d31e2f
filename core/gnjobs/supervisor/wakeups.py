"""One place where a supervisor waits: for signals, and for what its threads have to say."""

import os
import select
import signal
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple


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


_MOST_REMEMBERED = 10_000
MOST_COLLECTED = 500


class Exit(NamedTuple):
    """How a process ended: with an exit code, or by a signal."""

    exit_code: int | None = None
    signal: int | None = None

    @property
    def shell_code(self) -> int:
        """What a shell would say: the exit code, or 128 + the signal's number."""
        return 128 + self.signal if self.signal is not None else self.exit_code or 0

    @property
    def fields(self) -> dict[str, int]:
        """The fields of a record that say so."""
        if self.signal is not None:
            return {"signal": self.signal}
        return {} if self.exit_code is None else {"exit-code": self.exit_code}

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.exit_code}"
        try:
            return f"killed by signal {self.signal} ({signal.Signals(self.signal).name})"
        except ValueError:
            return f"killed by signal {self.signal}"


def read_wait_status(status: int) -> Exit:
    """Understand the status that `waitpid` gave."""
    code = os.waitstatus_to_exitcode(status)
    return Exit(signal=-code) if code < 0 else Exit(exit_code=code)


class Reaper:
    """Collects ended processes, children and adopted orphans alike, and remembers how they ended."""

    def __init__(self) -> None:
        self.exits: dict[int, Exit] = {}
        self.collected = (0, 0)  # how many so far, and the pid of the last

    def collect(self) -> list[int]:
        """Wait for every process that has ended by now, or for 500 of them; return their pids. Never blocks."""
        ended: list[int] = []
        while len(ended) < MOST_COLLECTED:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            self._remember(pid, read_wait_status(status))
            self.collected = (self.collected[0] + 1, pid)
            ended.append(pid)
        return ended

    def _remember(self, pid: int, how: Exit) -> None:
        self.exits.pop(pid, None)
        self.exits[pid] = how
        if len(self.exits) > _MOST_REMEMBERED:
            del self.exits[next(iter(self.exits))]
