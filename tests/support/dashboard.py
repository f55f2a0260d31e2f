"""The dashboard under Pilot, on a real server, for tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from textual.pilot import Pilot

from gnjobs.records.actor import Actor
from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.config import Config
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.servers import Server

Found = TypeVar("Found")


@asynccontextmanager
async def dashboard(
    server: Server,
    *,
    actor: Actor | None = None,
    size: tuple[int, int] = (100, 30),
    config: Config | None = None,
    user: str | None = None,
) -> AsyncIterator[Pilot[None]]:
    """Open the dashboard and wait until all jobs are loaded."""
    app = GnjobsApp(config or Config(url=server.url), actor or Actor.admin("tux"), user=user)
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        await until(pilot, lambda: app.jobs.progress == 1.0, "all jobs to be loaded")
        table = app.screen.query_one(VirtualTable)
        await until(pilot, lambda: table.cursor_key or not len(app.jobs.catalogue), "the first rows")
        yield pilot


async def until(pilot: Pilot[None], look: Callable[[], Found], what: str = "", limit: float = 60.0) -> Found:
    """Let the app work until what is looked for is true; return it."""
    for _ in range(int(limit / 0.02)):
        if found := look():
            return found
        await pilot.pause(0.02)
    raise AssertionError(f"not within {limit} s: {what or look}; the screen shows\n{screen_text(pilot)}")


def screen_text(pilot: Pilot[None]) -> str:
    """What is on the screen."""
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


async def shows(pilot: Pilot[None], *texts: str) -> str:
    """Wait until the screen shows all of some texts; return the screen."""
    await until(
        pilot, lambda: all(text in screen_text(pilot) for text in texts), f"{', '.join(texts)} on the screen"
    )
    return screen_text(pilot)


async def says(pilot: Pilot[None], *texts: str) -> None:
    """Wait until a toast says all of some texts, however it is broken into lines."""
    await until(
        pilot,
        lambda: any(all(text in told.message for text in texts) for told in pilot.app._notifications),
        f"a toast with {', '.join(texts)}",
    )
