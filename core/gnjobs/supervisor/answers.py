"""Telling those who asked for something how it goes."""

import queue
import threading

from gnjobs.records.requests import ControlListener, ControlRequest, KillStep


class Answers(threading.Thread):
    """Sends steps to whoever asked; what can't be sent is lost, what it tells of is done all the same."""

    def __init__(self, listener: ControlListener) -> None:
        super().__init__(name="answers", daemon=True)
        self._listener = listener
        self._queue: queue.SimpleQueue[tuple[str, KillStep]] = queue.SimpleQueue()

    def send(self, request: ControlRequest, step: KillStep) -> None:
        """Answer one request."""
        self._queue.put((request.id, step))

    def run(self) -> None:
        """Send answers as they come."""
        while True:
            self._listener.answer(*self._queue.get())


class Askers:
    """Everybody who asked for the same kill, each told each step."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._requests: list[ControlRequest] = []

    def add(self, request: ControlRequest) -> None:
        """Tell one more from now on."""
        self._requests.append(request)

    def tell(self, step: KillStep) -> None:
        """Tell a step to everybody; nobody waits for more after a final one."""
        for request in self._requests:
            self._answers.send(request, step)
        if step.final:
            self._requests = []
