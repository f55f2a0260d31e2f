"""The one owner of every wait: how each process that was ours ended."""

import os
import signal
from typing import NamedTuple

_MOST_REMEMBERED = 10_000


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

    def collect(self) -> list[int]:
        """Wait for every process that has ended by now; return their pids. Never blocks."""
        ended: list[int] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            self._remember(pid, read_wait_status(status))
            ended.append(pid)

    def _remember(self, pid: int, how: Exit) -> None:
        self.exits.pop(pid, None)
        self.exits[pid] = how
        if len(self.exits) > _MOST_REMEMBERED:
            del self.exits[next(iter(self.exits))]
