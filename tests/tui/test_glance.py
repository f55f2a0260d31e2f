"""The last lines and the sparklines below a short list and on a job's screen, and when they are read."""

import threading
import time
from typing import Any

import msgspec
import pytest
from textual.widgets import Static

from gnjobs.processes.seen import History, ProcessSnapshot
from gnjobs.records.summaries import ChildrenSummary, SilentChild
from gnjobs_tui.glyphs import ASCII, UNICODE
from gnjobs_tui.outputs import reading
from gnjobs_tui.screens import glance
from gnjobs_tui.screens.job import JobScreen
from gnjobs_tui.screens.trends import left_words
from gnjobs_tui.widgets.line import Lines
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_job, write_line, write_running


def write_stuck(server: Server) -> str:
    """A job one of whose children is stuck, each with lines of its own."""
    now = time.time()
    told = SilentChild(id="slow", label="slow.tsv", since=now - 3600, idle_since=now - 3600, cpu=0.0)
    summary = msgspec.json.encode(ChildrenSummary(counts={"running": 2}, quietest=told))
    job = write_running(
        server, "job-stuck", label="stuck one", children_summary=summary, percent=25, started=now - 7200
    )
    for child in ("slow", "quick"):
        write_child(server, job, child, label=f"{child}.tsv", started=now - 7200, last_output=now)
        for number in range(1, 40):
            write_line(server, KEYS.child_output(job, child), number, f"{child} line {number}")
    history = History(10.0, (5.0, 90.0, 50.0), (1e6, 2e6, 2e6), (0.0, 100.0, 12_000.0), "rows")
    snapshot = ProcessSnapshot(now, (), history)
    server.client().set(KEYS.processes(job), msgspec.json.encode(snapshot))
    return job


async def test_the_stuck_child_below_the_cursor_shows_its_last_lines_without_a_key(server: Server) -> None:
    write_stuck(server)
    other = write_job(server, "job-other", label="other one")
    write_line(server, KEYS.output(other), 1, "all is well")
    async with dashboard(server) as pilot:
        await shows(pilot, "last lines of slow.tsv", "slow line 39")
        heights = [widget.size.height for widget in pilot.app.screen.children]
        await pilot.press("j")
        await until(pilot, lambda: "slow line" not in screen_text(pilot))
        await shows(pilot, "all is well")
        assert [widget.size.height for widget in pilot.app.screen.children] == heights


async def test_lines_that_come_are_shown_at_the_next_beat(server: Server) -> None:
    job = write_running(server, "job-1", label="at work")
    write_line(server, KEYS.output(job), 1, "first")
    async with dashboard(server) as pilot:
        await shows(pilot, "first")
        write_line(server, KEYS.output(job), 2, "second")
        server.client().hset(KEYS.job(job), mapping={"lines": 2, "heartbeat": time.time() + 10})
        await shows(pilot, "second")


async def test_however_slow_the_last_lines_are_one_thread_reads_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = write_running(server, "job-1", label="at work")
    begun, go, last_items = [], threading.Event(), reading.last_items

    def slow_items(*arguments: Any) -> Any:
        begun.append(arguments)
        go.wait(60.0)
        return last_items(*arguments)

    monkeypatch.setattr(reading, "last_items", slow_items)
    monkeypatch.setattr(glance, "AGAIN_SECONDS", 0.01)
    async with dashboard(server) as pilot:
        await until(pilot, lambda: begun)
        screen = pilot.app.screen
        aim = screen._aim
        write_line(server, KEYS.output(job), 1, "first")
        server.client().hset(KEYS.job(job), mapping={"lines": 1, "heartbeat": time.time() + 10})
        await until(pilot, lambda: screen._aim != aim and screen._resting is None, "news that is waited with")
        assert len(begun) == 1
        go.set()
        await shows(pilot, "first")


async def test_below_a_long_list_there_is_no_room_and_nothing_is_read(server: Server) -> None:
    for number in range(20):
        job = write_job(server, f"job-{number}", label=f"label {number}", message="all checked")
        write_line(server, KEYS.output(job), 1, "not seen")
    async with dashboard(server) as pilot:
        await pilot.press("j")
        assert pilot.app.screen.query_one("#pane", Lines).size.height == 3
        assert pilot.app.screen.aim() is None  # type: ignore[attr-defined]
        await pilot.press("slash", *"label:19", "enter")
        await shows(pilot, "not seen")


async def test_a_job_at_work_shows_what_it_uses_how_fast_it_is_and_how_long_it_takes(server: Server) -> None:
    job = write_stuck(server)
    async with dashboard(server) as pilot:
        assert "left" not in await shows(pilot, "STUCK", "rows/s ▁▂█ 12 000")
    server.client().hset(KEYS.job(job), "children-summary", "{}")
    async with dashboard(server) as pilot:
        await shows(pilot, f"CPU {UNICODE.spark((5, 90, 50), 9)} 5%", "rows/s ▁▂█ 12 000", "about 6 h left")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        await shows(pilot, "rows/s ▁▂█ 12 000", "about 6 h left")


async def test_the_child_under_the_cursor_shows_its_last_lines(server: Server) -> None:
    write_stuck(server)
    async with dashboard(server) as pilot:
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        await shows(pilot, "last lines of slow.tsv")
        table = pilot.app.screen.query_one(VirtualTable)
        await pilot.press("j")
        await until(pilot, lambda: table.cursor_key == "quick")
        await shows(pilot, "last lines of quick.tsv", "quick line 39")


async def test_a_child_with_a_total_says_how_fast_it_is_and_how_long_it_takes(server: Server) -> None:
    now = time.time()
    job = write_running(server, "job-1")
    write_child(
        server, job, "part", started=now - 100, last_output=now, done=250_000, total=1_000_000, percent=25,
        unit="rows",
    )  # fmt: skip
    async with dashboard(server, size=(160, 50)) as pilot:
        await pilot.press("enter")
        await shows(pilot, "rows 250 000 of 1 000 000, 2", "/s, about 5 min left")


async def test_all_that_a_verdict_says_is_shown_before_anything_is_empty(server: Server) -> None:
    write_stuck(server)
    async with dashboard(server, size=(80, 24)) as pilot:
        await shows(pilot, "why", "slow.tsv", "supervisor heard")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
        await shows(pilot, "the job itself")
        verdict = str(pilot.app.screen.query_one("#verdict", Static).content)
        assert "supervisor heard" in verdict
        assert all(len(line) <= 80 for line in verdict.splitlines())


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [((), 5, ""), ((0, 0), 5, "▁▁"), ((0, 1, 8), 5, "▁▂█"), ((1, 1, 3, 3), 2, "▄█"), ((5,), 5, "█")],
)
def test_a_sparkline_goes_from_0_to_the_largest(values: tuple[float, ...], width: int, drawn: str) -> None:
    assert UNICODE.spark(values, width) == drawn
    assert ASCII.spark(values, width).isascii()
    assert len(ASCII.spark(values, width)) == len(drawn)


@pytest.mark.parametrize("count", range(1, 70))
def test_a_sparkline_is_never_wider_than_its_room(count: int) -> None:
    assert 0 < len(UNICODE.spark(range(count), 9)) <= 9


def test_the_time_left_is_told_only_where_it_can_be() -> None:
    assert left_words(25, 100, 0) == "about 5 min left"
    assert left_words(None, 100, 0) == left_words(0.5, 100, 0) == left_words(100, 100, 0) == ""
    assert left_words(50, 100, 3600) == left_words(50, None, 0) == left_words(50, 1, 0) == ""
