"""Running somebody's processor: it can raise, loop for ever or say too much, and nothing else suffers."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.processor import FunctionProcessor, Processor, Source
from gnjobs.processing.report import Report, bounded, failed_report
from gnjobs.records.fields import Child, Job

STEP_SECONDS = 2.0
SECONDS_PER_LINE = 50e-6  # more, for a function of all lines
PATIENCE = 10  # times as long as a step may compute, it may wait
_SHORTEST_PAUSE = 0.01


Portion = tuple[Source, Sequence[Line | Hole]]


class TooSlow(BaseException):
    """Raised inside a processor that took longer than a step may take; its own `except Exception` lets it through."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in this thread when the block takes longer; Python code alone can be interrupted so.

    What counts is the processor's time: a machine that is busy or was asleep accuses nobody. Of a block that mostly
    waits, the time is over after ten times as long.
    """
    thread = threading.get_ident()
    is_over = threading.Event()
    deciding = threading.Lock()
    left = _time_left(seconds)

    def guard() -> None:
        try:
            while (pause := left()) > 0:
                if is_over.wait(max(pause, _SHORTEST_PAUSE)):
                    return
        except OSError:  # the thread whose clock this is has ended
            return
        with deciding:
            if not is_over.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TooSlow))

    threading.Thread(target=guard, name="time limit", daemon=True).start()
    try:
        yield
    finally:
        _end(is_over, deciding, thread)


def _time_left(seconds: float) -> Callable[[], float]:
    """What tells, in any thread, how long this thread may go on from now on."""
    busy = time.monotonic
    if hasattr(time, "pthread_getcpuclockid"):
        busy = partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))
    busy_until, latest = busy() + seconds, time.monotonic() + PATIENCE * seconds
    return lambda: min(busy_until - busy(), latest - time.monotonic())


def _end(is_over: threading.Event, deciding: threading.Lock, thread: int) -> None:
    """Let nothing be raised from here on, an exception that is on its way included."""
    try:
        with deciding:
            is_over.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)
    except TooSlow:
        is_over.set()


def too_slow(seconds: float) -> str:
    """Why a processor is asked nothing more."""
    return f"its processor took longer than {seconds:.0f} s for a step and was cut off"


class RunningProcessor:
    """A processor at work on one job; once it has failed it is asked nothing more, and the report says why."""

    def __init__(self, make: Callable[[], Processor]) -> None:
        self._failure: str | None = None
        self._processor: Processor | None = None
        self._attempt(lambda: setattr(self, "_processor", make()))

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        """Pass on the next lines of a source."""
        self.feed_all([(source, lines)])

    def feed_all(self, portions: Sequence[Portion]) -> None:
        """Pass on the next lines of some sources, all in one step."""
        processor = self._processor
        if processor is None or self._failure is not None:
            return

        def feed() -> None:
            for source, lines in portions:
                processor.feed(source, lines)

        self._attempt(feed)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        """The processor's report, of 1 MB at most, or one that says how it failed."""
        processor = self._processor
        if processor is not None and self._failure is None:
            found = self._attempt(lambda: bounded(processor.report(job, children)))
            if isinstance(found, Report):
                return found
        return failed_report(self._failure or "it returned no report")

    def close(self) -> None:
        """Nothing is to be let go of: it is garbage when nobody refers to it."""

    def _attempt(self, work: Callable[[], Any]) -> Any:
        seconds = STEP_SECONDS
        if isinstance(self._processor, FunctionProcessor):
            seconds += SECONDS_PER_LINE * self._processor.lines
        try:
            with time_limit(seconds):
                return work()
        except TooSlow:
            self._failure = too_slow(seconds)
        except Exception as error:  # noqa: BLE001 - whatever somebody's code raises is told, not raised
            self._failure = f"its processor failed: {type(error).__name__}: {str(error)[:500]}"
        return None
