"""A processor that never ends, or says far too much: its report is cut, and keys are answered meanwhile."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from gnjobs.lines import Hole, Line
from gnjobs.processing import Report, Source, register, registry
from gnjobs.records import Child, Job
from gnjobs_tui.screens.job import JobScreen
from gnjobs_tui.widgets.virtual_table import VirtualTable
from tests.servers import Server
from tests.tui.dashboard import dashboard, shows, until
from tests.tui.records import KEYS, write_child, write_line, write_running

CHILDREN = 10
MEGABYTE = "x" * 1_000_000
at_work = threading.Event()


class Endless:
    """Loops in Python, and catches every exception that it may."""

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        at_work.set()
        try:
            while True:
                with suppress(Exception):
                    sum(range(1000))
        finally:
            at_work.clear()

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report("never made")


class Verbose:
    """Reports a gigabyte."""

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        return

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report("a gigabyte", notes=(MEGABYTE,) * 1000)


@pytest.fixture
def job_types() -> Iterator[None]:
    register("endless", Endless)
    register("verbose", Verbose)
    yield
    for name in ("endless", "verbose"):
        registry._registered.pop(name)


@pytest.mark.parametrize(
    ("job_type", "says"), [("endless", "took longer than 2 s"), ("verbose", "this report was cut")]
)
async def test_the_dashboard_answers_and_says_that_it_was_cut(
    server: Server, job_types: None, job_type: str, says: str
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
        await until(pilot, lambda: at_work.is_set() or job_type != "endless", "the processor to be at work")
        moved_meanwhile = 0
        for key in "jkjkjkjk":
            before = table.cursor_key
            # `press` would wait until the process is idle, which it is not for two seconds.
            pilot.app.simulate_key(key)
            await until(pilot, lambda before=before: table.cursor_key != before, "the cursor to move")
            moved_meanwhile += at_work.is_set()
        assert moved_meanwhile or job_type != "endless"
        await shows(pilot, says)
        assert not at_work.is_set()
