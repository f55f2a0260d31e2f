"""The base class of all screens: header, back, help, reload, event log, and news of changed jobs."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from msgspec import structs
from textual import getters
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker

from gnjobs.records.actor import Action
from gnjobs.watch.rows import Change, FeedState
from gnjobs_tui.keys import CHANGES, Argument, Keys, bind, footer, key_event, key_name
from gnjobs_tui.screens.dashboard import Dashboard
from gnjobs_tui.style import GLYPHS, Cell, Part, content, cropped
from gnjobs_tui.widgets.line import Line

# What acts on nothing that the screen in front shows.
_ANYTIME = frozenset({"help", "reload", "app.log", "app.users", "app.hosts", "app.pulse"})
LONGEST_HELD = 20
_GAP = "   "
# A narrower screen shows fewer keys, and shorter words.
NARROW = 90


class Failed(Message):
    """A worker could not do its work; the text says why in one (untrusted) line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


def clock_seconds(at: float) -> str:
    """A time of day, to the second."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def feed_parts(state: FeedState) -> Sequence[Part]:
    """How changes arrive, for the header; where they don't, since when and why."""
    since = clock_seconds(state.since) if state.since else ""
    match state.kind:
        case "live":
            return [Cell("live", "success"), *([Cell(f" {state.why}", "warning")] if state.why else [])]
        case "polling":
            return [Cell(f"polling: {state.why}", "warning")]
        case "away":
            return [Cell(f"AWAY since {since}{': ' if state.why else ''}{state.why}", "error-bold")]
        case _:
            return [Cell("connecting", "dim")]


class WatchScreen(Screen[Any]):
    """A screen over the catalogue. `draw_content` shows what is known now; `changed` hears of news in Redis."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "back", "Back", "screen.back"),
        bind("q", "leave", "Back, or quit", "screen.leave"),
        bind("question_mark", "help", "All keys of this screen", "screen.help"),
        bind("ctrl+r", "reload", "Reload", "screen.reload"),
        bind("L", "app.log", "Event log", "screen.log"),
    ]

    dashboard = getters.app(Dashboard)
    has_failed = False

    @property
    def takes_keys(self) -> bool:
        """Whether what keys act on is there; until then they wait."""
        return self.is_mounted

    def needs_nothing(self, key: str) -> bool:
        """Whether a key acts on nothing that this screen shows, and so need not wait for it."""
        active = self.active_bindings.get(key)
        return active is not None and active.binding.action in _ANYTIME

    def trail(self) -> Sequence[Part]:
        """Where we are, for the header, after the name of the program."""
        return []

    def offers(self, action: str) -> bool:
        """Whether the actor may do this at all; keys and commands that are not offered are not shown."""
        return action not in CHANGES or self.dashboard.actor.may(CHANGES[action])

    def is_refused(self, action: Action) -> bool:
        """Say it where the actor may never do this."""
        refusal = self.dashboard.actor.refusal(action)
        if refusal is not None:
            self.dashboard.say(refusal, is_error=True)
        return refusal is not None

    @property
    def can_be_killed(self) -> bool:
        """Whether what keys act on has not ended."""
        return True

    def arguments(self) -> Sequence[Argument]:
        """The commands of the palette that take a word: here, the user whose jobs are to be shown."""
        if self.dashboard.actor.only_user:
            return []
        return [Argument("user", "this user's jobs", self._users_named)]

    def _users_named(self, typed: str) -> Iterator[tuple[str, Callable[[], None]]]:
        app = self.dashboard
        for user in sorted(filter(None, app.jobs.catalogue.user_counts())):
            if user.startswith(typed) or app.config.name_of(user).casefold().startswith(typed.casefold()):
                yield user, partial(app.open_jobs_of, user)

    def shown_key(self, name: str) -> str:
        """The key that the configuration puts in a key's place on this screen."""
        usual, key = self.dashboard.usual_keys, key_event(name).key
        for bound, active in self.active_bindings.items() if usual else ():
            if key in usual.get(active.binding.id or "", ()):
                return key_name(bound)
        return name

    @property
    def is_narrow(self) -> bool:
        """Whether there is no room for all keys and words."""
        return self.size.width < NARROW

    @property
    def keys(self) -> Keys:
        """The keys of this screen that its last line is to show."""
        return ()

    def show_keys(self) -> None:
        """Show the keys that the actor may use and that would do something, as far as there is room."""
        has_kill = self.offers("kill") and self.can_be_killed
        allowed = [
            (" ".join(map(self.shown_key, key.split())), about)
            for key, about in self.keys
            if key != "K" or has_kill
        ]
        shown, spans = footer(allowed, self.size.width)
        self.query_one("#footer", Line).show(shown, keys=spans)

    def on_line_pressed(self, message: Line.Pressed) -> None:
        """Do what the key does that was clicked, in turn with those that are typed."""
        # The app's own, as those from the terminal are: one that a screen sent would go no further than to it.
        self.dashboard.typed.add(key_event(message.key).set_sender(self.app))

    def unread(self, words: str = "reading …") -> str:
        """What stands in place of what was not read yet: words, or why nothing can be read."""
        feed = self.dashboard.feed
        return feed.why + self.dashboard.config.unset if feed.kind == "away" else words

    def header(self) -> Line:
        """Make the header line."""
        return Line(id="header", classes="top")

    def draw_header(self) -> None:
        """Show where we are, how changes arrive, and who acts."""
        app = self.dashboard
        role = "read-only" if app.actor.read_only else app.actor.role
        left, right = self._ends(content(f"{app.actor.name} ({role})"))
        if held := app.typed.held:
            right = content(Cell(f"{cropped(held, LONGEST_HELD)} will act once this is read", "warning"))
        self.query_one("#header", Line).show(left, right)

    def _ends(self, me: Content) -> tuple[Content, Content]:
        """Both ends of the header; where there is no room to say why nothing arrives, it is where we are that stays."""
        app, trail = self.dashboard, self.trail()
        start, feed = content(Cell("gnjobs", "bold"), " "), content(*feed_parts(app.feed))
        if trail:
            here = Content.assemble(start, content(f"{GLYPHS.into} ", *trail))
            since = content(*feed_parts(structs.replace(app.feed, why="")))
            ways = [(here, Content.assemble(said, _GAP, me)) for said in (feed, since)]
        else:  # why mostly names the server, and no place but this tells it
            places = (f"  redis {app.place}  ", "  ")
            ways = [(Content.assemble(start, place, feed), me) for place in places]
        is_cut = sum(end.cell_length for end in ways[0]) >= self.size.width
        return ways[1] if is_cut and app.feed.kind == "away" else ways[0]

    def draw(self) -> None:
        """Show what is known now: the header, what the screen is for, and the keys."""
        if self.is_mounted:
            self.draw_header()
            self.draw_content()
            self.show_keys()

    def draw_content(self) -> None:
        """Show what the screen is for."""

    def on_resize(self) -> None:
        """Lay out for the new size."""
        self.draw()

    def changed(self, change: Change) -> None:
        """Hear what changed in Redis."""

    def on_screen_resume(self) -> None:
        """Show what changed while another screen was in front."""
        self.draw()

    def work(self, action: Callable[[], None], group: str) -> "Worker[None]":
        """Do something slow in a thread, in place of what the group did before; failures become a line."""

        def attempt() -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - a worker that fails in silence leaves a screen that waits
                self.post_message(Failed(self.dashboard.explain(error)))

        return self.run_worker(attempt, thread=True, exit_on_error=False, exclusive=True, group=group)

    def on_failed(self, message: Failed) -> None:
        """Say what could not be done."""
        self.has_failed = True
        self.dashboard.say(message.text, is_error=True)

    @property
    def is_first(self) -> bool:
        """Whether there is no screen to go back to."""
        return self.app.screen_stack[0] is self

    def action_back(self) -> None:
        """Go back, unless this is the first screen."""
        if not self.is_first:
            self.app.pop_screen()

    def action_leave(self) -> None:
        """Go back, or quit from the first screen."""
        if self.is_first:
            self.app.exit()
        else:
            self.app.pop_screen()

    def action_help(self) -> None:
        """Show every key."""
        from gnjobs_tui.screens.dialogs import HelpScreen

        self.app.push_screen(HelpScreen(self))

    def reload(self) -> None:
        """Read again what is shown: here, all jobs."""
        self.dashboard.jobs.watcher.refresh()

    def action_reload(self) -> None:
        """Read again, and send the whole screen again."""
        self.reload()
        self.dashboard.repaint()
