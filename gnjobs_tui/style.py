"""Turns data into styled text, the only place that does: made safe first, never read as markup. Themes, too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.content import Content
from textual.scrollbar import ScrollBarRender
from textual.theme import Theme

from gnjobs.health.states import STATES, State
from gnjobs.text import safe_line
from gnjobs_tui.glyphs import Glyphs, drawable, glyphs_of_terminal

LONGEST_CELL = 2000
# The class of an app on a terminal of 16 colours: the cursor's grey there leaves no other colour readable.
FEW_COLORS = "-few-colors"

# Colour tokens in Textual's words; the same names colour cells, lines and the command line.
_CONTENT_STYLES: Final = {
    "plain": "",
    "dim": "dim",
    "bold": "bold",
    "accent": "$accent",
    "success": "$success",
    "warning": "$warning",
    "warning-bold": "bold $warning",
    "error": "$error",
    "error-bold": "bold $error",
    "reverse": "reverse",
}
_STATE_OF_WORD: Final[Mapping[str, State]] = {state.word: state for state in STATES}

GLYPHS: Final[Glyphs] = glyphs_of_terminal()


class Cell(NamedTuple):
    """A piece of text with the name of its colour; the text may be anything, and is made safe when it is drawn.

    In a table it may have a `value` to sort by, where the text would sort otherwise.
    """

    text: str
    token: str = "plain"
    value: float | None = None


Part = Cell | str
Parts = Sequence[Part]


def safe(text: str, longest: int = LONGEST_CELL) -> str:
    """One line of harmless text, cut where nobody could read on."""
    cut = text[:longest] + GLYPHS.cut if len(text) > longest else text
    return drawable(safe_line(cut))


def content(*parts: Part) -> Content:
    """Styled text of harmless parts, for widgets, titles and toasts."""
    cells = [part if isinstance(part, Cell) else Cell(part) for part in parts]
    return Content.assemble(*((safe(cell.text), _CONTENT_STYLES[cell.token]) for cell in cells))


def lines(rows: Iterable[Iterable[Part]]) -> Content:
    """Several lines of styled text."""
    return Content("\n").join(content(*row) for row in rows)


def spread(left: Content, right: Content, width: int) -> Content:
    """Put one text at the left and one at the right end of a line; the left one is cut where both don't fit."""
    room = width - right.cell_length
    return Content.assemble(left.truncate(max(0, room - 1), ellipsis=True, pad=True), " ", right)


def state_named(word: str) -> State:
    """The state that a row's word stands for."""
    return _STATE_OF_WORD[word]


def state_cell(state: State) -> Cell:
    """A state as symbol and word, colour on top."""
    symbol = state.ascii_symbol if GLYPHS.is_ascii else state.symbol
    return Cell(f"{symbol} {state.word}", state.token)


def fit(text: str, width: int, align: str = "left") -> str:
    """Make a text exactly so many cells wide; a cut one ends in a mark."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + GLYPHS.cut if width > 1 else set_cell_size(text, width)
    padding = " " * (width - length)
    return padding + text if align == "right" else text + padding


def cropped(text: str, width: int) -> str:
    """As much of a text as so many cells have room for; a cut one ends in a mark."""
    return fit(text, min(cell_len(text), width))


class AsciiBars(ScrollBarRender):
    """Scrollbars whose ends are not drawn to the eighth of a cell."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


class Palette:
    """Colours of a theme as Rich styles, for what is drawn line by line."""

    def __init__(self, variables: Mapping[str, str], *, few_colors: bool = False) -> None:
        self._few_colors = few_colors

        def color(name: str) -> str:
            return Color.parse(variables[name]).hex6 if name in variables else "default"

        self.background = color("background")
        self.header = Style(bold=True, bgcolor=color("surface"), color=color("foreground"))
        self._cursor = color("panel")
        plain = Style(color=color("foreground"))

        def parsed(words: str) -> Style:
            said = (color(word[1:]) if word.startswith("$") else word for word in words.split())
            return plain + Style.parse(" ".join(said))

        self._colors = {token: parsed(words) for token, words in _CONTENT_STYLES.items()}
        self._colors["dim"] = Style(color=_mixed(color("foreground"), self.background))

    def style(self, token: str, *, is_cursor: bool = False) -> Style:
        """The style of a token, on the cursor's row or not."""
        ground = self._cursor if is_cursor else self.background
        return _on(self._colors["bold" if is_cursor and self._few_colors else token], ground)


def palette_of(app: App[Any]) -> Palette:
    """The colours of an app's theme, for its terminal."""
    return Palette(app.get_css_variables(), few_colors=app.has_class(FEW_COLORS))


@lru_cache(maxsize=256)
def _on(style: Style, ground: str) -> Style:
    return style + Style(bgcolor=ground)


def _mixed(foreground: str, background: str) -> str:
    return Color.parse(foreground).blend(Color.parse(background), 0.4).hex6


def _grounds(track: str, chosen: str) -> dict[str, str]:
    """Colours of scrollbars and of a chosen row: a track that is not seen need not be sent, a tint may be lost."""
    tracks = ("scrollbar-background", "scrollbar-background-hover", "scrollbar-background-active")
    rows = ("block-cursor-background", "block-cursor-blurred-background", "block-hover-background")
    grounds = dict.fromkeys((*tracks, "scrollbar-corner-color"), track)
    return grounds | dict.fromkeys(("scrollbar", *rows), chosen) | {"block-cursor-blurred-text-style": "bold"}


# Greys that are hardly tinted: what is left of a tint in 256 colours would be black.
DARK: Final = Theme(
    name="gnjobs-dark",
    primary="#5aaef0",
    secondary="#3c7db3",
    accent="#5aaef0",
    success="#6cc37c",
    warning="#f2b134",
    error="#ff6f6f",
    foreground="#d7dde3",
    background="#11161b",
    surface="#21252b",
    panel="#37404a",
    variables=_grounds("#11161b", "#37404a"),
)
LIGHT: Final = Theme(
    name="gnjobs-light",
    primary="#0a58a8",
    secondary="#5b84ad",
    accent="#0a58a8",
    success="#1a7a36",
    warning="#955600",
    error="#b3221c",
    foreground="#1d2329",
    background="#fbfbf8",
    surface="#eceae3",
    panel="#cfe0f1",
    dark=False,
    variables=_grounds("#fbfbf8", "#cfe0f1"),
)
OUR_THEMES: Final = (DARK, LIGHT)


def without_colors(theme: Theme) -> Theme:
    """The theme for where there are no colours: what is wrong would be a darker grey than what is right."""
    plain = theme.foreground
    return replace(theme, success=plain, warning=plain, error=plain)


_SHORT_NAMES: Final = {"dark": DARK.name, "light": LIGHT.name}


def theme_named(name: str | None, available: Iterable[str]) -> str | None:
    """The theme that is meant by `dark`, `light` or a name of Textual's; None where there is no such theme."""
    wanted = DARK.name if name is None else _SHORT_NAMES.get(name, name)
    return wanted if wanted in available else None
