"""Passing signals on to a supervisor for as long as somebody waits for it in the foreground."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def passing_signals_to(pid: int) -> Iterator[None]:
    """Send SIGINT, SIGTERM and SIGHUP on to the process; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
