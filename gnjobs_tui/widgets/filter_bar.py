"""The input line for a filter; it checks the filter as it is typed."""

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
    FilterBar Input { width: 1fr; min-width: 20; }
    FilterBar #refusal { width: auto; max-width: 70%; }
    """

    class Typed(Message):
        """What is typed so far means this filter."""

        def __init__(self, filter: Filter | None) -> None:  # noqa: A002 - the word of the command line
            super().__init__()
            self.filter = filter

    class Kept(Message):
        """The filter is to stay, and the keys are the table's again."""

    _refusal = ""

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
        refusal = Static("", id="refusal", markup=False)
        await self.mount(Static(content(Cell("/", "bold")), markup=False), field, refusal)
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
            self._refuse("")
        self.close()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Understand what is typed so far, or say why that can't be."""
        message.stop()
        try:
            self.post_message(self.Typed(parse_filter(message.value) if message.value.strip() else None))
            self._refuse("")
        except FilterError as error:
            self._refuse(str(error))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Keep it, if all of it was understood."""
        message.stop()
        if not self._refusal:
            self.post_message(self.Kept())

    def _refuse(self, why: str) -> None:
        self._refusal = why
        self.query_one("#refusal", Static).update(content(Cell(why, "error")))
