"""The process of an `IsolatedProcessor`: `python -m gnjobs.processing.worker DESCRIPTOR`.

Each step has a limit of processor time that the kernel enforces, so that it holds in C code, and when nobody is left
who would end this process.
"""

import contextlib
import pickle
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from gnjobs.processing.isolated import MARGIN_SECONDS
from gnjobs.processing.registry import processor_for
from gnjobs.processing.running import STEP_SECONDS, RunningProcessor


def main(descriptor: int) -> None:
    """Do what is asked until nobody asks any more."""
    connection = Connection(descriptor)
    running: RunningProcessor | None = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, about = pickle.loads(connection.recv_bytes())
            with _processor_time(STEP_SECONDS + MARGIN_SECONDS):
                if what == "start":
                    running, answer = _start(*about), b""
                else:
                    answer = _do(running, what, about)
            connection.send_bytes(answer)


def _start(path: list[str], make: bytes | str) -> RunningProcessor:
    sys.path[:] = path
    return RunningProcessor(lambda: processor_for(make) if isinstance(make, str) else pickle.loads(make)())


def _do(running: RunningProcessor | None, what: str, about: Any) -> bytes:
    if running is None:
        return b""
    if what == "feed":
        running.feed_all(about)
        return b""
    return msgspec.json.encode(running.report(*about))


@contextlib.contextmanager
def _processor_time(seconds: float) -> Iterator[None]:
    """End this process by `SIGPROF` when the block computes for longer."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
