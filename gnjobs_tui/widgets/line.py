"""Lines of styled text that redraw only the characters that changed."""

from collections.abc import Iterator, Sequence

from rich.cells import get_character_cell_size
from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from gnjobs_tui.style import spread


class Lines(Widget):
    """A few lines; their number is the widget's height, so that a change never moves anything else."""

    DEFAULT_CSS = """
    Lines { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self._content = Content("")

    def render(self) -> Content:
        """What is shown."""
        return self._content

    def show_lines(self, rows: Sequence[Content]) -> None:
        """Show these lines."""
        content = Content("\n").join(rows)
        if content.is_same(self._content):
            return
        before, self._content = self._strips(), content
        regions = [region for region in changed_regions(before, self._strips()) if region]
        if regions:
            self.refresh(*regions)

    def _strips(self) -> list[Strip]:
        width, height = self.size
        return Visual.to_strips(self, self._content, width, height, self.visual_style) if width else []


class Line(Lines):
    """One line, with something at its left end and perhaps at its right end."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self._ends: tuple[Content, Content | None] = (Content(""), None)

    def show(self, left: Content, right: Content | None = None) -> None:
        """Show a text, and another one at the right end."""
        self._ends = (left, right)
        self._lay_out()

    def on_resize(self) -> None:
        """Put both ends where they belong now."""
        self._lay_out()

    def _lay_out(self) -> None:
        left, right = self._ends
        width = self.size.width
        self.show_lines([left if right is None or not width else spread(left, right, width)])


def changed_regions(before: Sequence[Strip], after: Sequence[Strip]) -> Iterator[Region]:
    """The part of each line that differs, from the first changed cell to the last."""
    for y in range(max(len(before), len(after))):
        old = _cells(before[y]) if y < len(before) else []
        new = _cells(after[y]) if y < len(after) else []
        length = max(len(old), len(new))
        old += [_NO_CELL] * (length - len(old))
        new += [_NO_CELL] * (length - len(new))
        changed = [x for x in range(length) if old[x] != new[x]]
        if changed:
            yield Region(changed[0], y, changed[-1] - changed[0] + 1, 1)


_Cell = tuple[str, Style | None]
_NO_CELL: _Cell = ("", None)


def _cells(strip: Strip) -> list[_Cell]:
    """Each cell of a line; a wide character is in its first, and what joins a character is with it."""
    cells: list[_Cell] = []
    for text, given, _ in strip:
        # Textual notes in the style where a piece of text begins: that is no difference to be seen.
        style = None if given is None else given.clear_meta_and_links()
        for character in text:
            width = get_character_cell_size(character)
            if width:
                cells += [(character, style), *[("", style)] * (width - 1)]
            elif cells:
                cells[-1] = (cells[-1][0] + character, style)
    return cells
