"""The view of an output of any length: it draws only what is on screen and holds only what is near it.

It does not read Redis: it posts the lines that it needs (`Needed`) and receives them (`take`, `arrive`).
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from gnjobs_tui.keys import bind
from gnjobs_tui.outputs.pager import Need, Pager, Row
from gnjobs_tui.outputs.search import Query
from gnjobs_tui.outputs.seen import Item, SeenLine
from gnjobs_tui.style import GLYPHS, Palette, palette_of
from gnjobs_tui.widgets.output_rows import LEAST_DIGITS, Layout, draw_row, scroll_bar

COLUMNS_A_STEP = 8


class OutputView(Widget, can_focus=True):
    """Numbered lines with a current one; it may follow the end."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    OutputView { height: 1fr; width: 1fr; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("up,k", "move(-1)", "One line up", "output.up"),
        bind("down,j", "move(1)", "One line down", "output.down"),
        bind("pageup", "page(-1.0)", "One page up", "output.page-up"),
        bind("pagedown", "page(1.0)", "One page down", "output.page-down"),
        bind("ctrl+u", "page(-0.5)", "Half a page up", "output.half-up"),
        bind("ctrl+d", "page(0.5)", "Half a page down", "output.half-down"),
        bind("g,home", "first", "To the first line", "output.first"),
        bind("G,end", "last", "To the last line, and follow", "output.last"),
        bind("left", "sideways(-1)", "Show what is further left", "output.left"),
        bind("right", "sideways(1)", "Show what is further right", "output.right"),
        bind("f", "follow", "Follow the end, or stop following", "output.follow"),
        bind("w", "wrap", "Wrap long lines, or cut them", "output.wrap"),
        bind("t", "times", "Show when lines were written", "output.times"),
    ]

    class Needed(Message):
        """Lines are to be read, and given to `take`."""

        def __init__(self, need: Need) -> None:
            super().__init__()
            self.need = need

    class Moved(Message):
        """The current line, what is known of the output, or how it is shown has changed."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.pager = Pager()
        self.following = True
        self.query_text: Query | None = None
        self.shows_times = False
        self._wraps = False
        self._left = 0
        self._asked: Need | None = None
        self._palette: Palette | None = None
        self._rows: list[Row] = []

    def on_mount(self) -> None:
        """Take the theme's colours, now and when it changes."""
        self.watch(self.app, "theme", self._take_colors)

    def _take_colors(self) -> None:
        self._palette = palette_of(self.app)
        self.refresh()

    def on_resize(self) -> None:
        """Lay out for the new size."""
        self._lay_out()

    @property
    def layout_of_rows(self) -> Layout:
        """How rows are drawn now."""
        digits = max(LEAST_DIGITS, len(str(self.pager.last)))
        return Layout(self.size.width, digits, self.shows_times, self._left, self.query_text)

    def _lay_out(self) -> None:
        self.pager.height = max(1, self.size.height)
        self.pager.wrap_width = self.layout_of_rows.text_width if self._wraps else 0
        if self.following:
            self.pager.go_to_end()
        elif len(self.pager.window):
            self.pager.show_cursor()
        self._show_all()

    def _show_all(self) -> None:
        self._rows = self.pager.rows()
        self.refresh()
        self._ask()
        self.post_message(self.Moved())

    def _ask(self) -> None:
        need = self.pager.need()
        if need is not None and self._asked is None:
            self._asked = need
            self.post_message(self.Needed(need))

    def take(self, need: Need, items: list[Item]) -> None:
        """Take in lines that were needed."""
        if need != self._asked:
            return
        self._asked = None
        before = self._rows
        self.pager.take(need, items)
        if self.following:
            self.pager.go_to_end()
        self._show_changes(before, may_ask=bool(items))

    def give_up(self) -> None:
        """What was needed can't be read now; it is asked for again at the next move."""
        self._asked = None

    def arrive(self, first: int, last: int, items: Sequence[Item], partial: str) -> None:
        """The output has these lines now; `items` are the newest of them."""
        before, digits = self._rows, self.layout_of_rows.digits
        self.pager.first = first
        self.pager.arrive(last, list(items), follow=self.following)
        self.pager.set_partial(partial, follow=self.following)
        if self.layout_of_rows.digits != digits:
            self._lay_out()
        else:
            self._show_changes(before)

    def begin_anew(self) -> None:
        """The output is another one now."""
        self.pager.begin_anew()
        self._asked = None

    def _show_changes(self, before: list[Row], *, may_ask: bool = True) -> None:
        """Redraw only if what is on screen is not what was."""
        self._rows = self.pager.rows()
        if self._rows != before:
            self.refresh()
        if may_ask:
            self._ask()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """Draw one row, or nothing below the last."""
        palette = self._palette or palette_of(self.app)
        layout = self.layout_of_rows
        bar = Segment(GLYPHS.full if y in self._thumb() else " ", palette.style("dim"))
        if y >= len(self._rows):
            return Strip([Segment(" " * (layout.width - 1), palette.style("plain")), bar])
        row = self._rows[y]
        text = self.pager.parts_of(row.item)[row.part]
        drawn = draw_row(row, text, layout, palette, is_cursor=row.item.first == self.pager.cursor)
        return Strip([*drawn, bar])

    def _thumb(self) -> range:
        if not self._rows:
            return range(0)
        top, bottom = self._rows[0].item.first, self._rows[-1].item.last
        return scroll_bar(self.size.height, self.pager.first, self.pager.last, top, bottom)

    def _moved(self, position: tuple[int, int], cursor: int) -> None:
        """Redraw after a move: the two current lines alone where nothing else has moved."""
        if self.pager.position != position:
            self._show_all()
            return
        for y, row in enumerate(self._rows):
            if row.item.first in (cursor, self.pager.cursor):
                self.refresh(Region(0, y, self.size.width - 1, 1))
        self._ask()
        self.post_message(self.Moved())

    def _stop_following_unless_at_end(self) -> None:
        self.following = self.following and self.pager.is_at_end

    def action_move(self, lines: int) -> None:
        """Move the current line."""
        position, cursor = self.pager.position, self.pager.cursor
        self.pager.move(lines)
        self._stop_following_unless_at_end()
        self._moved(position, cursor)

    def action_page(self, pages: float) -> None:
        """Move by pages."""
        rows = int(pages * max(1, self.size.height - 1))
        position, cursor = self.pager.position, self.pager.cursor
        self.pager.page(rows)
        self._stop_following_unless_at_end()
        self._moved(position, cursor)

    def action_first(self) -> None:
        """Go to the first line."""
        self.go_to(1)

    def action_last(self) -> None:
        """Go to the last line, and follow."""
        self.following = True
        self.pager.go_to_end()
        self._show_all()

    def go_to(self, number: int) -> None:
        """Go to a line."""
        self.following = False
        self.pager.go_to(number)
        self._show_all()

    def action_follow(self) -> None:
        """Follow, or stop following."""
        if self.following:
            self.following = False
            self.post_message(self.Moved())
        else:
            self.action_last()

    def action_wrap(self) -> None:
        """Wrap, or don't."""
        self._wraps, self._left = not self._wraps, 0
        self._lay_out()

    def action_times(self) -> None:
        """Show times, or don't."""
        self.shows_times = not self.shows_times
        self._lay_out()

    def action_sideways(self, steps: int) -> None:
        """Show what is further left or right; wrapped lines have nothing there."""
        if not self._wraps:
            widest = max(
                (len(row.item.text) for row in self._rows if isinstance(row.item, SeenLine)), default=0
            )
            self._left = max(0, min(self._left + steps * COLUMNS_A_STEP, widest - 1))
            self.refresh()

    def highlight(self, query: Query | None) -> None:
        """Mark what is searched for."""
        self.query_text = query
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll up."""
        self._scroll(-3)
        event.stop()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll down."""
        self._scroll(3)
        event.stop()

    def _scroll(self, rows: int) -> None:
        position, cursor = self.pager.position, self.pager.cursor
        self.pager.scroll(rows)
        self._stop_following_unless_at_end()
        self._moved(position, cursor)

    def on_click(self, event: events.Click) -> None:
        """Make the line under the mouse the current one, or go where the scroll bar says."""
        if event.x >= self.size.width - 1:
            share = event.y / max(1, self.size.height - 1)
            self.go_to(self.pager.first + round(share * (self.pager.last - self.pager.first)))
        elif event.y < len(self._rows):
            self.go_to(self._rows[event.y].item.first)
