"""The line at the bottom in which something is typed: what is asked for, the field, and why that can't be taken."""

from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from gnjobs_tui.style import Cell, content


class Prompt(Horizontal):
    """Asks for a text; hidden until it does, and then in place of the footer."""

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; background: $surface; }
    Prompt Static { width: auto; color: $accent; }
    Prompt Input { width: 1fr; min-width: 20; }
    Prompt #refusal { max-width: 70%; }
    """

    class Answered(Message):
        """Something was typed in answer to `asked`."""

        def __init__(self, asked: str, text: str) -> None:
            super().__init__()
            self.asked = asked
            self.text = text

    asked = ""

    @property
    def field(self) -> Input | None:
        """Where it is typed, once something was asked."""
        return self.query_one_optional(Input)

    @property
    def is_open(self) -> bool:
        """Whether keys go in here."""
        return bool(self.display)

    async def ask(self, asked: str, text: str | None = "", hint: str = "") -> None:
        """Take the keys; the field holds `text`, or what was typed there last where that is None."""
        # Made no sooner than needed: the first frame would wait for it.
        if (field := self.field) is None:
            field = Input(select_on_focus=False)
            field.cursor_blink = False
            parts = Static(id="asks", markup=False), field, Static(id="refusal", markup=False)
            await self.mount(*parts)
        self.asked = asked
        self.query_one("#asks", Static).update(content(Cell(f"{asked} ", "bold")))
        self.refuse("")
        field.placeholder = hint
        if text is not None:
            field.value = text
        field.cursor_position = len(field.value)  # at once: what was typed ahead acts from there
        self._show(True)
        field.focus()
        field.call_after_refresh(_show_cursor, field)

    def close(self) -> None:
        """Give the keys back; what was typed stays for next time."""
        self._show(False)

    def _show(self, is_open: bool) -> None:
        self.display = is_open
        self.screen.query_one("#footer").display = not is_open

    def refuse(self, why: str) -> None:
        """Say why what is typed can't be taken."""
        self.query_one("#refusal", Static).update(content(Cell(why, "error")))

    def on_input_changed(self, message: Input.Changed) -> None:
        """What was refused is typed anew."""
        message.stop()
        self.refuse("")

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Tell what was typed."""
        message.stop()
        self.post_message(self.Answered(self.asked, message.value))


def _show_cursor(field: Input) -> None:
    """Scroll to the cursor in a text that is too long, once the field has its size."""
    at = field.cursor_position
    field.cursor_position = 0
    field.cursor_position = at
