"""The table of every list: it draws only the rows on screen, with a cursor and marks that stay on their rows."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar
from textual.strip import Strip
from textual.widget import Widget

from gnjobs.watch.listing import DEFAULT_SORT, Sort
from gnjobs_tui.keys import bind
from gnjobs_tui.style import palette_of
from gnjobs_tui.widgets.columns import Cells, Column, TableDrawing
from gnjobs_tui.widgets.rows import RowList, SortedSource, TableSource

HEADER_LINES = 1


class VirtualTable(ScrollView, can_focus=True):
    """A virtual table with a cursor, marks and a heading."""

    DEFAULT_CSS = """
    VirtualTable {
        height: 1fr;
        background: $background;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("up,k", "move(-1)", "One row up", "table.up"),
        bind("down,j", "move(1)", "One row down", "table.down"),
        bind("pageup", "page(-1)", "One page up", "table.page-up"),
        bind("pagedown", "page(1)", "One page down", "table.page-down"),
        bind("ctrl+u", "page(-0.5)", "Half a page up", "table.half-up"),
        bind("ctrl+d", "page(0.5)", "Half a page down", "table.half-down"),
        bind("g,home", "first", "To the first row", "table.first"),
        bind("G,end", "last", "To the last row", "table.last"),
        bind("enter", "open", "Open the row", "table.open"),
    ]

    class Moved(Message):
        """The cursor is on another row, or its row may have changed."""

    class Opened(Message):
        """The row of a key was opened."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class HeadingClicked(Message):
        """The title of a column was clicked."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
        pinned: int = 0,
    ) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._pinned = pinned
        self._source: TableSource = RowList([])
        self._empty = ""
        self._shown_sort = DEFAULT_SORT
        self.sort = DEFAULT_SORT
        self._drawing: TableDrawing | None = None
        self._drawing_width = -1
        self._cursor = 0
        self._drawn: dict[int, tuple[str, Cells, bool, bool]] = {}
        self.cursor_key: str | None = None
        self.marks: set[str] = set()

    def on_mount(self) -> None:
        """Take the theme's colours, now and when it changes."""
        self.watch(self.app, "theme", self._forget_drawing)

    def _forget_drawing(self) -> None:
        self._drawing = None
        self.refresh()

    @property
    def drawing(self) -> TableDrawing:
        """How rows look in the width and the theme of now."""
        width = self.scrollable_content_region.width
        if self._drawing is None or self._drawing_width != width:
            self._drawing = TableDrawing(self._columns, width, palette_of(self.app))
            self._drawing_width = width
        return self._drawing

    @property
    def columns(self) -> Sequence[Column]:
        """The columns that are shown where there is room."""
        return self._columns

    @columns.setter
    def columns(self, columns: Sequence[Column]) -> None:
        if columns != self._columns:
            self._columns = columns
            self._forget_drawing()

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._show_cursor()

    @property
    def visible_rows(self) -> range:
        """The positions of the rows on screen."""
        first = self.scroll_offset.y
        return range(first, min(len(self._source), first + self.page_rows))

    def show(self, source: TableSource, *, empty: str = "", sort: Sort = DEFAULT_SORT) -> None:
        """Show these rows, or the same ones as they are now; redraws only what differs.

        `empty` is said where there are none; `sort` tells how they are sorted already, if that is not done here.
        """
        top, offset = self.scroll_offset.y, self._cursor - self.scroll_offset.y
        self._source = source = self._sorted(source)
        self._say_around(empty, self.sort if sort == DEFAULT_SORT else sort)
        found = source.index_of(self.cursor_key) if self.cursor_key is not None else None
        self._cursor = found if found is not None else max(0, min(self._cursor, len(source) - 1))
        if found is None:
            self.cursor_key = source.key_at(self._cursor) if len(source) else None
        self._set_length(len(source) + HEADER_LINES)
        # At the top, what is new pushes the rest down and is seen; elsewhere the cursor keeps its line.
        if self._cursor - top != offset and (top > 0 or self._cursor >= self.page_rows):
            self.scroll_to(y=max(0, self._cursor - offset), animate=False, immediate=True)
        self._redraw_changes()
        self.post_message(self.Moved())

    def sort_by(self, sort: Sort) -> None:
        """Sort what is shown, now and from now on, by a column; by none, leave it as it comes."""
        self.sort = sort
        source = self._source.source if isinstance(self._source, SortedSource) else self._source
        self._source = source
        self.show(source, empty=self._empty)

    def _sorted(self, source: TableSource) -> TableSource:
        column, descending = self.sort
        if column is None:
            return source
        if isinstance(self._source, SortedSource) and self._source.source is source:
            return self._source
        return SortedSource(source, column, descending=descending, pinned=self._pinned)

    def _set_length(self, lines: int) -> None:
        """Move the scrollbar alone: to assign `virtual_size` would lay out the screen and send every row again."""
        before = self.virtual_size.height
        if lines == before:
            return
        self.set_reactive(Widget.virtual_size, Size(self.size.width, lines))
        if lines > before > 0 and self._thumb(lines) == self._thumb(before):
            self.vertical_scrollbar.set_reactive(ScrollBar.window_virtual_size, lines)
        else:
            self._scroll_update(self.virtual_size)

    def _thumb(self, lines: int) -> tuple[int, int]:
        """Where the scrollbar's thumb begins and how long it is, in the eighths of a cell that it is drawn with."""
        eighths = 8 * self.size.height
        return self.scroll_offset.y * eighths // lines, -(-self.size.height * eighths // lines)

    def _say_around(self, empty: str, sort: Sort) -> None:
        if sort != self._shown_sort:
            self._shown_sort = sort
            self._refresh_line(0)
        if empty != self._empty:
            self._empty = empty
            self._refresh_line(HEADER_LINES)

    @property
    def page_rows(self) -> int:
        """How many rows there is room for."""
        return max(1, self.size.height - HEADER_LINES)

    def _redraw_changes(self) -> None:
        rows = self.visible_rows
        for line, index in enumerate(rows, HEADER_LINES):
            if self._drawn.get(line) != self._look(index):
                self._refresh_line(line)
        for line in [line for line in self._drawn if line - HEADER_LINES >= len(rows)]:
            del self._drawn[line]
            self._refresh_line(line)

    def _refresh_line(self, line: int) -> None:
        self.refresh(Region(0, line, self.size.width, 1))

    def _look(self, index: int) -> tuple[str, Cells, bool, bool]:
        key = self._source.key_at(index)
        return key, self._source.cells_at(index), index == self._cursor, key in self.marks

    def render_line(self, y: int) -> Strip:
        """Draw the heading, a row, or nothing."""
        if y < HEADER_LINES:
            return self.drawing.heading(self._shown_sort)
        index = self.scroll_offset.y + y - HEADER_LINES
        if index >= len(self._source):
            self._drawn.pop(y, None)
            return self.drawing.blank(self._empty if index == 0 else "")
        self._drawn[y] = looked = self._look(index)
        return self.drawing.row(*looked[1:])

    def move_to(self, index: int, *, ahead: int = 0) -> None:
        """Put the cursor on the row at a position; where that is out of sight, with so many rows ahead of it."""
        before = self._cursor
        if not len(self._source):
            return
        self._cursor = max(0, min(index, len(self._source) - 1))
        self.cursor_key = self._source.key_at(self._cursor)
        for position in {before, self._cursor}:
            line = position - self.scroll_offset.y + HEADER_LINES
            if HEADER_LINES <= line < self.size.height:
                self._refresh_line(line)
        self._show_cursor(ahead)
        self.post_message(self.Moved())

    def _show_cursor(self, ahead: int = 0) -> None:
        top, rows = self.scroll_offset.y, self.page_rows
        if self._cursor < top:
            self.scroll_to(y=max(0, self._cursor - ahead), animate=False, immediate=True)
        elif self._cursor >= top + rows:
            self.scroll_to(y=self._cursor - rows + 1 + ahead, animate=False, immediate=True)

    def set_marks(self, keys: set[str]) -> None:
        """Mark the rows of these keys, and no other."""
        self.marks = set(keys)
        self._redraw_changes()
        self.post_message(self.Moved())

    def action_move(self, by: int) -> None:
        """Move the cursor by rows; at the edge by half a page ahead, since a scroll by one row sends them all."""
        self.move_to(self._cursor + by, ahead=self.page_rows // 2)

    def action_page(self, pages: float) -> None:
        """Move the cursor by pages."""
        self.move_to(self._cursor + int(pages * max(1, self.page_rows - 1)))

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self.move_to(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self.move_to(len(self._source) - 1)

    def action_open(self) -> None:
        """Open the row of the cursor."""
        if self.cursor_key is not None:
            self.post_message(self.Opened(self.cursor_key))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a double click opens; on the heading, tell which column."""
        if event.y < HEADER_LINES:
            at = [p.column for p in self.drawing.placed if p.x <= event.x < p.x + p.width]
            if at:
                self.post_message(self.HeadingClicked(at[0]))
            return
        index = self.scroll_offset.y + event.y - HEADER_LINES
        if index < len(self._source):
            self.move_to(index)
            if event.chain == 2:
                self.action_open()
