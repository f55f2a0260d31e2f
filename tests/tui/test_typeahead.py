"""The queue of keys typed ahead."""

import asyncio

from textual import events
from textual.app import App

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
