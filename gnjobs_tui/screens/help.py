"""Every key of a screen."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from gnjobs.health.states import STATES
from gnjobs_tui.keys_help import screen_keys
from gnjobs_tui.styling import Cell, Parts, content, fit, lines, state_cell

KEYS_WIDTH = 18


class HelpScreen(ModalScreen[None]):
    """Lists what the keys of the screen below do, and what the states mean."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,q,question_mark,enter", "dismiss", "close", show=False, id="help.close", tooltip="Close"
        ),
    ]

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__()
        self._keys: list[Parts] = [
            [Cell(fit(key.keys, KEYS_WIDTH), "accent"), key.about] for key in screen_keys(screen)
        ]

    def compose(self) -> ComposeResult:
        """Keys, then states."""
        with Vertical(classes="dialog wide"):
            yield Static(
                content(Cell("Keys of this screen", "bold"), "   esc closes, down shows more"), markup=False
            )
            with VerticalScroll(classes="scroll"):
                yield Static(lines(self._keys), markup=False)
                yield Static(content(""), markup=False)
                yield Static(
                    lines([[Cell("States", "bold")], *([state_cell(state)] for state in STATES)]),
                    markup=False,
                )
