"""The queue of keys typed ahead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import pytest
from textual import events
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.config import Config
from gnjobs_tui.screens.dialogs import HelpScreen
from gnjobs_tui.screens.log import LogScreen
from gnjobs_tui.typeahead import KeyParser, TypeAhead, Typed
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.proxy import Proxy, running_proxy
from tests.support.servers import Server
from tests.support.stored_records import write_running

DELAY = 30.0


def do_nothing() -> None:
    """What is held, and that it was dropped, is said to nobody."""


async def test_a_key_that_comes_just_when_the_queue_ran_empty_is_handed_on() -> None:
    handed: list[str] = []

    async def hand_on(typed: Typed) -> None:
        assert isinstance(typed, events.Key)
        handed.append(typed.key)

    app: App[None] = App()
    async with app.run_test():
        queue = TypeAhead(app, hand_on, show_held=do_nothing, say_dropped=do_nothing)
        queue.start()
        queue.add(events.Key("j", "j"))
        task, second_added = queue._task, asyncio.Event()
        assert task is not None
        loop = asyncio.get_running_loop()

        def add_second() -> None:
            """Before anything is called that waits for the end of the first key's task."""
            if task.done():
                queue.add(events.Key("k", "k"))
                second_added.set()
            else:
                loop.call_soon(add_second)

        loop.call_soon(add_second)
        await second_added.wait()
        assert queue._task is not None
        await queue._task
    assert handed == ["j", "k"]


class _Reads(Screen[None]):
    """A screen that has not read yet what keys act on."""

    takes_keys = False


@pytest.mark.parametrize(
    ("escape", "handed"),
    [
        (events.Key("escape", None), ["escape"]),
        # As a terminal sends it, and so told late: it may have come in one packet with what is before it.
        (events.Key("escape", "\x1b"), ["j", "escape"]),
    ],
)
async def test_an_escape_leaves_a_screen_unread_only_if_it_was_typed_when_that_was_seen(
    escape: events.Key, handed: list[str]
) -> None:
    found: list[str] = []

    async def hand_on(typed: Typed) -> None:
        assert isinstance(typed, events.Key)
        found.append(typed.key)

    app: App[None] = App()
    async with app.run_test() as pilot:
        queue, screen = TypeAhead(app, hand_on, show_held=do_nothing, say_dropped=do_nothing), _Reads()
        queue.start()
        await app.push_screen(screen)
        while queue._shown_at == inf:
            await pilot.pause()
        queue.add(events.Key("j", "j"))
        escape.time = queue._shown_at + 0.1
        queue.add(escape)
        await pilot.pause()
        screen.takes_keys = True
        task = queue._task
        if task is not None:
            await task
    assert found == handed


@asynccontextmanager
async def slow_line(server: Server) -> AsyncIterator[tuple[Pilot[None], Proxy]]:
    """The dashboard with a job in its list, and from then on replies that come only once the delay has ended."""
    write_running(server, "job-1", label="takes long")
    with running_proxy(server.port) as proxy:
        async with dashboard(server, config=Config(url=proxy.url)) as pilot:
            proxy.delay = DELAY
            try:
                yield pilot, proxy
            finally:
                proxy.delay = 0.0


async def test_keys_that_wait_for_a_slow_screen_are_shown_and_then_act(server: Server) -> None:
    async with slow_line(server) as (pilot, proxy):
        await pilot.press("enter", "j", "K")
        await shows(pilot, "takes long", "reading …", "j K will act once this is read")
        proxy.delay = 0.0
        await shows(pilot, "Kill one job")
        assert "will act" not in screen_text(pilot)


async def test_what_needs_nothing_of_a_slow_screen_acts_at_once(server: Server) -> None:
    async with slow_line(server) as (pilot, _):
        await pilot.press("enter", "question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await pilot.press("escape", "L")
        await until(pilot, lambda: isinstance(pilot.app.screen, LogScreen))


async def test_keys_that_nobody_expects_any_more_are_dropped_and_it_is_said(server: Server) -> None:
    async with slow_line(server) as (pilot, proxy):
        assert isinstance(pilot.app, GnjobsApp)
        pilot.app.typed.longest_wait = 0.3
        await pilot.press("enter")
        await shows(pilot, "reading …")
        await pilot.press("K")
        await says(pilot, "the keys that waited were dropped")
        proxy.delay = 0.0
        await shows(pilot, "the job itself")
        assert "Kill" not in screen_text(pilot)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("\x1b\rK", ["escape", "enter", "K"]),
        ("\x1b/j\x1bj", ["escape", "slash", "j", "escape", "j"]),
        ("\x1b\x1bk", ["escape", "escape", "k"]),
        ("\x1b\t1", ["escape", "tab", "1"]),
        ("j\x1bOA\x1b[B\x1b[27u", ["j", "up", "down", "escape"]),
        ("\x1bb\x1bf", ["ctrl+left", "ctrl+right"]),
    ],
)
def test_an_escape_is_a_key_of_its_own(sent: str, keys: list[str]) -> None:
    found = list(KeyParser().feed(sent))
    assert [key.key for key in found if isinstance(key, events.Key)] == keys
