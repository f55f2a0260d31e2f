"""The output's screen under Pilot, on a real server, with more lines than are ever in memory."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gnjobs.outputs.writer import OutputWriter
from gnjobs.records.values import encode_text
from gnjobs_tui.config import Config
from gnjobs_tui.outputs.reading import News
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.screens.kill import KillScreen
from gnjobs_tui.screens.output import OutputScreen
from gnjobs_tui.screens.target import Target
from gnjobs_tui.widgets.output_view import OutputView
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.hostile import FORBIDDEN, TEXTS
from tests.support.proxy import running_proxy
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_line, write_running

JOB, CHILD = "job-1", "pheno_se.tsv"
KEY = KEYS.child_output(JOB, CHILD)
MANY = 200_000
FAULT = {"file": CHILD, "row": 743_998, "row_title": "BXD31", "column": 12, "column_title": "BXD60"}
FAULT |= {"value": "0.12", "expected": "6 decimals or more"}
LOG = {"level": "WARNING", "logger": "gn.qc", "message": "slow read, 4.2 s for 64 KB"}


@asynccontextmanager
async def open_output(
    server: Server,
    size: tuple[int, int] = (100, 30),
    child: str | None = CHILD,
    config: Config | None = None,
) -> AsyncIterator[Pilot[None]]:
    async with dashboard(server, size=size, config=config) as pilot:
        target = Target("gn-uploader", JOB, "QC average, July", child=child, child_label=child, key=JOB)
        pilot.app.push_screen(OutputScreen(target))
        await until(pilot, lambda: getattr(pilot.app.screen, "news", News()).key, "the output")
        yield pilot


def screen_of(pilot: Pilot[None]) -> OutputScreen:
    assert isinstance(pilot.app.screen, OutputScreen)
    return pilot.app.screen


def view_of(pilot: Pilot[None]) -> OutputView:
    return screen_of(pilot).view


@pytest.fixture
def child(server: Server) -> None:
    write_running(server, JOB, label="QC average, July")
    write_child(server, JOB, CHILD)


@pytest.fixture
def many_lines(server: Server, child: None) -> None:
    with OutputWriter(server.url, KEY) as writer:
        writer.write_many([f"row {number}." for number in range(1, MANY + 1)])
        writer.write(json.dumps(FAULT), "fault")
        writer.write(json.dumps(LOG), "log")
        assert writer.flush(30)


async def test_it_opens_at_the_end_with_sentences(server: Server, many_lines: None) -> None:
    async with open_output(server) as pilot:
        screen = await shows(pilot, "WARNING gn.qc: slow read, 4.2 s for 64 KB", "● running")
        assert 'row 743 998 "BXD31", column 12 (L) "BXD60": found "0.12", needs 6 decimals or more' in screen
        assert KEY in screen
        assert "QC average, July › pheno_se.tsv   ● running" in screen
        assert "line 200 002 of 200 002 · first kept 1 · following · last line under 1 min ago" in screen
        assert screen.endswith(
            "f follow  / search  n N next prev  g G ends  w wrap  t times  K kill  s save  ? help  esc back"
        )


async def test_ends_lines_and_back(server: Server, many_lines: None) -> None:
    async with open_output(server) as pilot:
        await pilot.press("g")
        await shows(pilot, "     1> row 1.", "not following")
        await pilot.press("l", *"123 456", "enter")
        await shows(pilot, "123456> row 123456.")
        await pilot.press("k", "k", "pagedown")
        await shows(pilot, "123479> row 123479.")
        await pilot.press("G")
        await shows(pilot, "200002> WARNING", "following")
        assert len(view_of(pilot).pager.window) <= 4000
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, JobsScreen)


async def test_search_goes_to_matches_and_back(server: Server, many_lines: None) -> None:
    async with open_output(server) as pilot:
        await pilot.press("slash", *"99999.", "enter")
        await shows(pilot, " 99999> row 99999.")
        await shows(pilot, "/99999., from the other end")
        await pilot.press("n")
        await shows(pilot, "199999> row 199999.")
        await pilot.press("N")
        await shows(pilot, " 99999> row 99999.")
        await pilot.press("slash", *'found "0.12"', "enter")
        await shows(pilot, "200001> row 743 998")
        await pilot.press("slash", *"not there", "enter")
        await shows(pilot, "no match for not there")
        await pilot.press("escape")
        await until(pilot, lambda: "no match" not in screen_text(pilot))
        assert isinstance(pilot.app.screen, OutputScreen)


async def test_a_search_is_stopped_by_escape(server: Server, many_lines: None) -> None:
    with running_proxy(server.port) as proxy:
        async with open_output(server, config=Config(url=proxy.url)) as pilot:
            proxy.delay = 0.3
            await pilot.press("slash", *"nowhere", "enter")
            await shows(pilot, "searching nowhere, line ", ", esc stops")
            await pilot.press("escape")
            await shows(pilot, "the search was stopped")
            assert isinstance(pilot.app.screen, OutputScreen)
            proxy.delay = 0.0
            await until(
                pilot, lambda: not any(w.group == "search" and w.is_running for w in pilot.app.workers)
            )
            assert "no match" not in screen_text(pilot)


async def test_new_lines_arrive_and_move_nothing_that_is_read(server: Server, child: None) -> None:
    data = "\n".join(f"row {number}." for number in range(1, 101))
    write_line(server, KEY, 100, data)
    async with open_output(server) as pilot:
        await shows(pilot, "100> row 100.")
        write_line(server, KEY, 101, "arrived")
        await shows(pilot, "101> arrived")
        await pilot.press("g")
        before = screen_text(pilot).split("\n")[2:-2]
        write_line(server, KEY, 102, "later")
        await shows(pilot, "of 102")
        assert screen_text(pilot).split("\n")[2:-2][:25] == before[:25]
        await pilot.press("f")
        await shows(pilot, "102> later")


async def test_holes_trimmed_beginnings_and_the_unended_line(server: Server, child: None) -> None:
    write_line(server, KEY, 20_000, "a")
    write_line(server, KEY, 110_001, "b")
    server.client().hset(KEYS.child(JOB, CHILD), "partial-line", "12 % done")
    async with open_output(server) as pilot:
        screen = await shows(pilot, "12 % done")
        assert "lines 1 to 19999 are missing" in screen
        assert "lines 20001 to 110000 are missing" in screen
        assert "first kept 20 000" in screen
        assert "     +> 12 % done" in screen


async def test_wrap_times_and_sideways(server: Server, child: None) -> None:
    write_line(server, KEY, 1, "x" * 150 + "END")
    async with open_output(server) as pilot:
        screen = await shows(pilot, "  1> xxx")
        assert "…" in screen
        assert "END" not in screen
        for _ in range(8):
            await pilot.press("right")
        await shows(pilot, "END")
        await pilot.press("w")
        screen = await shows(pilot, "END")
        assert "  1> xxx" in screen
        await pilot.press("t")
        await shows(pilot, "written ")


async def test_a_line_of_ten_megabytes_and_a_million_returns(server: Server, child: None) -> None:
    with OutputWriter(server.url, KEY) as writer:
        writer.write_many(["y" * 10_000_000, "10 %\r" * 1_000_000 + "done"])
        assert writer.flush(30)
    async with open_output(server) as pilot:
        await pilot.press("g", "w")
        await shows(pilot, "  1> yyy")
        await pilot.press("G")
        await until(pilot, lambda: "more characters" in screen_text(pilot))


async def test_save_and_copy(
    server: Server, child: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_line(server, KEY, 2, "one\n\x1b]52;c;AAAA\x07two")
    async with open_output(server) as pilot:
        await pilot.press("y")
        assert pilot.app.clipboard == "␛]52;c;AAAA␇two"
        await pilot.press("s", "enter")
        file = tmp_path / "QC-average-July-pheno_se.tsv-job-1.txt"
        await until(pilot, file.exists)
        await says(pilot, "saved 2 lines")
        assert file.read_bytes() == b"one\n\x1b]52;c;AAAA\x07two\n"


async def test_saving_where_nothing_can_be_written_says_so(
    server: Server, child: None, tmp_path: Path
) -> None:
    write_line(server, KEY, 1, "one")
    async with open_output(server) as pilot:
        await pilot.press("s", "ctrl+u", *str(tmp_path / "nowhere" / "x"), "enter")
        await says(pilot, "not saved: can't write", "no such file or directory")


async def test_kill_is_aimed_at_the_child(server: Server, child: None) -> None:
    write_line(server, KEY, 1, "one")
    async with open_output(server) as pilot:
        await pilot.press("K")
        await until(pilot, lambda: isinstance(pilot.app.screen, KillScreen))
        await shows(pilot, CHILD, "Kill one child")


async def test_an_output_that_is_not_there_yet(server: Server, child: None) -> None:
    async with open_output(server) as pilot:
        await shows(pilot, "no line yet · following")
        await pilot.press("g", "G", "up", "pagedown", "n", "escape", "y", "w", "t")
        write_line(server, KEY, 1, "first")
        await shows(pilot, "first")


async def test_what_can_not_be_read_as_lines(server: Server, child: None) -> None:
    server.client().sadd(KEY, "member")
    async with open_output(server) as pilot:
        await shows(pilot, "what is stored here can't be read as lines")


async def test_a_child_outside_its_job_is_not_opened(server: Server, child: None) -> None:
    server.client().hset(KEYS.job(JOB), f"child:{CHILD}", "gn-uploader:jobs:job-2:output")
    write_line(server, "gn-uploader:jobs:job-2:output", 1, "secret")
    async with dashboard(server) as pilot:
        pilot.app.push_screen(OutputScreen(Target("gn-uploader", JOB, "a job", child=CHILD)))
        await shows(pilot, "lies outside its job")
        assert "secret" not in screen_text(pilot)


async def test_a_search_that_fails_does_not_say_that_nothing_matches(server: Server, child: None) -> None:
    server.client().hset(KEYS.job(JOB), f"child:{CHILD}", "gn-uploader:jobs:job-2:output")
    async with dashboard(server) as pilot:
        pilot.app.push_screen(OutputScreen(Target("gn-uploader", JOB, "a job", child=CHILD)))
        await shows(pilot, "lies outside its job")
        await pilot.press("slash", *"x", "enter")
        await says(pilot, "the search ended", "lies outside its job")
        await until(pilot, lambda: not screen_of(pilot).note.startswith("searching"), "the end of the search")
        assert "the search ended: " in screen_of(pilot).note


async def test_the_jobs_own_output_and_foreign_forms(server: Server) -> None:
    write_running(server, JOB, stdout="from a field\nof two lines")
    async with open_output(server, child=None) as pilot:
        screen = await shows(pilot, "of two lines")
        assert "field stdout" in screen


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (40, 10)])
async def test_sizes(server: Server, child: None, size: tuple[int, int]) -> None:
    write_line(server, KEY, 1, "one")
    async with open_output(server, size) as pilot:
        screen = await shows(pilot, "one")
        assert all(len(line) <= size[0] for line in screen.split("\n"))
        assert "esc back" in screen or size[0] < 80


async def test_hostile_text_is_drawn_and_does_nothing(server: Server, child: None) -> None:
    lines = [
        encode_text(text).decode("utf-8", "surrogateescape").replace("\n", " ") for text in TEXTS.values()
    ]
    write_line(server, KEY, len(lines), "\n".join(lines))
    server.client().hset(KEYS.child(JOB, CHILD), mapping={"partial-line": TEXTS["csi clears"]})
    async with open_output(server, (120, 60)) as pilot:
        screen = await shows(pilot, "␛[2J")
        assert not any(sequence in screen for sequence in FORBIDDEN)
        await pilot.press("w", "t", "g", "slash", *"click", "enter")
        await pilot.press("y")
        assert not any(sequence in pilot.app.clipboard for sequence in FORBIDDEN)
