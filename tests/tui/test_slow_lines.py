"""Screens over a slow line: each says at once that it reads, with what the list knows, and may be left meanwhile."""

import asyncio

import pytest

from gnjobs_tui.config import Config
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.proxy import running_proxy
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_line, write_running

DELAY = 30.0


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("before", "key", "shown"),
    [
        ("", "enter", ("slow one", "running", "reading …")),
        ("", "h", ("hosts", "reading …")),
        ("", "L", ("event log", "reading …")),
        ("", "b", ("stacks", "reading …")),
        ("enter", "enter", ("slow one", "reading …")),
        ("enter", "e", ("slow one", "reading …")),
        ("enter", "t", ("timeline", "reading …")),
        ("enter", "p", ("processes", "reading …")),
    ],
)
async def test_a_screen_that_waits_says_so_and_lets_go(
    server: Server, before: str, key: str, shown: tuple[str, ...]
) -> None:
    write_running(server, "job-1", label="slow one", percent=40)
    write_child(server, "job-1", "part")
    write_line(server, KEYS.output("job-1"), 1, "a line")
    with running_proxy(server.port) as proxy:
        async with dashboard(server, config=Config(url=proxy.url)) as pilot:
            if before:
                await pilot.press(before)
                await shows(pilot, "the job itself", "part")
            stack = len(pilot.app.screen_stack)
            proxy.delay = DELAY
            await pilot.press(key)
            await shows(pilot, *shown)
            # A key from before the screen was drawn would wait for what it reads.
            drawn = asyncio.Event()
            pilot.app.screen.call_after_refresh(drawn.set)
            await drawn.wait()
            await pilot.press("escape")
            await until(pilot, lambda: len(pilot.app.screen_stack) == stack, "the screen to be left")
            assert "slow one" in screen_text(pilot)
            proxy.delay = 0.0
            proxy.cut()
