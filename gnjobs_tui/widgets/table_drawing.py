"""How the lines of a table look: cells become a line of few differently styled pieces, since each costs bytes."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from gnjobs_tui.styling import GLYPHS, Cell, Palette, fit, safe
from gnjobs_tui.widgets.columns import Column, Placed, place

CURSOR_SIGN, MARK_SIGN = ">", "*"
INDENT = 2

Cells = dict[str, Cell]
Order = tuple[str, bool]
_BLANK = Cell("")


def signs(is_cursor: bool, is_marked: bool) -> str:
    """What stands before a row."""
    return ((CURSOR_SIGN if is_cursor else "") + (MARK_SIGN if is_marked else "")).ljust(INDENT)


class TableDrawing:
    """Draws for one set of columns, one width and one theme."""

    def __init__(self, columns: Sequence[Column], width: int, palette: Palette) -> None:
        self.placed = place(columns, width - 1, INDENT)
        self._width = width
        self._palette = palette

    def heading(self, order: Order | None = None) -> Strip:
        """The titles; that of the column which sorts has an arrow, if there is room."""
        text = " " * INDENT
        for placed in self.placed:
            text = text.ljust(placed.x) + fit(_title(placed, order), placed.width, placed.column.align)
        return Strip([Segment(fit(text, self._width), self._palette.header)], self._width)

    def blank(self, text: str = "") -> Strip:
        """A line without a row."""
        shown = fit(" " * INDENT + safe(text), self._width)
        return Strip([Segment(shown, self._palette.style("dim"))], self._width)

    def row(self, cells: Cells, is_cursor: bool, is_marked: bool) -> Strip:
        """A row; that of the cursor keeps the colour of its first column alone.

        Its last cell is always blank: to redraw up to there would send the scrollbar too.
        """
        runs = _Runs(signs(is_cursor, is_marked))
        for number, placed in enumerate(self.placed):
            cell = cells.get(placed.column.id, _BLANK)
            runs.add(" " * (placed.x - runs.width), placed.x - runs.width)
            token = "plain" if is_cursor and number else cell.token
            style = self._palette.style(token, is_cursor=is_cursor) if cell.text else None
            runs.add(fit(safe(cell.text), placed.width, placed.column.align), placed.width, style)
        runs.add(" " * (self._width - 1 - runs.width), self._width - 1 - runs.width)
        segments = [*runs.segments(), Segment(" ", self._palette.style("plain"))]
        return Strip(segments).adjust_cell_length(self._width)


class _Runs:
    """Pieces of text with their styles; blanks, which have none, belong to the piece before them."""

    def __init__(self, first: str) -> None:
        self._texts: list[str] = [first]
        self._styles: list[Style | None] = [None]
        self.width = len(first)

    def add(self, text: str, width: int, style: Style | None = None) -> None:
        self.width += max(0, width)
        if style is None or self._styles[-1] in (None, style):
            self._texts[-1] += text
            self._styles[-1] = self._styles[-1] or style
        else:
            self._texts.append(text)
            self._styles.append(style)

    def segments(self) -> list[Segment]:
        return [Segment(text, style) for text, style in zip(self._texts, self._styles, strict=True)]


def _title(placed: Placed, order: Order | None) -> str:
    title = placed.column.title
    if order is None or order[0] != placed.column.id or len(title) >= placed.width:
        return title
    return title + (GLYPHS.down if order[1] else GLYPHS.up)
