"""The base of the output screen: it reads and follows the output in threads and passes lines to the view."""

from collections.abc import Sequence
from contextlib import suppress

from redis.exceptions import RedisError
from textual import getters
from textual.app import ComposeResult
from textual.message import Message

from gnjobs.errors import GnjobsError
from gnjobs.watch.rows import Change
from gnjobs_tui.keys import Keys
from gnjobs_tui.outputs.pager import Need
from gnjobs_tui.outputs.reading import News, OutputFollower, OutputSource, read_need
from gnjobs_tui.outputs.seen import Item
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.screens.output_words import (
    OutputState,
    Place,
    place_line,
    read_child_state,
    state_of_row,
    state_parts,
)
from gnjobs_tui.screens.target import Target
from gnjobs_tui.style import Cell, Part, content
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.output_view import OutputView
from gnjobs_tui.widgets.prompt import Prompt

KEYS = (
    ("f", "follow"),
    ("/", "search"),
    ("n N", "next prev"),
    ("g G", "ends"),
    ("w", "wrap"),
    ("t", "times"),
    ("K", "kill"),
    ("s", "save"),
    ("y", "copy"),
    ("?", "help"),
    ("esc", "back"),
)
NARROW_KEYS = (
    ("f", "follow"),
    ("/", "search"),
    ("g G", "ends"),
    ("w", "wrap"),
    ("s", "save"),
    ("K", "kill"),
    ("?", "help"),
    ("esc", "back"),
)
READ_AT_ONCE = 1000
STATE_EVERY = 2.0


class OutputBase(WatchScreen):
    """Shows one output, from its end; `note` is what is said of it for a while."""

    view = getters.query_one("#view", OutputView)
    prompt = getters.query_one("#prompt", Prompt)

    class Told(Message):
        """There is news of the output."""

        def __init__(self, news: News) -> None:
            super().__init__()
            self.news = news

    class Read(Message):
        """Lines that were needed were read; None: they can't be read now."""

        def __init__(self, need: Need, items: list[Item] | None) -> None:
            super().__init__()
            self.need = need
            self.items = items

    class Judged(Message):
        """The child was judged again."""

        def __init__(self, state: OutputState | None) -> None:
            super().__init__()
            self.state = state

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.note = ""
        self.news = News()
        self._last_at: float | None = None
        self.state: OutputState | None = None
        self._is_stale = False
        self._follower: OutputFollower | None = None

    def compose(self) -> ComposeResult:
        """Title, key, lines, place, keys; and a field for what is searched for."""
        yield self.header()
        yield Line(id="key", classes="rule")
        yield OutputView(id="view")
        yield Line(id="place")
        yield Line(id="footer", classes="footer")
        yield Prompt(id="prompt")

    def on_mount(self) -> None:
        """Begin to follow."""
        self.view.focus()
        self.run_worker(self._follow, thread=True, exit_on_error=False, group="follow")
        self._read_state()
        self.set_interval(STATE_EVERY, self._read_state_if_stale)

    def on_unmount(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.stop()

    @property
    def takes_keys(self) -> bool:
        """Whether the output was read, or can't be."""
        return bool(self.news.key or self.news.away)

    @property
    def can_be_killed(self) -> bool:
        """Whether the writer has not ended."""
        return not self.news.has_ended

    def source(self) -> OutputSource:
        """The output; only to be opened in a thread."""
        store = self.dashboard.store_under(self.target.prefix)
        return OutputSource(store, self.target.job_id, self.target.child)

    def trail(self) -> Sequence[Part]:
        """The job's name, the child's, and how it stands."""
        return [*self.target.trail, *state_parts(self.state)]

    def _follow(self) -> None:
        follower = OutputFollower(self.source(), self._tell)
        self._follower = follower
        if self.is_attached:
            follower.start()

    def _tell(self, news: News) -> None:
        with suppress(RuntimeError):  # the app may have ended meanwhile
            self.post_message(self.Told(news))

    def on_output_base_told(self, message: Told) -> None:
        """Take in what became of the output."""
        news = message.news
        self.news = news
        if news.is_new:
            self.view.begin_anew()
        last = news.items[-1] if news.items else None
        self._last_at = getattr(last, "at", None) if last is not None else self._last_at
        self.view.arrive(news.first, news.last, news.items, news.partial)
        self.draw()

    def on_output_view_needed(self, message: OutputView.Needed) -> None:
        """Read what is needed."""
        need = message.need
        self.run_worker(lambda: self._read_lines(need), thread=True, exit_on_error=False, group="read")

    def _read_lines(self, need: Need) -> None:
        items: list[Item] | None = None
        try:
            items = read_need(self.source().open(), need, READ_AT_ONCE)
        except (GnjobsError, RedisError, OSError):
            self.log.warning("an output could not be read; its follower says why")
        self.post_message(self.Read(need, items))

    def on_output_base_read(self, message: Read) -> None:
        """Give the view what it needed."""
        if message.items is None:
            self.view.give_up()
        else:
            self.view.take(message.need, message.items)

    def changed(self, change: Change) -> None:
        """The child may stand otherwise now."""
        self._is_stale |= change.concerns(self.target.key)

    def _read_state_if_stale(self) -> None:
        if self._is_stale and self.is_active:
            self._read_state()

    def _read_state(self) -> None:
        self._is_stale = False
        if self.target.child is not None:
            self.work(self._judge_child, "state")

    def _judge_child(self) -> None:
        target, app = self.target, self.dashboard
        store = app.store_under(target.prefix)
        state = read_child_state(store, target.job_id, target.child or "", app.config.limits)
        self.post_message(self.Judged(state))

    def on_output_base_judged(self, message: Judged) -> None:
        """Show how the child stands."""
        self.state = message.state
        self.draw()

    def on_output_view_moved(self) -> None:
        """Say where one is."""
        self._draw_place()

    def draw(self) -> None:
        """Show where one is, and how the writer stands."""
        row = self.dashboard.jobs.catalogue.get(self.target.key) if self.target.child is None else None
        if row is not None:
            self.state = state_of_row(row)
        super().draw()

    def draw_content(self) -> None:
        """Show the output's key in Redis, and where one is."""
        self.query_one("#key", Line).show(content(Cell(self.news.key, "dim")))
        self._draw_place()

    @property
    def keys(self) -> Keys:
        """Fewer where there is little room."""
        return NARROW_KEYS if self.is_narrow else KEYS

    def _draw_place(self) -> None:
        view = self.view
        written_at = getattr(view.pager.current, "at", None) if view.shows_times else None
        place = Place(view.pager.cursor, view.following, written_at, self.note)
        shown = place_line(place, self.news, self._last_at, self.dashboard.jobs.now(), self.size.width)
        self.query_one("#place", Line).show(shown)

    def say_beside(self, note: str) -> None:
        """Say something on the line under the output until something else is said; the empty text: nothing."""
        self.note = note
        self._draw_place()
