"""The queue of keys typed ahead."""

import asyncio
import threading
from math import inf

import pytest
from textual import events
from textual.app import App
from textual.screen import Screen

from gnjobs_tui import typeahead
from gnjobs_tui.screens.dialogs import HelpScreen
from gnjobs_tui.screens.job import JobScreen
from gnjobs_tui.screens.log import LogScreen
from gnjobs_tui.typeahead import KeyParser, TypeAhead, Typed
from tests.support.dashboard import dashboard, says, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import write_running


async def test_a_key_that_comes_just_when_the_queue_ran_empty_is_handed_on() -> None:
    handed: list[str] = []

    async def hand_on(typed: Typed) -> None:
        assert isinstance(typed, events.Key)
        handed.append(typed.key)

    app: App[None] = App()
    async with app.run_test():
        queue = TypeAhead(app, hand_on)
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
        queue, screen = TypeAhead(app, hand_on), _Reads()
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


@pytest.fixture
def unread(server: Server, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A job whose screen is read only once this is set."""
    write_running(server, "job-1", label="takes long")
    may_read, read = threading.Event(), JobScreen._take_picture

    def read_later(screen: JobScreen) -> None:
        may_read.wait(60)
        read(screen)

    monkeypatch.setattr(JobScreen, "_take_picture", read_later)
    return may_read


async def test_keys_that_wait_for_a_slow_screen_are_shown_and_then_act(
    server: Server, unread: threading.Event
) -> None:
    try:
        async with dashboard(server) as pilot:
            await pilot.press("enter", "j", "K")
            await shows(pilot, "takes long", "reading …", "j K held until this is read")
            unread.set()
            await shows(pilot, "Kill one job")
            assert "held" not in screen_text(pilot)
    finally:
        unread.set()


async def test_what_needs_nothing_of_a_slow_screen_acts_at_once(
    server: Server, unread: threading.Event
) -> None:
    try:
        async with dashboard(server) as pilot:
            await pilot.press("enter", "question_mark")
            await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
            await pilot.press("escape", "L")
            await until(pilot, lambda: isinstance(pilot.app.screen, LogScreen))
    finally:
        unread.set()


async def test_keys_that_nobody_expects_any_more_are_dropped_and_it_is_said(
    server: Server, unread: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typeahead, "LONGEST_WAIT", 0.3)
    try:
        async with dashboard(server) as pilot:
            await pilot.press("enter")
            await shows(pilot, "reading …")
            await pilot.press("K")
            await says(pilot, "the keys that waited are dropped")
            unread.set()
            await shows(pilot, "the job itself")
            assert "Kill" not in screen_text(pilot)
    finally:
        unread.set()


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
