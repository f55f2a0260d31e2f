"""Ending processes beside the supervisor's own work: a whole job's, or one child's."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gnjobs.ending import end_processes
from gnjobs.kill_steps import KillStep
from gnjobs.processes import Found
from gnjobs.supervision.outcome import NamedProcess


class Ended(NamedTuple):
    """What was there when the ending began, what outlived it, and how long it took (seconds)."""

    targets: Sequence[NamedProcess] = ()
    survivors: Sequence[NamedProcess] = ()
    took: float = 0.0


class EndingThread(threading.Thread):
    """Ends everything that `find` finds; says each step, and at last how it went.

    `prepare` is done before, `conclude` after the processes are gone.
    """

    def __init__(
        self,
        find: Callable[[], Found],
        grace: float,
        *,
        prepare: Callable[[], object] | None = None,
        conclude: Callable[[], object] | None = None,
        on_step: Callable[[KillStep], None],
        on_ended: Callable[[Ended], None],
    ) -> None:
        super().__init__(name="ending", daemon=True)
        self._find = find
        self._grace = grace
        self._prepare = prepare
        self._conclude = conclude
        self._on_step = on_step
        self._on_ended = on_ended
        self._hurry = threading.Event()

    def hurry(self) -> None:
        """Wait no longer before the processes are killed outright."""
        self._hurry.set()

    def run(self) -> None:
        """End the processes."""
        begun = time.monotonic()
        if self._prepare is not None:
            self._prepare()
        targets = _names(self._find())
        for step in end_processes(self._find, grace=self._grace, hurry=self._hurry):
            self._on_step(step)
        if self._conclude is not None:
            self._conclude()
        self._on_ended(Ended(targets, _names(self._find()), time.monotonic() - begun))


def _names(found: Found) -> list[NamedProcess]:
    """Name what was found; what can't be inspected counts as running."""
    hidden = [NamedProcess(pid, f"of account {account}") for pid, account in found.hidden]
    return [NamedProcess(process.pid, process.command) for process in found.processes] + hidden
