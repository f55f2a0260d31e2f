"""Sends the terminal only those cells that look different from what it shows already, whatever Textual draws anew.

Textual redraws the whole screen for each dialog, screen and scroll; over a slow line that takes seconds.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from gnjobs_tui.glyphs import UNICODE
from gnjobs_tui.style import GLYPHS

# To go to another place takes as many bytes as to send so many cells again.
SHORTEST_GAP = 8
# To erase blanks and pass them takes as many bytes as so many blanks; at the end of a piece nothing is to be passed.
_BLANKS = re.compile(" {12,}")
FEW_BLANKS = 6
# Bold and dim, which a blank does not show.
_UNSEEN = frozenset({"", "1", "2"})

Cell = tuple[str, Style]
_NO_CELL: Cell = ("", Style.null())


def can_erase() -> bool:
    """Whether this terminal, by what is known of its kind, blanks cells in the colour that is set."""
    try:
        import curses
    except ImportError:  # a Python that was built without it
        return False
    try:
        curses.setupterm(fd=sys.__stdout__.fileno())  # type: ignore[union-attr]
        return curses.tigetflag("bce") > 0 and curses.tigetstr("ech") == b"\x1b[%p1%dX"
    except (curses.error, AttributeError, OSError, ValueError):
        return False


class Painter:
    """Remembers what is on the terminal, a strip for each line."""

    def __init__(self, *, erases: bool = False) -> None:
        self._shown: list[Strip] = []
        self._erases = erases

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
                return Changes(whole, erases=self._erases) if GLYPHS.is_ascii else update
            lines = list(enumerate(zip(before, rows, strict=True)))
        elif isinstance(update, ChopsUpdate) and self._shown:
            lines = [(y, self._apply(update, y)) for y in sorted({y for y, _, _ in update.spans})]
        else:
            return update if isinstance(update, CompositorUpdate) else None
        runs = [
            (x, y, cells) for y, (old, new) in lines if old != new for x, cells in _changed_runs(old, new)
        ]
        return Changes(runs, erases=self._erases) if runs else None

    def _apply(self, update: ChopsUpdate, y: int) -> tuple[Strip, Strip]:
        before, parts, end = self._shown[y], list[Strip](), 0
        for x, strip in sorted(update.chops[y].items()):
            if strip is not None:
                parts += [before.crop(end, x), strip] if x > end else [strip]
                end = x + strip.cell_length
        if end < before.cell_length:
            parts.append(before.crop(end))
        self._shown[y] = row = Strip.join(parts)
        return before, row


def cells_of(strip: Strip) -> list[Cell]:
    """Each cell of a line; a wide character is in its first, and what joins a character is with it."""
    cells: list[Cell] = []
    for text, style, _ in strip:
        joining, own = _cells(text, style)
        if joining and cells:
            cells[-1] = (cells[-1][0] + joining, cells[-1][1])
        cells += own
    return cells


@lru_cache(maxsize=1024)
def _cells(text: str, given: Style | None) -> tuple[str, Sequence[Cell]]:
    """The cells of a piece of a line, which is drawn more than once; and with what it joins the cell before it."""
    # Textual notes in the style where a piece of text begins: that is no difference to be seen.
    style = Style.null() if given is None else given.clear_meta_and_links()
    blank = _of_blank(style)
    if text.isascii() and text.isprintable():
        return "", [(character, blank if character == " " else style) for character in text]
    joining, cells = "", list[Cell]()
    for character in text:
        width = get_character_cell_size(character)
        if width:
            cells.append((character, blank if character == " " else style))
            cells += [("", style)] * (width - 1)
        elif cells:
            cells[-1] = (cells[-1][0] + character, style)
        else:
            joining += character
    return joining, cells


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


Codes = tuple[str, str, str]
_PLAIN: Codes = ("", "", "")


class _Piece(NamedTuple):
    """Neighbours of one style, and how far they take the cursor; blanks among them show its background alone."""

    x: int
    y: int
    codes: Codes
    text: str
    width: int
    is_blank: bool


class Changes(CompositorUpdate):
    """Runs of cells with their places, in as few bytes as can be; `erases`: many blanks are asked for, not sent."""

    def __init__(self, runs: Sequence[tuple[int, int, Sequence[Cell]]], *, erases: bool = False) -> None:
        self.runs = runs
        self._erases = erases

    def render_segments(self, console: Console) -> str:
        """What to write to the terminal: from left to right or style by style, whichever is shorter."""
        colors = console._color_system or ColorSystem.TRUECOLOR
        pieces = [piece for x, y, cells in self.runs for piece in _pieces(x, y, cells, colors)]
        if self._erases:
            pieces = [_erasing(piece) for piece in pieces]
        text = min(_written(pieces), _written(_by_style(pieces)), key=len)
        # Textual has a mark of its own for what it cuts.
        return text.replace(UNICODE.cut, GLYPHS.cut) if GLYPHS.is_ascii else text


def _pieces(x: int, y: int, cells: Sequence[Cell], colors: ColorSystem) -> Iterator[_Piece]:
    at, texts, codes, is_blank = x, list[str](), _PLAIN, True
    for text, style in cells:
        wanted = _codes(style, colors)
        is_ground = wanted[2] == codes[2] and wanted[0] in _UNSEEN and codes[0] in _UNSEEN
        if is_ground and text == " ":
            wanted = codes
        elif texts and wanted != codes and not (is_ground and is_blank):
            yield _Piece(at, y, codes, "".join(texts), len(texts), is_blank)
            at, texts, is_blank = at + len(texts), [], True
        codes, is_blank = wanted, is_blank and text == " " and wanted[0] in _UNSEEN
        texts.append(text)
    yield _Piece(at, y, codes, "".join(texts), len(texts), is_blank)


def _erasing(piece: _Piece) -> _Piece:
    """The piece with many blanks erased; the cursor stays to the left of those at its end."""
    if piece.codes[0] not in _UNSEEN:
        return piece
    text = piece.text.rstrip(" ")
    behind = len(piece.text) - len(text)
    if behind <= FEW_BLANKS:
        text, behind = piece.text, 0
    text = _BLANKS.sub(lambda found: "\x1b[{0}X\x1b[{0}C".format(len(found[0])), text)
    return piece._replace(text=text + (f"\x1b[{behind}X" if behind else ""), width=piece.width - behind)


def _by_style(pieces: Sequence[_Piece]) -> Sequence[_Piece]:
    """The pieces of each style together, blanks alone with one whose background is theirs."""
    places: dict[Codes, int] = {}
    grounds: dict[str, int] = {}
    for piece in pieces:
        place = places.setdefault(piece.codes, len(places))
        if not piece.is_blank and piece.codes[0] in _UNSEEN:
            grounds.setdefault(piece.codes[2], place)
    return sorted(
        pieces,
        key=lambda piece: grounds.get(piece.codes[2], -1) if piece.is_blank else places[piece.codes],
    )


def _written(pieces: Sequence[_Piece]) -> str:
    parts: list[str] = []
    state, at = _PLAIN, (-1, -1)
    for x, y, codes, text, width, is_blank in pieces:
        if (x, y) != at:
            parts.append(f"\x1b[{x - at[0]}C" if y == at[1] and x > at[0] else f"\x1b[{y + 1};{x + 1}H")
        if codes != state and not (is_blank and codes[2] == state[2] and state[0] in _UNSEEN):
            parts.append(_turn(state, codes))
            state = codes
        parts.append(text)
        at = x + width, y
    return "".join([*parts, "\x1b[0m"])


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
