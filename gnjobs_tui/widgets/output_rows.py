"""Draws one row of an output: line number, time, text, and search matches; also the scroll bar."""

from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from gnjobs.outputs.lines import Hole
from gnjobs_tui.outputs.pager import Row
from gnjobs_tui.outputs.search import Query
from gnjobs_tui.outputs.seen import SeenLine
from gnjobs_tui.style import GLYPHS, Palette, fit

LEAST_DIGITS = 3
SIGN_WIDTH = 2
TIME_WIDTH = 10
CURSOR_SIGN, PARTIAL_SIGN = ">", "+"


class Layout(NamedTuple):
    """How rows are drawn: the width in cells, the digits of a line number, and what is shown of a line."""

    width: int
    digits: int
    times: bool = False
    left: int = 0
    query: Query | None = None

    @property
    def gutter(self) -> int:
        """Cells in front of the text."""
        return self.digits + SIGN_WIDTH + (TIME_WIDTH if self.times else 0)

    @property
    def text_width(self) -> int:
        """Cells for the text, the scroll bar's not among them."""
        return max(1, self.width - self.gutter - 1)


def time_text(at: float | None) -> str:
    """The time of day when a line was written."""
    return "" if at is None else f"{datetime.fromtimestamp(at):%H:%M:%S}"


def draw_row(row: Row, text: str, layout: Layout, palette: Palette, *, is_cursor: bool) -> Strip:
    """Draw one row of an item, exactly the layout's width but for the scroll bar."""
    gutter = Segment(_gutter(row, layout, is_cursor), palette.style("dim", is_cursor=is_cursor))
    if isinstance(row.item, Hole):
        token, shown = "warning", fit(row.item.words, layout.text_width)
        body = [Segment(shown, palette.style(token, is_cursor=is_cursor))]
    else:
        style = palette.style(row.item.token, is_cursor=is_cursor)
        body = list(_text(text, layout, style))
    return Strip([gutter, *body]).adjust_cell_length(
        layout.width - 1, palette.style("plain", is_cursor=is_cursor)
    )


def _gutter(row: Row, layout: Layout, is_cursor: bool) -> str:
    sign = (CURSOR_SIGN if is_cursor and row.part == 0 else "").ljust(SIGN_WIDTH)
    time = ""
    if layout.times:
        at = row.item.at if isinstance(row.item, SeenLine) and row.part == 0 else None
        time = time_text(at).ljust(TIME_WIDTH)
    return _number(row, layout.digits) + sign + time


def _number(row: Row, digits: int) -> str:
    if row.part or isinstance(row.item, Hole):
        return " " * digits
    return (PARTIAL_SIGN if row.item.is_partial else str(row.item.number)).rjust(digits)


def _text(text: str, layout: Layout, style: Style) -> list[Segment]:
    """The part of a text that is in sight, its ends marked where it goes on, matches reversed."""
    strip = Strip(_marked(text, layout.query, style))
    length, end = cell_len(text), layout.left + layout.text_width
    begins_before, goes_on = layout.left > 0 and length > 0, length > end
    cropped = strip.crop(layout.left + begins_before, end - goes_on)
    mark = Segment(GLYPHS.cut, style)
    return [*([mark] if begins_before else []), *cropped, *([mark] if goes_on else [])]


def _marked(text: str, query: Query | None, style: Style) -> list[Segment]:
    spans = query.spans(text) if query is not None else []
    segments, position = [], 0
    for start, end in spans:
        segments += [
            Segment(text[position:start], style),
            Segment(text[start:end], style + Style(reverse=True)),
        ]
        position = end
    return [segment for segment in (*segments, Segment(text[position:], style)) if segment.text]


def scroll_bar(height: int, first: int, last: int, top: int, bottom: int) -> range:
    """The rows of the scroll bar's thumb when lines `top` to `bottom` of `first` to `last` are on screen."""
    total = last - first + 1
    if total <= bottom - top + 1 or height < 1:
        return range(0)
    size = max(1, height * (bottom - top + 1) // total)
    start = round((height - size) * (top - first) / max(1, total - (bottom - top + 1)))
    start = max(0, min(start, height - size))
    return range(start, start + size)
