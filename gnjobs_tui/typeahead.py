"""Queues keys that are typed ahead: each waits until the key before it has acted and the screen it opened is ready.

A slow connection delivers many keys at once. Textual would pass all of them on before the first has acted, and so to
a screen that the first one leaves.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from math import inf
from typing import Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.constants import ESCAPE_DELAY
from textual.message_pump import MessagePump
from textual.screen import Screen

from gnjobs_tui.keys import key_name

# A key reaches its action in the first turn, the message that the action posts is handled in the second, and what
# that one posts in the third.
TURNS = 3
LONGEST_TURN = 1.0
LOOK_EVERY = 0.01
# A screen that takes no keys for so long is told of, and after so long they are dropped: nobody expects them any more.
TOLD_AFTER = 0.5
LONGEST_WAIT = 10.0
# Nobody reads a question and answers it within this time: such an answer was typed before the question was asked.
LEAST_READING = 0.05
ESCAPE = "\x1b"
# Textual holds back an escape behind which nothing comes, as it may begin another key.
HELD_BACK = 2 * ESCAPE_DELAY
# What begins the sequences that terminals send for other keys, and what moves by words in a field.
OF_ONE_KEY = frozenset({"\x1b[", "\x1bO", "\x1bb", "\x1bf", "\x1b\x7f"})
# These leave a screen that takes long to read.
LEAVING = frozenset({"escape", "q"})

Typed = events.Key | events.Paste


class TypeAhead:
    """The queue of keys in front of the app; everything runs on its event loop."""

    def __init__(
        self,
        app: App[Any],
        hand_on: Callable[[Typed], Awaitable[None]],
        *,
        show_held: Callable[[], None],
        say_dropped: Callable[[], None],
    ) -> None:
        self._app = app
        self._hand_on = hand_on
        self._show_held = show_held
        self._say_dropped = say_dropped
        self.held = ""
        self.longest_wait = LONGEST_WAIT
        self._waiting: deque[Typed] = deque()
        self._task: asyncio.Task[None] | None = None
        self._screen: Screen[Any] | None = None
        self._typed_at = inf
        self._asked_at = -inf
        self._shown_at = inf

    def start(self) -> None:
        """Notice from now on when a screen is seen."""
        self._app.screen_change_signal.subscribe(self._app, self._screen_changed, immediate=True)
        self._screen_changed(self._app.screen)

    def add(self, typed: Typed) -> None:
        """Hand on a key, or what was pasted, as soon as all before it has acted."""
        if isinstance(typed, events.Key) and typed.character == ESCAPE:
            typed.time -= HELD_BACK
        self._waiting.append(typed)
        # One that has just come to its end takes no more, though `_ended` was not called yet.
        if self.is_idle:
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._ended)

    def stop(self) -> None:
        """Hand on nothing more."""
        if self._task is not None:
            self._task.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether every key has acted."""
        return self._task is None or self._task.done()

    @property
    def was_seen(self) -> bool:
        """Whether the screen in front can have been seen when the key that acts now was typed."""
        return self._typed_at >= self._asked_at + LEAST_READING

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled() and task.exception() is not None:
            self._app.call_later(task.result)  # raises it where the app handles what its own keys raise

    def _screen_changed(self, screen: Screen[Any]) -> None:
        self._asked_at, self._shown_at = time.monotonic(), inf
        screen.call_after_refresh(partial(self._shown, screen))

    def _shown(self, screen: Screen[Any]) -> None:
        if screen is self._app.screen:
            self._shown_at = time.monotonic()

    async def _run(self) -> None:
        while self._waiting:
            await self._until_ready()
            if not self._waiting:
                break
            typed = self._waiting.popleft()
            self._typed_at = typed.time
            await self._hand_on(typed)
            await self._settle()
        self._typed_at = inf

    async def _until_ready(self) -> None:
        """Wait until the screen in front takes the next key, or until its user or we have had enough of waiting."""
        since = time.monotonic()
        while not self._is_ready():
            waited = time.monotonic() - since
            is_enough = waited > self.longest_wait
            leaving = next((typed for typed in self._waiting if self._leaves_unread(typed, is_enough)), None)
            if leaving is not None:
                while self._waiting[0] is not leaving:
                    self._waiting.popleft()
                break
            if is_enough:
                self._say_dropped()
                self._waiting.clear()
                break
            self._hold(self._names() if waited > TOLD_AFTER else "")
            await asyncio.sleep(LOOK_EVERY)
        self._hold("")
        if self._app.screen is not self._screen:
            self._screen = self._app.screen
            await self._settle()  # it has its focus only then

    def _names(self) -> str:
        return " ".join(
            key_name(typed.key) if isinstance(typed, events.Key) else "what was pasted"
            for typed in self._waiting
        )

    def _hold(self, names: str) -> None:
        if names != self.held:
            self.held = names
            self._show_held()

    def _is_ready(self) -> bool:
        screen, next_one = self._app.screen, next(iter(self._waiting), None)
        needs_nothing: Callable[[str], bool] = getattr(screen, "needs_nothing", lambda _: False)
        is_free = isinstance(next_one, events.Key) and needs_nothing(next_one.key)
        return self._shown_at < inf and (is_free or getattr(screen, "takes_keys", True))

    def _leaves_unread(self, typed: Typed, is_enough: bool) -> bool:
        leaves = isinstance(typed, events.Key) and typed.key in LEAVING
        return leaves and (is_enough or typed.time > self._shown_at)

    async def _settle(self) -> None:
        """Let everything between the focus and the app take its turn."""
        for _ in range(TURNS):
            inner = self._app.focused or self._app.screen
            for node in (*inner.ancestors_with_self, self._app):
                await _turn(node)


class KeyParser(XTermParser):
    """Tells an escape and a key typed right behind it as two keys.

    Textual takes them for one key with alt, of which we have none, or loses the escape: the enter behind it would press
    the button that somebody wanted to leave.
    """

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        is_pair = len(sequence) == 2 and sequence[0] == ESCAPE and sequence not in OF_ONE_KEY
        if alt or is_pair:
            yield events.Key("escape", None)
        yield from super()._sequence_to_key_events(sequence[is_pair:])


async def _turn(node: MessagePump) -> None:
    """Wait until a node has handled all that was posted to it."""
    done = asyncio.Event()
    if node.is_running and node.call_later(done.set):
        try:
            async with asyncio.timeout(LONGEST_TURN):
                await done.wait()
        except TimeoutError:
            pass  # it was closed meanwhile
