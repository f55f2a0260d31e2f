"""Somebody's processor in a process of its own: what it computes, in C code too, keeps nobody else from going on."""

import contextlib
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.processor import Processor, Source
from gnjobs.processing.report import LARGEST_REPORT, Report, failed_report
from gnjobs.processing.running import PATIENCE, STEP_SECONDS, Portion, too_slow
from gnjobs.records.fields import Child, Job

OVERTIME: Final = signal.SIGPROF
_STARTING_SECONDS: Final = 30.0
MARGIN_SECONDS: Final = 2.0  # after which a process that did not cut itself off is ended
_LARGEST_ANSWER: Final = 2 * LARGEST_REPORT


class IsolatedProcessor:
    """A processor at work in a process of its own, as a `RunningProcessor` is in this one.

    `make` is what makes it, pickled, or the name of a type that an installed package announces.
    """

    def __init__(self, make: bytes | str) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gnjobs.processing.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._connection = Connection(ours.detach())
        self._failure: str | None = None
        self._ask("start", (sys.path, make), _STARTING_SECONDS)

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        """Pass on the next lines of a source."""
        self.feed_all([(source, lines)])

    def feed_all(self, portions: Sequence[Portion]) -> None:
        """Pass on the next lines of some sources, all in one step."""
        self._ask("feed", portions)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        """The processor's report, of 1 MB at most, or one that says how it failed."""
        answer = self._ask("report", (job, children))
        if self._failure is None:
            with contextlib.suppress(msgspec.MsgspecError, ValueError):
                return msgspec.json.decode(answer, type=Report)
        return failed_report(self._failure or "it returned no report")

    def close(self) -> None:
        """End the process; may be called while another thread waits for it."""
        self._process.kill()
        self._process.wait()

    def _ask(self, what: str, about: Any, seconds: float = 0.0) -> bytes:
        """Have one step done; empty where it failed, or something did before."""
        if self._failure is not None:
            return b""
        try:
            self._connection.send_bytes(pickle.dumps((what, about)))
            if self._connection.poll(seconds or PATIENCE * STEP_SECONDS + MARGIN_SECONDS):
                return self._connection.recv_bytes(_LARGEST_ANSWER)
            self._failure = too_slow(STEP_SECONDS)
        except (EOFError, OSError):
            self._failure = self._how_it_ended()
        self.close()
        return b""

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(MARGIN_SECONDS)
            return (
                too_slow(STEP_SECONDS) if code == -OVERTIME else f"its processor ended its process ({code})"
            )
        return "its processor does not answer"


def pickled_make(make: Callable[[], Processor]) -> bytes | None:
    """What makes a processor, for another process; None for what can't be given to one."""
    try:
        return pickle.dumps(make)
    except Exception:  # noqa: BLE001 - whatever a class raises when it is pickled, it can't be
        return None
