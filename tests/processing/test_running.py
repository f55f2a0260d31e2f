"""Processing by type: what reports say."""

import json

import msgspec
import pytest

from gnjobs.outputs.faults import Fault, fault_from, line_sentence, sentence
from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.processor import Source
from gnjobs.processing.registry import start_processing
from gnjobs.processing.report import CUT_NOTE, LARGEST_REPORT
from gnjobs.records.fields import Child, Job
from tests.support.hostile import TEXTS
from tests.support.reports import SOURCE, fault_line, line, report


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
    assert (
        table.rows[0][-1] == 'row 1204 "BXD12", column 7 (G) "BXD32": found "12.3", needs exactly 3 decimals'
    )
    assert table.rows[1][-1] == "row 88, column 41 (AO): empty cell"


def test_an_empty_cell_says_what_it_needs() -> None:
    fault = fault_from({"row": 12345, "value": "", "expected": "a number"})
    assert fault is not None
    assert sentence(fault) == "row 12 345: empty cell, needs a number"


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
        ("pending", "pending", "nothing checked yet"),
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
    processing.feed([(SOURCE, [Hole(1, 80), fault_line(81, file="f", kind="empty")])])
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
    assert said.headline == "5000 of 10 000 rows inserted, 5 s left"
    assert said.progress == 50


def test_what_several_children_insert_into_one_table_is_added_up() -> None:
    job = Job(id="j", type="insert", status="running")
    processing = start_processing(job, None)
    for name, rows in (("a", 100), ("b", 30)):
        record = json.dumps({"table": "T", "rows": rows, "total": 200})
        processing.feed([(Source("child", name), [line(1, record, "record")])])
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
