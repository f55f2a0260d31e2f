"""A question with two answers, the harmless one focused."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from gnjobs_tui.styling import content


class ConfirmScreen(ModalScreen[bool]):
    """Asks before something is done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(False)", "cancel", show=False, id="confirm.cancel", tooltip="Cancel"),
        Binding(
            "left,right",
            "app.focus_next",
            "other",
            show=False,
            id="confirm.other",
            tooltip="The other button",
        ),
    ]

    def __init__(self, question: str, answer: str) -> None:
        super().__init__()
        self._question = question
        self._answer = answer

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="dialog"):
            yield Static(content(self._question), markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="cancel")
                yield Button(content(self._answer), id="yes", variant="error")

    def on_button_pressed(self, message: Button.Pressed) -> None:
        """Answer."""
        self.dismiss(message.button.id == "yes")
