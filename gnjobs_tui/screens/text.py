"""A text to read and to copy."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from gnjobs.text import safe_text
from gnjobs_tui.styling import Cell, content, lines


class TextScreen(ModalScreen[None]):
    """Shows a text under a title; nothing in it acts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "close", show=False, id="text.close", tooltip="Close"),
        Binding("y", "copy", "copy", show=False, id="text.copy", tooltip="Copy it"),
    ]

    def __init__(self, title: str, text: str, *, wide: bool = False) -> None:
        super().__init__()
        self._wide = wide
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        with Vertical(classes="dialog wide" if self._wide else "dialog"):
            yield Static(content(Cell(self._title, "bold")), markup=False)
            with VerticalScroll(classes="scroll"):
                yield Static(lines([line] for line in self._text.split("\n")), markup=False)
            yield Static(
                content(Cell("y", "accent"), " copy  ", Cell("esc", "accent"), " close"), markup=False
            )

    def action_copy(self) -> None:
        """Copy the text, made safe."""
        self.app.copy_to_clipboard(safe_text(self._text))
