"""All faults of a job under Pilot: columns, filter, search, equal ones combined, export, and very many of them."""

import csv
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gnjobs_tui.screens.faults import FaultsScreen
from gnjobs_tui.screens.job import JobScreen
from gnjobs_tui.widgets.filter_bar import FilterBar
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.command import invoke
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_job, write_line, write_running

JOB = "3f2a91c0-1111"


def write_faults(server: Server, child: str, faults: list[dict[str, object]]) -> None:
    write_child(server, JOB, child, status="success")
    data = "\n".join(json.dumps(fault) for fault in faults)
    write_line(server, KEYS.child_output(JOB, child), len(faults), data, "fault")


@pytest.fixture
def faults(server: Server) -> None:
    """Three wrong numbers and two empty cells in two files."""
    write_job(server, JOB, label="QC average, July")
    decimals = {"row_title": "BXD12", "column": 7, "column_title": "BXD32", "expected": "exactly 3 decimals"}
    write_faults(server, "av.tsv", [{"row": 1200 + n, "value": f"{n}.5", **decimals} for n in range(3)])
    empty = {"column": 41, "column_title": "BXD9", "value": "", "kind": "empty"}
    write_faults(server, "geno.tsv", [{"row": 88 + n, **empty} for n in range(2)])


@asynccontextmanager
async def open_faults(server: Server, size: tuple[int, int] = (100, 30)) -> AsyncIterator[Pilot[None]]:
    async with dashboard(server, size=size) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, FaultsScreen) and pilot.app.screen.takes_keys)
        yield pilot


def table_lines(pilot: Pilot[None]) -> list[str]:
    return [line for line in screen_text(pilot).split("\n")[2:-1] if line.strip()]


@pytest.mark.parametrize("size", [(160, 50), (100, 30), (80, 24)])
async def test_each_fault_has_its_cells_in_columns(
    server: Server, faults: None, size: tuple[int, int]
) -> None:
    async with open_faults(server, size) as pilot:
        screen = await shows(pilot, "QC average, July   5 faults", '1200 "BXD12"', '41 (AO) "BXD9"', "  File")
        heading = next(line for line in screen.split("\n") if line.startswith("  File"))
        line = next(line for line in screen.split("\n") if '1200 "BXD12"' in line)
        for title, cell in (
            ("File", "av.tsv"), ("Row", '1200 "BXD12"'), ("Column", '7 (G) "BXD32"'), ("Found", '"0.5"'),
            ("Needs", "exactly 3 decimals"),
        ):  # fmt: skip
            assert heading.index(title) == line.index(cell)
        assert any('41 (AO) "BXD9"' in line and "empty cell" in line for line in table_lines(pilot))
        assert "esc back" in screen


async def test_a_filter_lists_what_is_wanted_and_a_search_goes_from_one_to_the_next(
    server: Server, faults: None
) -> None:
    async with open_faults(server) as pilot:
        await pilot.press("slash", *"column:AO row>88")
        await shows(pilot, "/column:AO row>88: 1 match")
        assert len(table_lines(pilot)) == 1
        await pilot.press("enter", "escape")
        await until(pilot, lambda: len(table_lines(pilot)) == 5, "all faults")
        await pilot.press("slash", *"column:ao", "enter")
        await shows(pilot, "2 matches")
        await pilot.press("f")
        await until(pilot, lambda: len(table_lines(pilot)) == 5, "all faults")
        table = pilot.app.screen.query_one(VirtualTable)
        first = int(table.cursor_key or 0)
        await pilot.press("n")
        assert int(table.cursor_key or 0) == first + 1
        await pilot.press("n")
        assert int(table.cursor_key or 0) == first
        await pilot.press("f", "escape", "escape")
        assert isinstance(pilot.app.screen, JobScreen)


async def test_a_filter_that_means_nothing_is_refused_beside_the_field(server: Server, faults: None) -> None:
    async with open_faults(server) as pilot:
        await pilot.press("slash", *"state:x", "enter")
        await shows(pilot, "unknown key state:")
        assert pilot.app.screen.query_one(FilterBar).is_open
        await pilot.press("escape")
        await until(pilot, lambda: len(table_lines(pilot)) == 5, "all faults")
        assert isinstance(pilot.app.screen, FaultsScreen)


async def test_equal_ones_are_counted_as_one(server: Server, faults: None) -> None:
    async with open_faults(server) as pilot:
        await pilot.press("c")
        await shows(pilot, "5 faults   2 kinds", "Times")
        first, second = table_lines(pilot)
        assert first.split()[:3] == [">", "×3", "av.tsv"]
        assert second.split()[:2] == ["×2", "geno.tsv"]
        await pilot.press("enter")
        await shows(pilot, 'the first of 3: row 1200 "BXD12", column 7 (G) "BXD32": found "0.5"')
        await pilot.press("escape", "c")
        await until(pilot, lambda: len(table_lines(pilot)) == 5, "each fault")


async def test_those_that_came_meanwhile_are_read_by_ctrl_r(server: Server, faults: None) -> None:
    async with open_faults(server) as pilot:
        await pilot.press("c")
        await shows(pilot, "5 faults   2 kinds")
        write_line(server, KEYS.child_output(JOB, "geno.tsv"), 3, '{"row": 5, "value": "new"}', "fault")
        await pilot.press("ctrl+r")
        await shows(pilot, "6 faults   3 kinds", '"new"')
        await pilot.press("ctrl+r", "ctrl+r", "c")
        await until(pilot, lambda: len(table_lines(pilot)) == 6, "each fault once")


async def test_what_is_listed_is_saved_as_the_command_line_writes_it(
    server: Server, faults: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"row": 404, "row_title": "of no file", "value": "x"}
    write_line(server, KEYS.output(JOB), 1, json.dumps(own), "fault")
    async with open_faults(server) as pilot:
        await pilot.press("s")
        await shows(pilot, "save as", "faults-3f2a91c0.csv")
        await pilot.press("enter")
        await says(pilot, "saved 6 faults in")
        printed = invoke(server, "show", JOB, "--faults", "--csv")
        saved = tmp_path / "QC-average-July-faults-3f2a91c0.csv"
        assert saved.read_text() == printed
        await pilot.press("slash", *"file:geno", "enter", "s", "ctrl+u", *str(tmp_path / "few.csv"), "enter")
        await says(pilot, "saved 2 faults in")
        few = csv.DictReader((tmp_path / "few.csv").read_text().splitlines())
        assert [row["row"] for row in few] == ["88", "89"]
        await pilot.press("s", "ctrl+u", *str(saved), "enter")
        await says(pilot, "not saved: can't write", "file exists")


async def test_of_a_job_that_runs_they_are_those_so_far(server: Server) -> None:
    write_running(server, JOB, label="QC average, July")
    write_faults(server, "geno.tsv", [{"row": 88, "value": ""}])
    async with open_faults(server, (80, 24)) as pilot:
        await shows(pilot, "QC average, July   1 fault so far")
        write_job(server, JOB, label="QC average, July")
        await until(pilot, lambda: pilot.app.jobs.catalogue.get(JOB).is_final)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "so far" not in screen_text(pilot))
        await shows(pilot, "QC average, July   1 fault")


@pytest.mark.faults
async def test_a_hundred_thousand_are_listed_filtered_and_combined(server: Server) -> None:
    write_job(server, JOB, label="many")
    write_child(server, JOB, "big.tsv", status="success")
    for start in range(0, 100_000, 10_000):
        data = "\n".join(
            f'{{"row":{start + n},"column":{n % 50 + 1},"value":"{n % 7}","expected":"a number"}}'
            for n in range(10_000)
        )
        write_line(server, KEYS.child_output(JOB, "big.tsv"), start + 10_000, data, "fault")
    async with open_faults(server) as pilot:
        await shows(pilot, "100 000 faults ")
        await until(pilot, lambda: "reading" not in screen_text(pilot))
        await pilot.press("G")
        await shows(pilot, "99 999")
        await pilot.press("slash", *"row:77777", "enter")
        await shows(pilot, "1 match", "77 777")
        await pilot.press("f", "c")
        assert "kinds" not in await shows(pilot, "1 kind")
        await pilot.press("escape")
        await shows(pilot, "×100 000")
