"""One line or a few of styled text, of a fixed height, so that a change never moves anything else."""

from textual.content import Content
from textual.widgets import Static

from gnjobs_tui.styling import spread


class Line(Static):
    """A line of text; set again it is drawn only if it differs."""

    DEFAULT_CSS = """
    Line { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(Content(""), id=id, classes=classes, markup=False)
        self._shown: tuple[Content, Content | None] = (Content(""), None)

    def show(self, left: Content, right: Content | None = None) -> None:
        """Show a text, and another one at the right end."""
        if (left, right) == self._shown:
            return
        self._shown = (left, right)
        self._draw()

    def on_resize(self) -> None:
        """Lay out both ends again."""
        self._draw()

    def _draw(self) -> None:
        left, right = self._shown
        width = self.size.width
        self.update(left if right is None or not width else spread(left, right, width), layout=False)
