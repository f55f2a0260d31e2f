"""The columns of a table: which of them fit a width, how a row is drawn in them, and how they order rows."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from gnjobs.watch.listing import DEFAULT_SORT, Sort
from gnjobs_tui.style import GLYPHS, Cell, Palette, fit, safe

GAP = 1


class Column(NamedTuple):
    """One column; the lowest `worth` goes first where room is short, `grows` takes the room that is left, as a share.

    Below `from_width` it is left out in any case; `stands_for` names a column in whose absence this one is shown.
    `sort` is what it sorts by, if not by its own cells; `order` says in words what comes first then.
    """

    id: str
    title: str
    width: int
    worth: int
    align: Literal["left", "right"] = "left"
    grows: int = 0
    stands_for: str | None = None
    from_width: int = 0
    sort: str = ""
    order: str = ""

    @property
    def sorts_by(self) -> str:
        """What its title sorts by."""
        return self.sort or self.id

    @property
    def falls(self) -> bool:
        """Whether the largest comes first, as it does with numbers."""
        return self.align == "right"

    @property
    def first(self) -> str:
        """What comes first; empty where nothing can be sorted by it."""
        usual = "largest first" if self.falls else "alphabetical"
        return "" if self.stands_for or not self.title else self.order or usual


# Orders that can be chosen: each with its name, and in words what comes first then.
Orders = Sequence[tuple[Sort, str, str]]


def chosen_order(chosen: Sort, shown: Sort) -> Sort:
    """The order that was chosen; the one that is shown already is turned round."""
    turned = chosen.column == shown.column and chosen.column is not None
    return Sort(chosen.column, not shown.descending) if turned else chosen


class Placed(NamedTuple):
    """A column with its place on the line."""

    column: Column
    x: int
    width: int


def place(columns: Sequence[Column], width: int, indent: int = 0) -> list[Placed]:
    """Choose the columns that fit a width, and place them; one that stands for another is shown in its stead."""
    out = {column.id for column in columns if width < column.from_width}
    kept = [c for c in columns if c.id not in out and (c.stands_for is None or c.stands_for in out)]
    while len(kept) > 1 and indent + sum(column.width + GAP for column in kept) - GAP > width:
        least = min(kept, key=lambda column: column.worth)
        stand_in = next((column for column in columns if column.stands_for == least.id), None)
        kept = [stand_in if column is least else column for column in kept if column is not least or stand_in]  # type: ignore[misc]
    spare = max(0, width - indent - sum(column.width + GAP for column in kept) + GAP)
    shares = sum(column.grows for column in kept)
    placed, x = [], indent
    for column in kept:
        extra = spare * column.grows // shares if column.grows else 0
        placed.append(Placed(column, x, column.width + extra))
        x += column.width + extra + GAP
    return placed


CURSOR_SIGN, MARK_SIGN = ">", "*"
INDENT = 2

Cells = dict[str, Cell]
BLANK = Cell("")
_PLAIN = Style.null()


def signs(is_cursor: bool, is_marked: bool) -> str:
    """What stands before a row."""
    return ((CURSOR_SIGN if is_cursor else "") + (MARK_SIGN if is_marked else "")).ljust(INDENT)


class TableDrawing:
    """Draws for one set of columns, one width and one theme."""

    def __init__(self, columns: Sequence[Column], width: int, palette: Palette) -> None:
        self.placed = place(columns, width - 1, INDENT)
        self._width = width
        self._palette = palette

    def heading(self, sort: Sort = DEFAULT_SORT) -> Strip:
        """The titles; that of the column which sorts has an arrow, if there is room."""
        text = " " * INDENT
        for placed in self.placed:
            text = text.ljust(placed.x) + fit(_title(placed, sort), placed.width, placed.column.align)
        return Strip([Segment(fit(text, self._width), self._palette.header)], self._width)

    def blank(self, text: str = "") -> Strip:
        """A line without a row."""
        shown = fit(" " * INDENT + safe(text), self._width)
        return Strip([Segment(shown, self._palette.style("dim"))], self._width)

    def row(self, cells: Cells, is_cursor: bool, is_marked: bool) -> Strip:
        """A row; that of the cursor keeps the colour of its first column alone."""
        runs = _Runs(signs(is_cursor, is_marked))
        for number, placed in enumerate(self.placed):
            cell = cells.get(placed.column.id, BLANK)
            if not cell.text:
                continue
            runs.add(" " * (placed.x - runs.width), placed.x - runs.width)
            token = "plain" if is_cursor and number else cell.token
            style = self._palette.style(token, is_cursor=is_cursor)
            runs.add(_shown(cell.text, placed.width, placed.column.align), placed.width, style)
        runs.add(" " * (self._width - runs.width), self._width - runs.width)
        return Strip(runs.segments()).adjust_cell_length(self._width)


def _shown(text: str, width: int, align: str) -> str:
    """A cell's text as it is drawn; most cells of a page are short, and say what others do."""
    return _shown_once(text, width, align) if len(text) <= _SHORT else fit(safe(text), width, align)


_SHORT = 40


@lru_cache(4096)
def _shown_once(text: str, width: int, align: str) -> str:
    return fit(safe(text), width, align)


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
        # Where there are no colours, Textual looks into every style.
        return [Segment(text, style or _PLAIN) for text, style in zip(self._texts, self._styles, strict=True)]


def _title(placed: Placed, sort: Sort) -> str:
    title = placed.column.title
    if sort.column != placed.column.sorts_by or len(title) >= placed.width:
        return title
    return title + (GLYPHS.down if sort.descending else GLYPHS.up)
