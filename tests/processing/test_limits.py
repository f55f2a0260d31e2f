"""No processor can harm who asks: those that raise, or say too much."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from gnjobs.outputs.lines import Line
from gnjobs.processing.registry import start_processing
from gnjobs.processing.report import CUT_NOTE, LARGEST_REPORT, Metric, Report, ReportTable
from gnjobs.records.fields import Job


def test_one_that_raises_says_so() -> None:
    def broken(lines: Iterable[Line]) -> str:
        raise RuntimeError("no idea")

    processing = start_processing(Job(id="j"), broken)
    said = processing.report(Job(id="j"), ())
    assert "RuntimeError: no idea" in said.notes[0]


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


@pytest.mark.parametrize("length", [1, LARGEST_REPORT])
def test_what_is_no_utf_8_keeps_no_report_from_being_sent(length: int) -> None:
    named = "S\udce3o" * length
    given = Report(named, tables=(ReportTable(named, (named,), ((named,),)),), notes=(named,))
    said = start_processing(Job(id="j"), lambda _: given).report(Job(id="j"), ())
    assert said.headline.startswith("S?o")
    assert len(msgspec.json.encode(said)) <= LARGEST_REPORT


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
