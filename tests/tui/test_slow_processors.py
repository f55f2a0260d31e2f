"""A processor that never ends, or says far too much: its report is cut, and keys are answered meanwhile."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.processor import Source
from gnjobs.processing.registry import register
from gnjobs.processing.report import Report
from gnjobs.records.fields import Child, Job
from gnjobs_tui.screens.job import JobScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_line, write_running

CHILDREN = 10
MEGABYTE = "x" * 1_000_000
AT_WORK = "GNJOBS_TEST_AT_WORK"


class Backtracking:
    """Loops in C, where nothing of Python interrupts it."""

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        Path(os.environ[AT_WORK]).write_text(str(os.getpid()))
        re.match(r"(a+)+$", "a" * 100 + "b")

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report("never made")


class Verbose:
    """Reports a gigabyte."""

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        return

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report("a gigabyte", notes=(MEGABYTE,) * 1000)


for name, make in {"backtracking": Backtracking, "verbose": Verbose}.items():
    register(name, make)


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a processor says its pid once it is at work."""
    monkeypatch.setenv(AT_WORK, str(tmp_path / "at-work"))
    return tmp_path / "at-work"


@pytest.mark.parametrize(
    ("job_type", "says"),
    [
        pytest.param("backtracking", "for a step and was cut off", marks=pytest.mark.faults),
        ("verbose", "this report was cut"),
    ],
)
async def test_the_dashboard_answers_and_says_that_it_was_cut(
    server: Server, at_work: Path, job_type: str, says: str
) -> None:
    write_running(server, "job-1", job_type=job_type, label="a job")
    write_line(server, KEYS.output("job-1"), 1, "a line")
    for number in range(CHILDREN):
        write_child(server, "job-1", f"child-{number}", label=f"child {number}")
    async with dashboard(server) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        await shows(pilot, "the job itself")
        table = pilot.app.screen.query_one(VirtualTable)
        is_endless = job_type != "verbose"
        await until(pilot, lambda: not is_endless or at_work.exists(), "the processor to be at work")
        for key in "jjjjjjjj":
            before = table.cursor_key
            # `press` would wait until the process is idle, which it is not while a report is awaited.
            pilot.app.simulate_key(key)
            await until(pilot, lambda before=before: table.cursor_key != before, "the cursor to move")
        assert says not in screen_text(pilot), "all this happened while the processor was at work"
        await shows(pilot, says)


async def test_closing_the_job_ends_its_processor(server: Server, at_work: Path) -> None:
    write_running(server, "job-1", job_type="backtracking", label="a job")
    write_line(server, KEYS.output("job-1"), 1, "a line")
    async with dashboard(server) as pilot:
        await pilot.press("enter")
        await until(pilot, at_work.exists)
        pid = await until(pilot, lambda: int(at_work.read_text() or 0))
        await pilot.press("escape")
        await until(pilot, lambda: not psutil.pid_exists(pid), "the processor to be gone", limit=2.0)
