"""Arbitrary text through everything that draws: no character that acts is left, and every row has its width."""

import contextlib
import io
import unicodedata
from collections.abc import Iterable

import click
import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.strip import Strip

from gnjobs.errors import GnjobsError
from gnjobs.health.verdict import Health
from gnjobs.outputs.lines import KINDS, Line
from gnjobs.processing.report import Metric, Report, ReportTable
from gnjobs.records.fields import JOB_FIELDS, Fields, read_child, read_job
from gnjobs.records.values import encode_text
from gnjobs.watch.rows import row_of
from gnjobs_tui.cli.main import cli
from gnjobs_tui.outputs.pager import Row
from gnjobs_tui.outputs.search import Query
from gnjobs_tui.outputs.seen import see
from gnjobs_tui.screens.job_cells import ALL_USERS_COLUMNS, job_cells
from gnjobs_tui.screens.job_facts import fact_lines, fields_text, result_lines, verdict_lines
from gnjobs_tui.screens.job_pane import pane_lines, pane_title
from gnjobs_tui.screens.job_parts import PART_COLUMNS, child_words
from gnjobs_tui.style import Cell, Palette, content, fit, lines, safe, spread
from gnjobs_tui.widgets.columns import TableDrawing
from gnjobs_tui.widgets.output_rows import Layout, draw_row
from tests.support.hostile import NUMBERS, TEXTS
from tests.support.servers import Server

ANY = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=()), max_size=60)
TEXT = ANY | st.sampled_from(sorted(TEXTS.values())) | st.sampled_from(NUMBERS)
WIDTH = st.integers(40, 200)
NOW = 1_700_000_000.0
PALETTE = Palette({"background": "#000000", "foreground": "#ffffff"})
FIELDS = st.dictionaries(st.sampled_from(sorted(JOB_FIELDS)) | TEXT, TEXT, max_size=12)
ACT = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def assert_harmless(text: str) -> None:
    """Nothing acts; the newline between lines of a widget is Textual's own."""
    assert not [
        character for character in text if unicodedata.category(character) in ACT and character != "\n"
    ]
    text.encode()


def assert_row(strip: Strip, width: int) -> None:
    assert_harmless(strip.text)
    assert "\n" not in strip.text
    assert cell_len(strip.text) == strip.cell_length == width


def stored(fields: dict[str, str]) -> Fields:
    return {encode_text(name): encode_text(value) for name, value in fields.items()}


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4), WIDTH)
def test_styled_text(texts: list[str], width: int) -> None:
    shown = content(*texts, *(Cell(text, "error") for text in texts))
    assert_harmless(shown.plain)
    assert "\n" not in shown.plain
    assert not [span for span in shown.spans if "@click" in str(span.style)]
    assert lines([texts, texts]).plain.count("\n") == 1
    assert spread(shown, content("right"), width).plain.endswith("right")


@settings(deadline=None)
@given(TEXT, st.integers(0, 60))
def test_what_is_fitted_has_its_width(text: str, width: int) -> None:
    assert cell_len(fit(safe(text), width)) == width


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([column.id for column in (*ALL_USERS_COLUMNS, *PART_COLUMNS)]), TEXT),
    WIDTH,
)
def test_rows_of_tables(texts: dict[str, str], width: int) -> None:
    cells = {name: Cell(text) for name, text in texts.items()}
    for columns in (ALL_USERS_COLUMNS, PART_COLUMNS):
        drawing = TableDrawing(columns, width, PALETTE)
        for is_cursor in (False, True):
            assert_row(drawing.row(cells, is_cursor, is_marked=is_cursor), width)
        assert_row(drawing.blank("".join(texts.values())), width)


@settings(deadline=None)
@given(TEXT, st.sampled_from(KINDS) | TEXT, WIDTH, st.integers(0, 50), st.floats(0, NOW) | st.none(), TEXT)
def test_rows_of_outputs(text: str, kind: str, width: int, left: int, at: float | None, query: str) -> None:
    line = see(Line(7, at, kind, text))
    layout = Layout(width, 3, at is not None, left, Query(query))
    for is_cursor in (False, True):
        strip = draw_row(Row(line, 0), line.text, layout, PALETTE, is_cursor=is_cursor)
        assert_row(strip, width - 1)


@settings(deadline=None)
@given(FIELDS, WIDTH)
@example({"": ""}, 40)
def test_records_of_any_fields(fields: dict[str, str], width: int) -> None:
    job = read_job("job", stored(fields))
    child = read_child("child", stored(fields), fields.get("label", "key"))
    row = row_of(job, prefix="p", key="job")
    shown = [
        *verdict_lines(job, Health("stuck", tuple(fields.values())), width, 4),
        *fact_lines(job, NOW, width),
        [child_words(child), fields_text(job, NOW), fields_text(child, NOW)],
    ]
    assert_harmless(lines(shown).plain)
    assert_harmless(pane_title(row, width, tuple(fields)).plain)
    for line in pane_lines(row, Health("stuck", tuple(fields)), tuple(fields), (width, 4), NOW):
        assert_harmless(line.plain)
    drawing = TableDrawing(ALL_USERS_COLUMNS, width, PALETTE)
    assert_row(drawing.row(job_cells(row, NOW, lambda user: user or ""), False, False), width)


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(st.integers(), max_size=4), WIDTH)
def test_reports(texts: list[str], counts: list[int], width: int) -> None:
    table = ReportTable(texts[0], tuple(texts), (tuple(texts),) * 3, tuple(counts))
    report = Report(texts[0], None, tuple(Metric(text, text, text) for text in texts), (table,), tuple(texts))
    assert_harmless(lines(result_lines(report, 9, width)).plain)


# What `main` says in one line.
ANSWERS = (GnjobsError, click.ClickException, redis.ConnectionError)


def run(arguments: Iterable[str]) -> str:
    printed = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape", write_through=True)
    with contextlib.redirect_stdout(printed), contextlib.suppress(*ANSWERS):
        cli.main(list(arguments), standalone_mode=False)
    printed.seek(0)
    return printed.read()


# What a shell can pass: any bytes but NUL, which Python decodes with surrogates.
ARGUMENT = (st.binary(max_size=30) | (TEXT | st.integers().map(str)).map(encode_text)).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)


@pytest.mark.parametrize(
    "before",
    [
        ("ls", "--filter"),
        ("ls", "--user"),
        ("log", "--since"),
        ("show",),
        ("logs",),
        ("logs", "job-id", "--child"),
        ("kill", "job-id", "--no-wait", "--child"),
        ("kill", "job-id", "--no-wait", "--grace"),
        ("rerun",),
        ("rm",),
        ("wait",),
        ("ls", "--limit"),
        ("logs", "job-id", "-n"),
        ("logs", "job-id", "--from"),
        ("users", "--prefix"),
        ("users", "--config"),
        ("users", "--redis-url"),
    ],
    ids=" ".join,
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argument=ARGUMENT)
def test_arguments(server: Server, before: tuple[str, ...], argument: str) -> None:
    server.client().hset("gn-uploader:jobs:job-id", mapping={"status": "success", "label": "a job"})
    server.client().delete("gn-uploader:jobs:job-id:output")
    server.client().rpush("gn-uploader:jobs:job-id:output", "one line")
    where = [] if "--redis-url" in before else ["--redis-url", server.url]
    run([*where, *before, argument])
