"""Sends the terminal only those cells that look different from what it shows already, whatever Textual draws anew.

Textual redraws the whole screen for each dialog, screen and scroll; over a slow line that takes seconds.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from gnjobs_tui.style import ASCII_CUT_MARK, CUT_MARK, GLYPHS

# To go to another place takes as many bytes as to send so many cells again.
SHORTEST_GAP = 8
# Bold and dim, which a blank does not show.
_UNSEEN = frozenset({"", "1", "2"})

Cell = tuple[str, Style]
_NO_CELL: Cell = ("", Style.null())


class Painter:
    """Remembers what is on the terminal, a strip for each line."""

    def __init__(self) -> None:
        self._shown: list[Strip] = []

    def forget(self) -> None:
        """Take nothing as shown: something else may have written on the terminal."""
        self._shown = []

    def changes(self, update: object) -> CompositorUpdate | None:
        """What has to be sent for an update of Textual's; None for nothing."""
        if isinstance(update, LayoutUpdate):
            rows = [Strip.join(line) for line in update.strips]
            before, self._shown = self._shown, rows
            if len(before) != len(rows) or before[0].cell_length != rows[0].cell_length:
                whole = [(0, y, cells_of(row)) for y, row in enumerate(rows)]
                return Changes(whole) if GLYPHS.is_ascii else update
            lines = list(enumerate(zip(before, rows, strict=True)))
        elif isinstance(update, ChopsUpdate) and self._shown:
            lines = [(y, self._apply(update, y)) for y in sorted({y for y, _, _ in update.spans})]
        else:
            return update if isinstance(update, CompositorUpdate) else None
        runs = [
            (x, y, cells) for y, (old, new) in lines if old != new for x, cells in _changed_runs(old, new)
        ]
        return Changes(runs) if runs else None

    def _apply(self, update: ChopsUpdate, y: int) -> tuple[Strip, Strip]:
        before = row = self._shown[y]
        for x, strip in update.chops[y].items():
            if strip is not None:
                row = Strip.join([row.crop(0, x), strip, row.crop(x + strip.cell_length)])
        self._shown[y] = row
        return before, row


def cells_of(strip: Strip) -> list[Cell]:
    """Each cell of a line; a wide character is in its first, and what joins a character is with it."""
    cells: list[Cell] = []
    for text, given, _ in strip:
        # Textual notes in the style where a piece of text begins: that is no difference to be seen.
        style = Style.null() if given is None else given.clear_meta_and_links()
        blank = _of_blank(style)
        for character in text:
            width = get_character_cell_size(character)
            if width:
                cells.append((character, blank if character == " " else style))
                cells += [("", style)] * (width - 1)
            elif cells:
                cells[-1] = (cells[-1][0] + character, style)
    return cells


@lru_cache(maxsize=1024)
def _of_blank(style: Style) -> Style:
    """What is seen of a style where there is no character."""
    marks = style.reverse or style.underline or style.underline2 or style.overline or style.strike
    return style if marks else Style(bgcolor=style.bgcolor)


def _changed_runs(before: Strip, after: Strip) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Where a line differs; places that lie close together are one."""
    old, new = cells_of(before), cells_of(after)
    old += [_NO_CELL] * (len(new) - len(old))
    start = end = -1
    for x, (was, cell) in enumerate(zip(old, new, strict=False)):
        if was == cell:
            continue
        if start >= 0 and x - end > SHORTEST_GAP:
            yield _whole(new, start, end)
            start = -1
        start, end = (x if start < 0 else start), x + 1
    if start >= 0:
        yield _whole(new, start, end)


def _whole(cells: list[Cell], start: int, end: int) -> tuple[int, Sequence[Cell]]:
    """A run that cuts no wide character."""
    while start > 0 and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    return start, cells[start:end]


class Changes(CompositorUpdate):
    """Runs of cells with their places, as few escape sequences between them as can be."""

    def __init__(self, runs: Sequence[tuple[int, int, Sequence[Cell]]]) -> None:
        self.runs = runs

    def render_segments(self, console: Console) -> str:
        """What to write to the terminal."""
        colors = console._color_system or ColorSystem.TRUECOLOR
        parts: list[str] = []
        state, at = ("", "", ""), (-1, -1)
        for x, y, cells in self.runs:
            parts.append(f"\x1b[{x - at[0]}C" if y == at[1] else f"\x1b[{y + 1};{x + 1}H")
            at = x + len(cells), y
            for text, style in cells:
                wanted = _codes(style, colors)
                is_seen = text != " " or wanted[0] not in _UNSEEN
                if wanted != state and (is_seen or wanted[2] != state[2] or state[0] not in _UNSEEN):
                    parts.append(_turn(state, wanted))
                    state = wanted
                parts.append(text)
        text = "".join([*parts, "\x1b[0m"])
        return text.replace(CUT_MARK, ASCII_CUT_MARK) if GLYPHS.is_ascii else text


Codes = tuple[str, str, str]


@lru_cache(maxsize=1024)
def _codes(style: Style, colors: ColorSystem) -> Codes:
    """A style's attributes, colour and background as a terminal takes them."""
    of = Strip.render_ansi
    return (
        of(style.without_color, colors),
        of(Style(color=style.color), colors),
        of(Style(bgcolor=style.bgcolor), colors),
    )


def _turn(state: Codes, wanted: Codes) -> str:
    """Go from one style to another; only what differs, unless an attribute does."""
    if state[0] != wanted[0]:
        codes = ["0", *filter(None, wanted)]
    else:
        changed = zip(state[1:], wanted[1:], ("39", "49"), strict=True)
        codes = [now or none for was, now, none in changed if was != now]
    return f"\x1b[{';'.join(codes)}m"
