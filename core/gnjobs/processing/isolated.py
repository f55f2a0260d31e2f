"""A processor at work in a process of its own, where its time is limited, in C code too.

Both ends are here: `IsolatedProcessor` asks, and `python -m gnjobs.processing.isolated DESCRIPTOR` does what it is
asked. The limit is a timer of the kernel's, so it holds when nobody is left who would end that process.
"""

import contextlib
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

import msgspec

from gnjobs.processing.processor import Processor
from gnjobs.processing.report import LARGEST_REPORT, Report, failed_report
from gnjobs.processing.running import Portion, RunningProcessor
from gnjobs.records.fields import Child, Job


class Limit(NamedTuple):
    """How long one step may take, in seconds: computing, and in all. A busy machine accuses nobody."""

    computing: float
    elapsed: float


STEP: Final = Limit(2.0, 20.0)
_START: Final = Limit(10.0, 30.0)  # imports what the processor needs
_ENDING_SECONDS: Final = 2.0
_LARGEST_ANSWER: Final = 2 * LARGEST_REPORT


class IsolatedProcessor:
    """A processor at work on one job in another process, which must be able to import what makes it."""

    def __init__(self, make: Callable[[], Processor], step: Limit = STEP) -> None:
        self._step = step
        self._failure = ""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gnjobs.processing.isolated", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._connection = Connection(ours.detach())
        try:
            pickled = pickle.dumps(make)
        except Exception as error:  # noqa: BLE001 - a class may raise anything when it is pickled
            self._fail(f"its processor can't be given to another process: {error}")
        else:
            self._ask("start", (sys.path, pickled), _START)

    def feed(self, portions: Sequence[Portion]) -> None:
        """Pass on the next lines of some sources, all in one step."""
        self._ask("feed", portions, self._step)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        """The processor's report, of 1 MB at most, or one that says how it failed."""
        answer = self._ask("report", (job, children), self._step)
        if not self._failure:
            with contextlib.suppress(msgspec.MsgspecError, ValueError):
                return msgspec.json.decode(answer, type=Report)
        return failed_report(self._failure or "it returned no report")

    def close(self) -> None:
        """End the process; may be called while another thread waits for it."""
        self._process.kill()
        self._process.wait()

    def _ask(self, what: str, about: Any, limit: Limit) -> bytes:
        """Have one step done; empty where it failed, or one before it did."""
        if self._failure:
            return b""
        try:
            self._connection.send_bytes(pickle.dumps((what, about, limit.computing)))
            if self._connection.poll(limit.elapsed):
                return self._connection.recv_bytes(_LARGEST_ANSWER)
            self._fail(_too_slow(limit.elapsed))
        except (EOFError, OSError):
            self._fail(self._how_it_ended(limit))
        return b""

    def _how_it_ended(self, limit: Limit) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_ENDING_SECONDS)
            if code == -signal.SIGPROF:
                return _too_slow(limit.computing)
            return f"its processor ended its process ({code})"
        return "its processor does not answer"

    def _fail(self, why: str) -> None:
        self._failure = why
        self.close()


def _too_slow(seconds: float) -> str:
    return f"its processor took longer than {seconds:g} s for a step and was cut off"


def main(descriptor: int) -> None:
    """Do what is asked until nobody asks any more; a step that computes for too long ends the process by `SIGPROF`."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    connection = Connection(descriptor)
    running: RunningProcessor | None = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            what, about, seconds = pickle.loads(connection.recv_bytes())
            signal.setitimer(signal.ITIMER_PROF, seconds)
            answer = b""
            if what == "start":
                running = _start(*about)
            elif running is not None and what == "feed":
                running.feed(about)
            elif running is not None:
                answer = msgspec.json.encode(running.report(*about))
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(answer)


def _start(path: list[str], pickled: bytes) -> RunningProcessor:
    def make() -> Processor:
        maker: Callable[[], Processor] = pickle.loads(pickled)  # imports somebody's code, which may fail
        return maker()

    sys.path[:] = path
    return RunningProcessor(make)


if __name__ == "__main__":
    main(int(sys.argv[1]))
