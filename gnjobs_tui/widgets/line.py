"""Lines of styled text that never move anything else."""

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from gnjobs_tui.keys import KeySpan
from gnjobs_tui.style import spread


class Lines(Widget):
    """A few lines; their number is the widget's height, so that a change never moves anything else."""

    DEFAULT_CSS = """
    Lines { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    _content = Content("")

    def render(self) -> Content:
        """Give Textual the lines to draw."""
        return self._content

    def show_lines(self, rows: Sequence[Content]) -> None:
        """Show these lines."""
        content = Content("\n").join(rows)
        if content.is_same(self._content):
            return
        self._content = content
        self.refresh()


class Line(Lines):
    """One line, with something at its left end and perhaps at its right end; a click may stand for a key."""

    class Pressed(Message):
        """What stands for a key was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    _ends: tuple[Content, Content | None] = (Content(""), None)
    _keys: Sequence[KeySpan] = ()

    def show(self, left: Content, right: Content | None = None, keys: Sequence[KeySpan] = ()) -> None:
        """Show a text, and another one at the right end; `keys` stand in cells of the first."""
        self._ends, self._keys = (left, right), keys
        self._lay_out()

    def on_click(self, event: events.Click) -> None:
        """Tell which key stands there."""
        for cells, key in self._keys:
            if event.x in cells:
                self.post_message(self.Pressed(key))
                return

    def on_resize(self) -> None:
        """Put both ends where they belong now."""
        self._lay_out()

    def _lay_out(self) -> None:
        left, right = self._ends
        width = self.size.width
        self.show_lines([left if right is None or not width else spread(left, right, width)])
