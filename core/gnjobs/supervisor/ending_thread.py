"""Ending processes beside the supervisor's own work: a whole job's, or one child's."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gnjobs.processes.end import end_processes
from gnjobs.processes.seen import Found
from gnjobs.records.requests import KillStep, step
from gnjobs.supervisor.outcome import NamedProcess


class Ended(NamedTuple):
    """What was there to be ended, what outlived it, how long it took (seconds)."""

    targets: Sequence[NamedProcess] = ()
    survivors: Sequence[NamedProcess] = ()
    took: float = 0.0
    verdict: KillStep | None = None


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
        self._seen: dict[int, NamedProcess] = {}

    def hurry(self) -> None:
        """Wait no longer before the processes are killed outright."""
        self._hurry.set()

    def run(self) -> None:
        """End the processes; whatever goes wrong, it is told that it ended."""
        begun = time.monotonic()
        survivors: Sequence[NamedProcess] = ()
        last: KillStep | None = None
        try:
            survivors, last = self._end()
        except Exception as error:  # noqa: BLE001 - a job whose supervisor waits for its end for ever has none
            last = step("left", f"looking for its processes failed: {error}")
        took = time.monotonic() - begun
        self._on_ended(Ended(list(self._seen.values()), survivors, took, last))

    def _end(self) -> tuple[Sequence[NamedProcess], KillStep | None]:
        if self._prepare is not None:
            self._prepare()
        survivors: Sequence[NamedProcess] = ()
        each = None
        for each in end_processes(self._look, grace=self._grace, hurry=self._hurry):
            if each.kind == "left":
                survivors = [self._seen[pid] for pid in each.pids if pid in self._seen]
            elif not each.verified:
                self._on_step(each)
        if self._conclude is not None:
            self._conclude()
        return survivors, each

    def _look(self) -> Found:
        """Find what is to be ended, and remember names."""
        found = self._find()
        for process in found.processes:
            self._seen[process.pid] = NamedProcess(process.pid, process.command)
        return found
