"""Telling those who asked a supervisor for something how it goes."""

import queue
import threading

from gnjobs.records.keys import Keys
from gnjobs.records.listener import ControlListener
from gnjobs.records.pool import MOST_ASKERS
from gnjobs.records.requests import ControlRequest, KillStep, proven_asker


class Answers(threading.Thread):
    """Sends steps to those who asked; a step that can't be sent is lost, but what it reports was done.

    Everybody who asks for the job to be killed is told each step of the same kill.
    """

    def __init__(self, listener: ControlListener, keys: Keys) -> None:
        super().__init__(name="answers", daemon=True)
        self._keys = keys
        self._listener = listener
        self._queue: queue.SimpleQueue[tuple[ControlRequest, KillStep] | None] = queue.SimpleQueue()
        self._askers: list[ControlRequest] = []

    def send(self, request: ControlRequest, step: KillStep) -> None:
        """Answer one request."""
        self._queue.put((request, step))

    def add_asker(self, request: ControlRequest) -> None:
        """Send the steps of the kill to this asker, too, from now on, unless many of the same stream are told them."""
        asker = proven_asker(self._keys, request)
        if sum(proven_asker(self._keys, other) == asker for other in self._askers) < MOST_ASKERS:
            self._askers.append(request)

    def tell(self, step: KillStep) -> None:
        """Send a step to everybody who asked for the kill; after a final one, forget them."""
        for request in self._askers:
            self.send(request, step)
        if step.final:
            self._askers = []

    def finish(self, seconds: float) -> None:
        """Have sent what was answered so far, as far as that takes no longer."""
        if self.is_alive():
            self._queue.put(None)
            self.join(seconds)

    def run(self) -> None:
        """Send answers as they come, until it is finished."""
        while (answered := self._queue.get()) is not None:
            self._listener.answer(*answered)
