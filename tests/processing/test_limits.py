"""No processor can harm who asks: those that take too long, raise, or say too much."""

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from gnjobs.outputs.lines import Line
from gnjobs.processing import running
from gnjobs.processing.processor import FunctionProcessor
from gnjobs.processing.registry import start_processing
from gnjobs.processing.report import CUT_NOTE, LARGEST_REPORT, Metric, Report, ReportTable
from gnjobs.records.fields import Job
from tests.support.reports import SOURCE, line


def test_a_plain_function_may_take_longer_for_more_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STEP_SECONDS", 0.1)
    monkeypatch.setattr(running, "SECONDS_PER_LINE", 10.0)

    def busy(lines: Iterable[Line]) -> str:
        end = time.thread_time() + 0.3
        while time.thread_time() < end:
            pass
        return "done"

    processor = FunctionProcessor(busy)
    processor.feed(SOURCE, [line(1, "x")])
    assert start_processing(Job(id="j"), processor).report(Job(id="j"), ()).headline == "done"


def test_a_processor_that_waits_is_not_accused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STEP_SECONDS", 0.2)

    def wait(lines: Iterable[Line]) -> str:
        threading.Event().wait(0.4)
        return "done"

    assert start_processing(Job(id="j"), wait).report(Job(id="j"), ()).headline == "done"

    monkeypatch.setattr(running, "STEP_SECONDS", 0.05)

    def wait_for_ever(lines: Iterable[Line]) -> str:
        while True:
            threading.Event().wait(0.01)

    said = start_processing(Job(id="j"), wait_for_ever).report(Job(id="j"), ())
    assert "took longer" in said.notes[0]


def test_one_that_raises_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(lines: Iterable[Line]) -> str:
        raise RuntimeError("no idea")

    processing = start_processing(Job(id="j"), broken)
    said = processing.report(Job(id="j"), ())
    assert "RuntimeError: no idea" in said.notes[0]


def test_one_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STEP_SECONDS", 0.2)

    def endless(lines: Iterable[Line]) -> str:
        while True:
            list(lines)

    started = time.monotonic()
    said = start_processing(Job(id="j"), endless).report(Job(id="j"), ())
    assert time.monotonic() - started < 20
    assert "took longer" in said.notes[0]


def test_a_gigantic_report_is_cut_and_says_so() -> None:
    rows = tuple(("x" * 1000,) for _ in range(3000))

    def gigantic(lines: Iterable[Line]) -> Report:
        return Report("big", tables=(ReportTable("t", ("c",), rows),))

    said = start_processing(Job(id="j"), gigantic).report(Job(id="j"), ())
    assert len(msgspec.json.encode(said)) <= LARGEST_REPORT
    assert CUT_NOTE in said.notes


@pytest.mark.parametrize("place", ["headline", "metric", "cell", "title", "notes", "counts"])
def test_no_part_of_a_report_can_be_gigantic(place: str) -> None:
    big = "\x01" * 3_000_000
    given = {
        "headline": Report(big),
        "metric": Report(metrics=(Metric(big, big, big),) * 3),
        "cell": Report(tables=(ReportTable("t", ("c",), ((big,),) * 30),)),
        "title": Report(tables=(ReportTable(big, (big,) * 100, ()),)),
        "notes": Report(notes=(big, big)),
        "counts": Report(tables=(ReportTable("t", ("c",), ((1,),), (10**9,) * 200_000),)),
    }[place]
    said = start_processing(Job(id="j"), lambda _: given).report(Job(id="j"), ())
    assert len(msgspec.json.encode(said)) <= LARGEST_REPORT
    assert CUT_NOTE in said.notes


def test_a_gigabyte_is_cut_before_it_is_copied() -> None:
    row = ("x" * 1_000_000,)

    def gigabyte(lines: Iterable[Line]) -> Report:
        return Report("a gigabyte", tables=(ReportTable("t", ("c",), (row,) * 1000),))

    said = start_processing(Job(id="j"), gigabyte).report(Job(id="j"), ())
    assert said.headline == "a gigabyte"
    assert len(msgspec.json.encode(said)) <= LARGEST_REPORT


def test_a_report_of_wrong_parts_is_a_failure_that_says_so() -> None:
    wrong: Any = 5
    said = start_processing(Job(id="j"), lambda _: Report("x", notes=wrong)).report(Job(id="j"), ())
    assert said.headline == "the output could not be processed"
    said = start_processing(Job(id="j"), lambda _: {"x": [1, 2]}).report(Job(id="j"), ())
    assert said.metrics[0].value == "[1, 2]"


def test_one_that_catches_every_exception_is_cut_off_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "STEP_SECONDS", 0.2)

    def stubborn(lines: Iterable[Line]) -> str:
        while True:
            with contextlib.suppress(Exception):
                list(lines)

    said = start_processing(Job(id="j"), stubborn).report(Job(id="j"), ())
    assert "took longer" in said.notes[0]


def test_a_step_that_ends_just_in_time_raises_nothing_later() -> None:
    for _ in range(300):
        with contextlib.suppress(running.TooSlow), running.time_limit(0.001):
            end = time.monotonic() + 0.001
            while time.monotonic() < end:
                pass
        for _ in range(100):
            pass
