"""What screens may ask of the app, as a base class of it, so that no screen imports the app."""

import os
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from textual import events
from textual.app import App
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.scrollbar import ScrollBar

from gnjobs.records.actor import Actor
from gnjobs.text import describe, safe_text
from gnjobs.watch.rows import FeedState, JobRow
from gnjobs_tui.config import Config
from gnjobs_tui.live import Watch
from gnjobs_tui.painting import Painter, can_erase
from gnjobs_tui.style import GLYPHS, AsciiBars, Part, content
from gnjobs_tui.typeahead import KeyParser, TypeAhead

if TYPE_CHECKING:
    from gnjobs.store import JobStore
    from gnjobs_tui.screens.kill_run import KillRun

# They act at once, whatever waits before them.
AT_ONCE = frozenset({"ctrl+c", "ctrl+z"})
# How long a key takes to show on the screen: meanwhile nothing else is loaded.
KEY_SECONDS = 0.03
TMUX_SECONDS = 2.0


class Stepped(Message):
    """A kill made a step."""


class Dashboard(App[None]):
    """The app as its screens know it: whose it is, what it watches, and the ways that lead from anywhere."""

    def __init__(self, config: Config, actor: Actor) -> None:
        super().__init__()
        self.config = config
        # The server, as the header names it.
        self.place = describe(config.url)
        self.actor = actor
        users = frozenset(actor.user_ids) if actor.role == "curator" else None
        self.jobs = Watch(self, config, users, self.draw_screens)
        self._stores: dict[str, JobStore] = {}
        self.kill_runs: list[KillRun] = []
        # The keys of what the configuration gives other keys, by the id of the binding.
        self.usual_keys: Mapping[str, Collection[str]] = {}
        self.typed = TypeAhead(
            self, super().on_event, show_held=self.draw_screens, say_dropped=self._say_dropped
        )
        self._painter = Painter(erases=can_erase())
        if GLYPHS.is_ascii:
            self.add_class("-ascii")
            ScrollBar.renderer = AsciiBars

    def get_driver_class(self) -> type[Driver]:
        """The usual one, with our parser of keys."""
        linux_driver.XTermParser = KeyParser  # type: ignore[attr-defined]
        return super().get_driver_class()

    async def on_event(self, event: events.Event) -> None:
        """Queue what is typed, and make what is pasted harmless: fields draw control characters as they are."""
        if isinstance(event, events.InputEvent):
            self.jobs.watcher.hold(KEY_SECONDS)
        if (
            not isinstance(event, events.Key | events.Paste)
            or event.is_forwarded
            or getattr(event, "key", None) in AT_ONCE
        ):
            await super().on_event(event)
            return
        if isinstance(event, events.Paste):
            event.text = safe_text(event.text)
        self.typed.add(event)

    def _say_dropped(self) -> None:
        self.say("this screen takes too long to read; the keys that waited were dropped", is_error=True)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Send only what looks different now; Textual would send the whole screen for a dialog."""
        is_sent = not self._batch_count and not self.is_headless
        shown: Any = self._painter.changes(renderable) if is_sent else renderable
        super()._display(screen, shown)

    def repaint(self) -> None:
        """Send the whole screen again: something else may have written on the terminal."""
        self._painter.forget()
        self.screen.refresh()

    def draw_screens(self) -> None:
        """Show on the screens what is known now."""
        raise NotImplementedError

    def open_jobs_of(self, user: str) -> None:
        """Show one user's jobs."""
        raise NotImplementedError

    def open_jobs(self, query: str) -> None:
        """Show the jobs that a filter finds."""
        raise NotImplementedError

    def run_kill(self, run: "KillRun", *, force: bool = False) -> None:
        """Kill in a thread that outlives the dialog; its steps come back as messages.

        Where Redis is known to be away nothing is tried, and the run says so at once.
        """
        if self.feed.kind == "away" and run.refuse():
            self.post_message(Stepped())
            return
        kill = partial(run.run, lambda: self.post_message(Stepped()), force=force)
        self.run_worker(kill, thread=True, exit_on_error=False, group="kill")

    @property
    def feed(self) -> FeedState:
        """How changes arrive."""
        return self.jobs.state

    def store_of(self, row: JobRow) -> "JobStore":
        """The store that holds a job; only to be used in a thread."""
        return self.store_under(row.prefix)

    def store_under(self, prefix: str) -> "JobStore":
        """The store of a prefix; only to be used in a thread."""
        # Imported late: redis would delay the first frame.
        from gnjobs.store import JobStore

        if prefix not in self._stores:
            layout = self.config.layouts.get(prefix)
            self._stores[prefix] = JobStore.from_url(self.config.url, prefix, layout=layout)
        return self._stores[prefix]

    def explain(self, error: BaseException) -> str:
        """Say in one line for a person why something could not be done; only to be used where redis is imported."""
        from redis.exceptions import RedisError

        from gnjobs.records.servers import explain

        if isinstance(error, RedisError):
            return explain(error, self.config.url)
        return str(error) or type(error).__name__

    def copy(self, text: str, what: str) -> None:
        """Give a text to tmux where we are in it, else to the terminal, which may ignore it and never answers."""
        if os.environ.get("TMUX") and not self.is_headless:
            self.run_worker(
                lambda: self._copy_in_tmux(text, what), thread=True, exit_on_error=False, group="copy"
            )
        else:
            self._send_to_clipboard(text, what)

    def _send_to_clipboard(self, text: str, what: str) -> None:
        self.copy_to_clipboard(text)
        self.say(f"sent {what} to the terminal's clipboard")

    def _copy_in_tmux(self, text: str, what: str) -> None:
        import subprocess

        command, given = ["tmux", "load-buffer", "-w", "-"], text.encode("utf-8", "replace")
        try:
            subprocess.run(command, input=given, capture_output=True, timeout=TMUX_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            self.call_from_thread(self._send_to_clipboard, text, what)
        else:
            self.say(f"copied {what} into tmux's buffer, which its prefix and ] paste")

    def say(self, *parts: Part, is_error: bool = False) -> None:
        """Tell something for a moment; the text may be anything."""
        severity: SeverityLevel = "error" if is_error else "information"
        self.notify(content(*parts).plain, severity=severity, markup=False)
