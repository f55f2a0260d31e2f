"""Processing by type: what reports say, and that no processor can harm who asks."""

import contextlib
import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnjobs.faults import Fault, fault_from, sentence
from gnjobs.line_text import line_sentence
from gnjobs.lines import Hole, Line
from gnjobs.processing import (
    FunctionProcessor,
    Metric,
    Report,
    ReportTable,
    Source,
    processor,
    processor_for,
    register,
    registry,
    running,
    start_processing,
)
from gnjobs.processing.report import CUT_NOTE, LARGEST_REPORT
from gnjobs.records import Child, Job
from tests.hostile import TEXTS

SOURCE = Source("child", "geno.tsv", "geno.tsv")


def line(number: int, text: str, kind: str = "out", at: float = 0.0) -> Line:
    return Line(number, at, kind, text)


def report(
    job_type: str, lines: list[Line | Hole], status: str = "running", children: tuple[Child, ...] = ()
) -> Report:
    job = Job(id="j", type=job_type, status=status)
    processing = start_processing(job, None)
    processing.feed(SOURCE, lines)
    return processing.report(job, children)


def fault_line(number: int, **fields: object) -> Line:
    return line(number, json.dumps(fields), "fault")


def test_qc_groups_equal_faults_and_shows_the_first() -> None:
    first = fault_line(1, file="a", row=1204, row_title="BXD12", column=7, column_title="BXD32", value="12.3",
                       expected="exactly 3 decimals")  # fmt: skip
    more = [
        fault_line(n, file="a", row=n, column=2, value="1", expected="exactly 3 decimals")
        for n in range(2, 312)
    ]
    empty = fault_line(400, file="b", row=88, column=41, value="", kind="empty")
    said = report("qc", [first, *more, empty])
    assert said.headline == "312 faults in 2 files so far"
    (table,) = said.tables
    assert table.counts == (311, 1)
    assert table.rows[0][-1] == 'row 1204 "BXD12", column 7 "BXD32": found "12.3", needs exactly 3 decimals'
    assert table.rows[1][-1] == "row 88, column 41: empty cell"


def test_qc_reads_gn_uploaders_error_objects_and_invents_no_numbers() -> None:
    stored = {
        "filename": "f",
        "rowtitle": "r1",
        "coltitle": "BXD1",
        "cellvalue": "x",
        "message": "Invalid value 'x'",
    }
    said = report("qc-rqtl2-bundle", [line(1, json.dumps(stored))], "success")
    assert said.headline == "1 fault in 1 file"
    assert said.tables[0].rows[0][-1] == """row "r1", column "BXD1": found "x", Invalid value 'x'"""
    assert fault_from(stored).row is None


@pytest.mark.parametrize(
    ("job_status", "child_status", "headline"),
    [
        ("running", "running", "no faults in 2 files so far"),
        ("success", "success", "no faults in 2 files"),
        ("success", "error", "no faults in 2 files, 1 file not checked to the end"),
        ("error", "error", "no faults in 2 files before it failed, 1 file not checked to the end"),
        ("killed", "killed", "no faults in 2 files before it was killed, 1 file not checked to the end"),
        ("lost", "success", "no faults in 2 files before it was lost"),
    ],
)
def test_no_faults_is_not_said_of_what_was_not_checked(
    job_status: str, child_status: str, headline: str
) -> None:
    children = (
        Child(id="a", output_key="k", status="success"),
        Child(id="b", output_key="k", status=child_status),
    )
    assert report("qc", [], job_status, children).headline == headline


def test_messages_that_quote_their_values_are_one_kind() -> None:
    lines: list[Line | Hole] = [
        line(n, json.dumps({"filename": "f", "cellvalue": f"{n}.x", "message": f"Invalid value '{n}.x'"}))
        for n in range(1, 1001)
    ]
    said = report("qc", lines)
    assert said.tables[0].counts == (1000,)
    assert said.tables[0].rows[0][-1] == """found "1.x", Invalid value '1.x'"""


def test_faults_of_ever_new_kinds_are_counted_and_not_kept() -> None:
    lines: list[Line | Hole] = [
        fault_line(n, file=f"f{n}" * 1000, kind="k" * 10_000, value="v" * 10_000) for n in range(1, 801)
    ]
    said = report("qc", lines)
    assert said.headline == "800 faults in 800 files so far"
    assert len(said.tables[0].rows) == 500
    assert said.notes == ("and 300 faults of more kinds than the 500 shown",)
    assert len(msgspec.json.encode(said)) < LARGEST_REPORT
    assert CUT_NOTE not in said.notes


def test_faults_whose_lines_were_trimmed_are_counted_by_the_job() -> None:
    job = Job(id="j", type="qc", status="running", faults=90)
    processing = start_processing(job, None)
    processing.feed(SOURCE, [Hole(1, 80), fault_line(81, file="f", kind="empty")])
    said = processing.report(job, ())
    assert said.headline == "90 faults in 1 file so far"
    assert "and 89 faults whose lines are missing" in said.notes


def test_no_faults_and_missing_input_are_said() -> None:
    children = (Child(id="a", output_key="k", unit="rows", done=10), Child(id="b", output_key="k"))
    said = report("qc", [Hole(1, 500), line(501, "x")], "success", children)
    assert said.headline == "no faults in 2 files"
    assert "500 lines are missing" in said.notes[0]


def test_insert_says_rows_rate_and_time_left() -> None:
    record = {"table": "PublishData", "total": 10_000}
    lines = [line(n, json.dumps(record | {"rows": n * 1000}), "record", at=float(n)) for n in range(1, 6)]
    said = report("insert", lines)
    assert said.headline == "5 000 of 10 000 rows inserted, 5 s left"
    assert said.progress == 50


def test_what_several_children_insert_into_one_table_is_added_up() -> None:
    job = Job(id="j", type="insert", status="running")
    processing = start_processing(job, None)
    for name, rows in (("a", 100), ("b", 30)):
        record = json.dumps({"table": "T", "rows": rows, "total": 200})
        processing.feed(Source("child", name), [line(1, record, "record")])
    said = processing.report(job, ())
    assert said.headline == "130 of 400 rows inserted"
    assert said.tables[0].rows == (("T", 130, 400),)


def test_a_million_records_a_minute_are_quickly_read_and_their_rate_is_right() -> None:
    records: list[Line | Hole] = [
        line(n, f'{{"table": "T", "rows": {n}}}', "record", at=n / 1000) for n in range(1, 100_001)
    ]
    metrics = {metric.name: metric.value for metric in report("insert", records).metrics}
    assert metrics["rows"] == 100_000
    rate = metrics["rate"]
    assert isinstance(rate, float)
    assert 990 < rate < 1010


def test_ever_new_tables_are_not_all_kept() -> None:
    records: list[Line | Hole] = [
        line(n, f'{{"table": "T{n}", "rows": 1}}', "record") for n in range(1, 1501)
    ]
    said = report("insert", records)
    assert len(said.tables[0].rows) == 1000
    assert said.notes == ("and more tables than the 1000 counted",)


def test_kinds_and_levels_that_nobody_defined_are_counted_together() -> None:
    lines: list[Line | Hole] = [line(n, "x", f"kind{n}") for n in range(1, 100)]
    lines += [line(n, json.dumps({"level": f"L{n}", "message": "m"}), "log") for n in range(100, 200)]
    metrics = {metric.name: metric.value for metric in report("generic", lines).metrics}
    assert metrics == {"lines": 199, "other lines": 99}


def test_generic_tells_the_last_error_and_counts() -> None:
    log = json.dumps({"level": "WARNING", "message": "slow"})
    said = report("unknown", [line(1, "fine"), line(2, log, "log"), line(3, "it broke", "err")])
    assert said.headline == "it broke"
    assert {metric.name: metric.value for metric in said.metrics} == {
        "lines": 3,
        "warning lines": 1,
        "err lines": 1,
    }


def test_a_plain_function_may_return_a_headline_a_mapping_or_a_report() -> None:
    job = Job(id="j")

    def ask(function: object) -> Report:
        processing = start_processing(job, function)
        processing.feed(SOURCE, [line(1, "a"), line(2, "b")])
        return processing.report(job, ())

    def headline(lines: Iterable[Line]) -> str:
        return f"{len(list(lines))} lines"

    assert ask(headline).headline == "2 lines"
    assert ask(lambda lines: {"lines": len(list(lines))}).metrics[0].value == 2
    assert ask(lambda _: Report("mine")).headline == "mine"


def test_a_plain_function_is_called_again_only_for_new_lines() -> None:
    calls = []

    def count(lines: Iterable[Line]) -> str:
        calls.append(1)
        return f"{len(list(lines))} lines"

    processing = start_processing(Job(id="j"), count)
    for expected in (1, 1, 2):
        if expected > len(calls):
            processing.feed(SOURCE, [line(expected, "x")])
        assert processing.report(Job(id="j"), ()).headline == f"{expected} lines"
    processing.report(Job(id="j"), ())
    assert len(calls) == 2


def test_a_plain_function_is_given_no_more_than_memory_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "LARGEST_INPUT", 1000)
    processing = start_processing(Job(id="j"), lambda lines: [each.number for each in lines])
    processing.feed(SOURCE, [line(n, "x" * 50) for n in range(1, 100)])
    said = processing.report(Job(id="j"), ())
    assert said.headline == "[95, 96, 97, 98, 99]"
    assert said.notes == ("the function was given the last 5 lines, without 94 before",)


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


def test_a_processor_of_an_installed_package_is_found_by_its_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "her_package.py").write_text(
        "class HerProcessor:\n"
        "    def feed(self, source, lines): pass\n"
        "    def report(self, job, children):\n"
        "        from gnjobs import Report\n"
        "        return Report('hers')\n"
    )
    metadata = tmp_path / "her_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: her-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[gnjobs.processors]\nhers = her_package:HerProcessor\nbroken = not_there:Processor\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry._installed.cache_clear()
    try:
        assert report("hers", []).headline == "hers"
        assert "ModuleNotFoundError" in report("broken", []).notes[0]
    finally:
        registry._installed.cache_clear()
        registry._registered.pop("hers", None)


def test_a_registered_type_is_used_and_a_name_from_redis_imports_nothing() -> None:
    class Mine:
        def feed(self, source: Source, lines: object) -> None:
            return

        def report(self, job: Job, children: object) -> Report:
            return Report("mine")

    register("my-type", Mine)
    assert report("my-type", []).headline == "mine"
    assert type(processor_for("os.system")).__name__ == "GenericProcessor"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("kind", ["out", "err", "log", "fault", "record", "result"])
def test_no_line_makes_saying_it_raise(text: str, kind: str) -> None:
    assert isinstance(line_sentence(line(1, text, kind)), str)
    assert isinstance(line_sentence(line(1, json.dumps({"message": text, "file": [text]}), kind)), str)


def test_sentences() -> None:
    assert sentence(Fault(value="x", expected="a number")) == 'found "x", needs a number'
    assert sentence(Fault(value="x", expected="needs a number")) == 'found "x", needs a number'
    assert sentence(Fault()) == "fault"
    said = line_sentence(
        line(1, json.dumps({"level": "WARNING", "logger": "gn.qc", "message": "slow read"}), "log")
    )
    assert said == "WARNING gn.qc: slow read"
