"""Typing into the dashboard from its list of jobs, and telling where that led: in a terminal, or in this process.

In this process keys go the way that they go from a terminal (Textual's parser, the app's queue), and what is compared
is what the screens are about: hundreds of packets take a minute.
"""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from textual._context import visible_screen_stack
from textual.constants import ESCAPE_DELAY
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.outputs.search import Query
from gnjobs_tui.screens.faults import FaultsScreen
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.typeahead import KeyParser
from gnjobs_tui.widgets.output_view import OutputView
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.terminal import Terminal

ENTER, ESC = "\r", "\x1b"
# Escape as terminals with the newer protocol send it, which nothing behind it can change.
PLAIN_ESC = "\x1b[27u"
# Back to the first row of the list of jobs from anywhere.
RETURN = 5 * PLAIN_ESC + "g"
# How to get to a screen from the list of jobs, and what tells that it is there.
SCREENS = {
    "jobs": ("", "3 running 2"),
    "job": (ENTER, "the job itself"),
    "output": ("\rj\r", "line 5 of 5"),
    "log": ("L", "event log"),
    "users": ("u", "Newest"),
    "faults": ("\re", "no such year"),
    "kill": ("K", "Kill one job"),
    "help": ("?", "Keys of this screen"),
    "hosts": ("h", "Agent"),
    "pulse": ("p", "no agent"),
    "timeline": ("\rt", "timeline of its children"),
    "tree": ("\rp", "processes, seen"),
    "stacks": ("b", "stacks at"),
}
# What leads to where a screen begins, if not `g`.
HOME = {"output": "G"}
Place = list[str]
# So long a screen of a terminal looks the same when it is at rest.
QUIET = 0.2
PATIENCE = 10.0
# Workers that change where one is; others only fill in what is said there.
AWAITED = frozenset({"look", "arrange", "search", "read"})
LONGEST = 60.0


class AppTypist:
    """Types into an app that runs in this process."""

    def __init__(self, app: GnjobsApp) -> None:
        self._app = app
        self._parser = KeyParser()
        self._path: list[str] = []
        self._said: dict[str, str] = {}
        self._starts: dict[str, Place] = {}
        app.screen_change_signal.subscribe(app, self._screen_changed, immediate=True)

    def _screen_changed(self, screen: Screen[Any]) -> None:
        if (name := type(screen).__name__) not in self._path[-1:]:
            self._path.append(name)

    async def send(self, keys: str) -> None:
        """Type keys in one packet, which becomes key events as in the driver of a terminal."""
        for message in self._parser.feed(keys):
            self._app.post_message(message.set_sender(self._app))
        # It waits for what may follow an escape, and takes what came meanwhile for one key with it.
        while self._parser._timeout_time is not None:
            await asyncio.sleep(ESCAPE_DELAY)
            for message in self._parser.tick():
                self._app.post_message(message.set_sender(self._app))
        queued = asyncio.Event()
        self._app.call_later(queued.set)
        await queued.wait()

    async def at_rest(self) -> Place:
        """Where one is once every key has acted and what it opened was read."""
        until = time.monotonic() + LONGEST
        while not self._is_at_rest():
            assert time.monotonic() < until, f"never at rest: {self._place()}"
            await asyncio.sleep(0.005)
            self._hear()
        return self._place()

    def _is_at_rest(self) -> bool:
        app, screen = self._app, self._app.screen
        is_current = not isinstance(screen, JobsScreen) or (
            screen._list is not None and screen._list.is_current
        )
        is_ready = app.typed._is_ready() and is_current
        return (
            app.typed.is_idle
            and is_ready
            and not any(worker.group in AWAITED and not worker.is_finished for worker in app.workers)
        )

    def _hear(self) -> None:
        self._said |= {told.identity: _without_ages(told.message) for told in self._app._notifications}

    def _place(self) -> Place:
        self._hear()
        return [*self._screens(), f"by way of {self._path}", f"said {list(self._said.values())}"]

    def _screens(self) -> Place:
        return [line for screen in self._app.screen_stack for line in _told(screen)]

    def text(self) -> Place:
        """What a terminal would show of where one is."""
        visible_screen_stack.set(self._app._background_screens)  # or nothing would be seen behind a dialog
        rows = self._app.screen._compositor.render_strips()
        return _place_of("\n".join(row.text.rstrip() for row in rows))

    async def text_at_rest(self, quiet: float) -> Place:
        """The same once it has not changed for so many seconds."""
        text, since = self.text(), time.monotonic()
        while time.monotonic() < since + quiet:
            await asyncio.sleep(0.02)
            if (now := self.text()) != text:
                text, since = now, time.monotonic()
        return text

    async def go(self, screen: str) -> None:
        """Go back to a screen, from the list of jobs where it was left or is not as it was."""
        if not await self._is_back(screen):
            await self.send(RETURN)
            await self.at_rest()
            for key in SCREENS[screen][0]:
                await self.send(key)
                await self.at_rest()
            self._starts[screen] = self._screens()
        self._app.clear_notifications()
        self._said.clear()
        self._path.clear()

    async def _is_back(self, screen: str) -> bool:
        """Close what stands above a screen, and go to its first row; whether it is then as it was."""
        start = self._starts.get(screen)
        if start is None or self._screens() == start:
            return start is not None
        above = len(self._app.screen_stack) - sum(not line.startswith(" ") for line in start)
        if above < 0:
            return False
        await self.send(above * PLAIN_ESC + HOME.get(screen, "g"))
        await self.at_rest()
        return self._screens() == start

    async def slowly(self, keys: str) -> list[Place]:
        """Type keys one by one; returns where each led."""
        places = []
        for key in keys:
            await self.send(PLAIN_ESC if key == ESC else key)
            places.append(await self.at_rest())
        return places

    async def at_once(self, keys: str) -> Place:
        """Send keys in one packet; returns where they led."""
        await self.send(keys)
        return await self.at_rest()


def _told(screen: Screen[Any]) -> Iterator[str]:
    """What a screen is about, and what keys have changed in it."""
    names = ("_target", "target", "_targets", "_row", "user", "_query", "_kind", "_pid", "note", "_title")
    about = {name: _subject(vars(screen).get(name)) for name in names if vars(screen).get(name)}
    focused = screen.focused
    yield f"{type(screen).__name__} {about}, keys to {focused and (focused.id or type(focused).__name__)}"
    if isinstance(screen, JobsScreen):
        yield _without_ages(f"  {screen.choice.group} {screen.choice.filter} {screen.choice.sort}")
    if isinstance(screen, FaultsScreen):
        yield f"  {screen._list.choice.wanted}"
    for widget in screen.query(Widget):
        if (told := _state(widget)) is not None:
            yield f"  {widget.id}: {told}"


def _subject(value: Any) -> object:
    """The job and child that a target or row is of, else the value."""
    if isinstance(value, Sequence) and not isinstance(value, str | tuple):
        return [_subject(each) for each in value]
    if hasattr(value, "job_id"):
        return value.job_id, value.child
    if isinstance(value, Query):
        return value.text
    if isinstance(value, str):
        return _without_ages(value)
    return getattr(value, "id", value)


def _state(widget: Widget) -> object:
    if isinstance(widget, VirtualTable):
        return widget.cursor_key, len(widget._source), sorted(widget.marks)
    if isinstance(widget, OutputView):
        return widget.pager.cursor, widget.following
    if isinstance(widget, Input):
        is_shown = all(around.display for around in widget.ancestors)
        return (widget.value, widget.cursor_position, is_shown) if is_shown or widget.value else None
    if isinstance(widget, VerticalScroll):
        return widget.scroll_offset.y
    return None


class Typist:
    """Types into a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._starts: dict[str, str] = {}

    def at_rest(self) -> str:
        """The screen once nothing has come for a moment, and not for want of a free processor."""
        text = self._terminal.wait_for_rest(QUIET)
        while self._terminal.is_busy:
            text = self._terminal.wait_for_rest(QUIET)
        return text

    def go(self, screen: str) -> None:
        """Go back to the list of jobs, and from there to a screen; in one go, if that leads to where it led before."""
        if screen in self._starts and self._is_back(screen, RETURN + SCREENS[screen][0]):
            return
        keys, sign = SCREENS[screen]
        while not self._arrives(keys, sign):
            assert self._terminal.is_open, f"the dashboard ended:\n{self._terminal.text}"
        self._starts[screen] = _without_ages(self.at_rest())

    def _is_back(self, screen: str, keys: str) -> bool:
        start = self._starts[screen]
        if _without_ages(self._terminal.text) == start:
            return True
        self._terminal.send(keys)
        with suppress(AssertionError):
            self._terminal.wait_for(lambda text: _without_ages(text) == start, 10 * QUIET)
        return _without_ages(self.at_rest()) == start

    def _arrives(self, keys: str, sign: str) -> bool:
        """Go from the list to where keys lead; a screen that reads for long comes later than the rest before it."""
        while not _is_plain_list(self.at_rest()) and self._terminal.is_open:
            self._terminal.send(ESC)
        self._terminal.send("g")
        self.at_rest()
        for key in keys[:-1]:
            self._terminal.send(key)
            self.at_rest()
        self._terminal.send(keys[-1:])
        with suppress(AssertionError):
            return bool(self._terminal.wait_for(sign, PATIENCE))
        return False

    def at_once(self, keys: str, expected: Place, quiet: float = QUIET) -> Place:
        """Send keys in one packet; returns where they led once that is as expected, or nothing has changed for long."""
        self._terminal.send(keys)
        deadline = time.monotonic() + 15 * quiet
        while (place := _place_of(self.at_rest())) != expected and time.monotonic() < deadline:
            continue
        return place


def _place_of(text: str) -> Place:
    lines = text.splitlines()
    told = [line for line in lines if line.startswith(">") or line.lstrip().startswith(("╭", "│"))]
    return [_without_ages(line) for line in (lines[0].split("live")[0], *told, lines[-1])]


def _is_plain_list(text: str) -> bool:
    return (
        text.startswith("gnjobs   redis") and "│" not in text and "enter open" in text and "── /" not in text
    )


def _without_ages(line: str) -> str:
    """What is said but for numbers, and the room that they take."""
    return " ".join(re.sub(r"\d+", "0", line).split())
