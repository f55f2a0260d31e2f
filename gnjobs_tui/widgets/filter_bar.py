"""The line in which a filter is typed."""

from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from gnjobs.errors import FilterError
from gnjobs.watch.filters import Filter, parse_filter
from gnjobs_tui.style import Cell, content


class FilterBar(Horizontal):
    """Reads a filter as it is typed; hidden until it is opened."""

    DEFAULT_CSS = """
    FilterBar { height: 1; display: none; background: $surface; }
    FilterBar Static { width: 2; color: $accent; }
    FilterBar Input { width: 1fr; }
    """

    class Typed(Message):
        """What is typed so far means this filter, or can't be understood."""

        def __init__(self, filter: Filter | None, error: str = "") -> None:  # noqa: A002 - the word of the command line
            super().__init__()
            self.filter = filter
            self.error = error

    class Kept(Message):
        """The filter is to stay, and the keys are the table's again."""

    @property
    def field(self) -> Input | None:
        """Where it is typed, once it was opened."""
        return self.query_one_optional(Input)

    async def _furnish(self) -> Input:
        """Make a sign and a field, not before they are needed: the first frame would wait for them."""
        field = Input(
            placeholder="words  state:stuck  user:  type:  host:  label:  age>2h     enter keep  esc clear",
            select_on_focus=False,
        )
        field.cursor_blink = False
        await self.mount(Static(content(Cell("/", "bold")), markup=False), field)
        return field

    @property
    def is_open(self) -> bool:
        """Whether keys go in here."""
        return bool(self.display)

    async def open(self) -> None:
        """Take the keys."""
        self.display = True
        (self.field or await self._furnish()).focus()

    def close(self) -> None:
        """Give the keys back; what was typed stays for next time."""
        self.display = False

    def clear(self) -> None:
        """Forget what was typed, and close."""
        if self.field is not None:
            with self.prevent(Input.Changed):
                self.field.value = ""
        self.close()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Understand what is typed so far."""
        message.stop()
        try:
            self.post_message(self.Typed(parse_filter(message.value) if message.value.strip() else None))
        except FilterError as error:
            self.post_message(self.Typed(None, str(error)))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Keep it."""
        message.stop()
        self.post_message(self.Kept())
