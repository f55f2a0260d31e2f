"""Processors of others in a process of their own: nothing that they do keeps anybody else from going on."""

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.isolated import IsolatedProcessor, Limit
from gnjobs.processing.processor import Processor, Source
from gnjobs.processing.registry import register, start_processing
from gnjobs.processing.report import CUT_NOTE, Report
from gnjobs.processing.running import RunningProcessor
from gnjobs.records.fields import Child, Job

JOB = Job(id="j")
LINES = [(Source("job", "j"), [Line(1, 0.0, "out", "a line"), Line(2, 0.0, "out", "another")])]
BRIEF = Limit(computing=0.2, elapsed=60.0)  # of computing, however busy the machine is
LONG = Limit(computing=60.0, elapsed=60.0)


class Counting:
    """Counts its lines, and prints where nobody may see it."""

    def __init__(self) -> None:
        self.lines = 0

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        print("printed where nobody may see it")
        self.lines += len(lines)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report(f"{self.lines} lines of {job.id} for process {os.getppid()}")


class Exiting(Counting):
    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        os._exit(3)


class Raising(Counting):
    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        raise RuntimeError("no idea")


class Endless(Counting):
    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        while True:
            with suppress(BaseException):
                sum(range(1000))


class Backtracking(Counting):
    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        re.match(r"(a+)+$", "a" * 100 + "b")


class Sleeping(Counting):
    """Waits for longer than a step may compute."""

    seconds = 0.5

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        super().feed(source, lines)
        time.sleep(self.seconds)


class SleepingForEver(Sleeping):
    seconds = 1000.0


class Verbose(Counting):
    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report("far too much", notes=("x" * 1_000_000,) * 10)


def ask(make: Callable[[], Processor], step: Limit) -> tuple[str, ...]:
    """The headline and the notes of a report on two lines."""
    processing = IsolatedProcessor(make, step)
    try:
        processing.feed(LINES)
        said = processing.report(JOB, ())
        return said.headline, *said.notes
    finally:
        processing.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Counting, "2 lines of j for process PID"),
        (Exiting, "its processor ended its process (3)"),
        (Raising, "its processor failed: RuntimeError: no idea"),
        (Verbose, CUT_NOTE),
    ],
)
def test_what_it_does_is_reported(make: type, says: str) -> None:
    assert says.replace("PID", str(os.getpid())) in ask(make, LONG)


@pytest.mark.parametrize("make", [Endless, Backtracking])
def test_a_step_that_computes_for_too_long_is_cut_off(make: type) -> None:
    assert "its processor took longer than 0.2 s for a step and was cut off" in ask(make, BRIEF)


def test_a_step_that_waits_for_too_long_is_cut_off() -> None:
    said = ask(SleepingForEver, Limit(computing=60.0, elapsed=1.0))
    assert "its processor took longer than 1 s for a step and was cut off" in said


def test_one_that_waits_has_longer_than_one_that_computes() -> None:
    assert f"2 lines of j for process {os.getpid()}" in ask(Sleeping, BRIEF)


def test_the_limit_holds_where_sigprof_was_ignored_before() -> None:
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        assert "its processor took longer than 0.2 s for a step and was cut off" in ask(Endless, BRIEF)
    finally:
        signal.signal(signal.SIGPROF, before)


def test_what_no_other_process_can_import_is_reported() -> None:
    class Local(Counting):
        """One that no other process can import."""

    register("local", Local)
    processing = start_processing(Job(id="j", type="local"), None, isolated=True)
    processing.feed(LINES)
    assert "its processor can't be given to another process" in processing.report(JOB, ()).notes[0]
    assert start_processing(Job(id="j", type="local"), None).report(JOB, ()).headline.startswith("0 lines")


def test_only_types_that_are_not_built_in_get_a_process() -> None:
    register("theirs", Counting)
    for job_type, isolated in (("theirs", True), ("qc", False), ("generic", False), ("unknown", False)):
        processing = start_processing(Job(id="j", type=job_type), None, isolated=True)
        processing.close()
        assert isinstance(processing, IsolatedProcessor if isolated else RunningProcessor), job_type
