"""The queue of keys typed ahead."""

import asyncio
from math import inf

import pytest
from textual import events
from textual.app import App
from textual.screen import Screen

from gnjobs_tui.typeahead import TypeAhead, Typed


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
        # What Textual makes of one with a key and another escape behind it.
        (events.Key("circumflex_accent", "^"), ["escape"]),
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
