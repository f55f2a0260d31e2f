"""The screen of stacks: both lines of a deadlock, or why there is nothing to say; never anything that acts."""

import sys
from pathlib import Path

from gnjobs.records.actor import Actor
from gnjobs.store import JobStore
from gnjobs_tui.screens.dialogs import TextScreen
from gnjobs_tui.screens.stacks import StacksScreen
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.deadlock import DEADLOCK
from tests.support.hostile import FORBIDDEN
from tests.support.servers import Server
from tests.support.stored_records import write_job, write_running
from tests.support.supervised import supervised

HOSTILE = "[@click=app.bell]x\x1b]52;c;aGk=\x07"


async def test_the_stacks_of_the_row_are_shown_and_looked_at_again(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "deadlock.py"
    script.write_text(DEADLOCK)
    with supervised(server, [sys.executable, str(script), HOSTILE]) as job:
        job.wait_for_line("begins")
        async with dashboard(server, size=(300, 30)) as pilot:
            await shows(pilot, "b stacks")
            await pilot.press("b")
            await shows(pilot, "stacks at", "deadlock.py:6", "second (deadlock.py:10)", "[@click=app.bell]x␛")
            assert not any(sequence in screen_text(pilot) for sequence in FORBIDDEN)
            screen = pilot.app.screen
            assert isinstance(screen, StacksScreen)
            await pilot.press("g", "enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, TextScreen))
            await shows(pilot, "y copy", "[@click=app.bell]x␛")
            assert not any(sequence in screen_text(pilot) for sequence in FORBIDDEN)
            await pilot.press("escape")
            await pilot.press("ctrl+r")
            await until(pilot, lambda: screen.takes_keys)
            await pilot.press("y", "escape", "enter", "b")
            await shows(pilot, "deadlock.py:6")
            assert "deadlock.py:6" in pilot.app.clipboard
            assert "\x1b" not in pilot.app.clipboard


async def test_where_nobody_can_look_it_says_why(server: Server, store: JobStore) -> None:
    write_running(server, "elsewhere")
    write_job(server, "ended", created=1)
    only_looks = Actor("guest", "admin", read_only=True)
    async with dashboard(server, size=(80, 24), actor=only_looks) as pilot:
        await pilot.press("G", "b")
        await shows(pilot, "it has ended: success")
        await pilot.press("escape", "g", "enter", "b")
        await shows(pilot, "guest may only look, and asks nobody; run on gn-web1: gnjobs stack elsewhere")
    assert not store.client.keys("*requests")
