"""What hands do beside keys typed: clicks on counts, headings and footers; and in which order help tells of keys."""

import time

from textual.pilot import Pilot

from gnjobs_tui.keys import SECTIONS, screen_keys
from gnjobs_tui.screens.dialogs import HelpScreen
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.screens.kill import KillScreen
from gnjobs_tui.screens.log import LogScreen
from gnjobs_tui.screens.users import UsersScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.command import environment
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_job, write_running
from tests.support.terminal import Terminal, gnjobs


def write_three(server: Server) -> None:
    for number, (user, memory) in enumerate((("agunn", 5), ("jsmith", 9), ("mhall", 7))):
        write_running(server, f"job-{number}", label=f"job {number}", user_id=user, rss=memory * 1_000_000)
    write_job(server, "done-1", label="ended", host="gn-web2", finished=1_700_000_000, started=1_699_999_000)


async def click(pilot: Pilot[None], text: str, line: int) -> None:
    """Click on a text where it stands in a line of the screen, as counted from its top or its end."""
    rows = screen_text(pilot).split("\n")
    await pilot.click(offset=(rows[line].index(text), line % pilot.app.size.height))


async def test_counts_headings_and_footer_keys_can_be_clicked(server: Server) -> None:
    write_three(server)
    async with dashboard(server, size=(160, 30)) as pilot:
        await click(pilot, "6 done", 1)
        await until(pilot, lambda: "job 0" not in screen_text(pilot), "the done jobs alone")
        await click(pilot, "1 all", 1)
        await shows(pilot, "job 0")
        await click(pilot, "Memory", 2)
        await shows(pilot, "by memory")
        first = [line for line in screen_text(pilot).split("\n") if "running" in line][1]
        assert "job 1" in first
        await click(pilot, "Memory", 2)
        await until(pilot, lambda: "job 0" in screen_text(pilot).split("\n")[3], "the least first")
        await click(pilot, "L log", -1)
        await until(pilot, lambda: isinstance(pilot.app.screen, LogScreen))
        await shows(pilot, "event log")
        await click(pilot, "esc back", -1)
        await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))
        await click(pilot, "users", -1)
        await until(pilot, lambda: isinstance(pilot.app.screen, UsersScreen))


async def test_help_says_what_moves_then_what_looks_then_what_changes(server: Server) -> None:
    write_three(server)
    async with dashboard(server, size=(100, 60)) as pilot:
        sections = [key.section for key in screen_keys(pilot.app.screen)]
        assert sections == sorted(sections, key=SECTIONS.index)
        assert set(sections) == set(SECTIONS)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        screen = await shows(pilot, "Move", "Look", "One row up, down", "States", "done")
        assert screen.index("Move") < screen.index("Look") < screen.index("Change")  # Look beside Move
    async with dashboard(server, size=(80, 60)) as pilot:
        await pilot.press("question_mark")
        screen = await shows(pilot, "Move", "Look", "Change")
        assert screen.index("Move") < screen.index("Look") < screen.index("Change")


async def test_a_toast_covers_neither_why_nor_the_counts(server: Server) -> None:
    write_three(server)
    async with dashboard(server) as pilot:
        await shows(pilot, "health")
        await pilot.press("y")
        await says(pilot, "sent job-")
        after = (await shows(pilot, "sent job-")).split("\n")
        assert not any("sent job" in line for line in (*after[:2], *after[-5:]))


async def test_the_log_keeps_reason_and_owner_at_80_columns(server: Server) -> None:
    event = {"at": 1_700_000_000, "kind": "killed", "job": "j", "label": "QC", "owner": "jsmith", "by": "tux"}
    event |= {"text": "killed; all processes gone after 0.2 s", "reason": "runaway"}
    server.client().xadd(KEYS.events, event)
    async with dashboard(server, size=(80, 24)) as pilot:
        await pilot.press("L")
        await shows(pilot, "runaway", "jsmith", "killed; all proc", "tux")


async def test_a_kill_of_marked_jobs_says_what_it_leaves_out_and_why(server: Server) -> None:
    write_three(server)
    async with dashboard(server) as pilot:
        await pilot.press("a", "K")
        await until(pilot, lambda: isinstance(pilot.app.screen, KillScreen))
        screen = await shows(
            pilot, "Kill 3 jobs", "3 of 4 marked; the others are below", "left out of the marked, 1:"
        )
        listed = next(line for line in screen.split("\n") if "job 1" in line and "│" in line)
        assert all(text in listed for text in ("● running", "gn-web1", "jsmith"))
        left = next(line for line in screen.split("\n") if "ended" in line and "gn-web2" in line)
        assert "done" in left
        assert "ran to its end" in screen


async def test_a_marked_job_that_ends_is_told_once_and_moves_nothing(server: Server) -> None:
    write_three(server)
    async with dashboard(server) as pilot:
        table = pilot.app.screen.query_one(VirtualTable)
        await pilot.press("space", "g")
        await until(pilot, lambda: table.marks == {table.cursor_key}, "the cursor back on the first row")
        marked, cursor = next(iter(table.marks)), table.cursor_key
        client = server.client()
        client.hset(KEYS.job("job-0" if marked != "job-0" else "job-1"), "status", "success")
        client.hset(
            KEYS.job(marked), mapping={"status": "error", "finished": time.time(), "error": "no file"}
        )
        await says(pilot, "failed after")
        client.hset(KEYS.job(marked), "message", "more of it")
        await until(pilot, lambda: pilot.app.jobs.catalogue.get(marked).is_final, "its end")
        assert len([told for told in pilot.app._notifications if "failed after" in told.message]) == 1
        assert (table.marks, table.cursor_key) == ({marked}, cursor)


async def test_the_terminal_rings_once_when_a_marked_job_ends(server: Server) -> None:
    write_running(server, "job-0", label="the only one")
    with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: "the only one" in text and "live" in text, 30)
        terminal.send(" ")
        terminal.wait_for(lambda text: "1 marked" in text, 30)
        before = terminal.raw.count(b"\x07")  # which also ends the window's title
        server.client().hset(KEYS.job("job-0"), mapping={"status": "success", "finished": time.time()})
        terminal.wait_for(lambda text: "the only one: ran to its end" in text, 30)
        server.client().hset(KEYS.job("job-0"), "message", "more of it")
        terminal.wait_for(lambda text: "more of it" in text, 30)
        assert terminal.raw.count(b"\x07") == before + 1


async def test_fields_are_said_in_their_units_with_what_is_stored_behind(server: Server) -> None:
    now = time.time()
    write_running(
        server, "job-0", label="one", started=now - 3600, rss=2_100_000_000, stuck_after=5400, odd="as it is"
    )
    async with dashboard(server) as pilot:
        await pilot.press("enter", "x")
        screen = await shows(pilot, "All fields", "1 h ago", "2.1 GB", "1 h 30 min")
        line = next(line for line in screen.split("\n") if "rss  " in line)
        assert "2100000000" in line
        assert "5 % of one core" in screen
