"""The dashboard under Pilot, on a real server, for tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from textual import events
from textual.keys import key_to_character
from textual.pilot import Pilot

from gnjobs.records.actor import Actor
from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.config import Config
from gnjobs_tui.keys import key_event
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.servers import Server

Found = TypeVar("Found")
# A screen that reads for long takes no keys until it has read; tests go on with what they look at meanwhile. Looks of
# at least 2 ms: a busy machine, on which keys take longer, takes longer for each.
LOOKS_FOR_KEYS = 500


class Hands(Pilot[None]):
    """Presses keys and waits until they have acted; Textual's own waits, at each key, until the process uses no CPU."""

    async def press(self, *keys: str) -> None:
        """Press keys as a terminal sends them: all at once."""
        assert isinstance(self.app, GnjobsApp)
        for key in keys:
            self.app.post_message(_typed(key).set_sender(self.app))
        queued = asyncio.Event()
        self.app.call_later(queued.set)
        await queued.wait()
        for _ in range(LOOKS_FOR_KEYS):
            if self.app.typed.is_idle:
                break
            await asyncio.sleep(0.002)
        await self._wait_for_screen()


def _typed(key: str) -> events.Key:
    """The key of a name that Pilot takes: Textual's, or a character; an escape that nothing held back."""
    return (
        key_event(key)
        if len(key) == 1
        else events.Key(key, None if key == "escape" else key_to_character(key))
    )


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
    _remember_toasts(app)
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        await until(pilot, lambda: app.jobs.progress == 1.0, "all jobs to be loaded")
        table = app.screen.query_one(VirtualTable)
        await until(pilot, lambda: table.cursor_key or not len(app.jobs.catalogue), "the first rows")
        try:
            yield Hands(app)
        finally:  # the app is ended from outside: nothing may reach it meanwhile
            app.typed.stop()
            app.jobs.stop()
            await pilot.pause(0.01)


async def until(pilot: Pilot[None], look: Callable[[], Found], what: str = "", limit: float = 60.0) -> Found:
    """Let the app work until what is looked for is true; return it."""
    deadline = time.monotonic() + limit
    while not (found := look()):
        if time.monotonic() > deadline:
            said = "\n".join(f"said  {toast}" for toast in getattr(pilot.app, "toasts", []))
            raise AssertionError(
                f"not within {limit} s: {what or look}; the screen shows\n{screen_text(pilot)}\n{said}"
            )
        await pilot.pause(0.02)
    return found


def screen_text(pilot: Pilot[None]) -> str:
    """What is on the screen."""
    return "\n".join(strip.text.rstrip() for strip in pilot.app.screen._compositor.render_strips())


async def shows(pilot: Pilot[None], *texts: str) -> str:
    """Wait until the screen shows all of some texts; return the screen."""
    await until(
        pilot, lambda: all(text in screen_text(pilot) for text in texts), f"{', '.join(texts)} on the screen"
    )
    return screen_text(pilot)


def _remember_toasts(app: GnjobsApp) -> None:
    """Keep what is said for a moment, which is over before a busy machine lets the test look."""
    show, app.toasts = app.notify, []

    def remember(message: str, **options: Any) -> None:
        app.toasts.append(message)
        show(message, **options)

    app.notify = remember


async def says(pilot: Pilot[None], *texts: str) -> None:
    """Wait until a toast says all of some texts, however it is broken into lines, or has said so."""
    await until(
        pilot,
        lambda: any(all(text in toast for text in texts) for toast in pilot.app.toasts),
        f"a toast with {', '.join(texts)}",
    )
