"""The input line for a filter; it checks the filter as it is typed."""

from textual.message import Message
from textual.widgets import Input

from gnjobs.errors import FilterError
from gnjobs.watch.filters import JOBS, Filter, Vocabulary, parse_filter
from gnjobs_tui.widgets.prompt import Prompt

HINT = "words  state:stuck  user:  type:  host:  label:  age>2h     enter keep  esc clear"


class FilterBar(Prompt):
    """Reads a filter as it is typed."""

    class Typed(Message):
        """What is typed so far means this filter."""

        def __init__(self, filter: Filter | None) -> None:  # noqa: A002 - the word of the command line
            super().__init__()
            self.filter = filter

    class Kept(Message):
        """The filter is to stay, and the keys are the table's again."""

    def __init__(self, vocabulary: Vocabulary = JOBS, hint: str = HINT, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._vocabulary = vocabulary
        self._hint = hint
        self._refusal = ""
        self._remembered: str | None = None

    def remember(self, text: str) -> None:
        """Begin with this text when it opens next: it was chosen elsewhere."""
        self._remembered = text

    async def open(self) -> None:
        """Take the keys."""
        text, self._remembered = self._remembered, None
        with self.prevent(Input.Changed):
            await self.ask("/", text, self._hint)
        self.refuse(self._refusal)

    def clear(self) -> None:
        """Forget what was typed, and close."""
        if self.field is not None:
            with self.prevent(Input.Changed):
                self.field.value = ""
            self.refuse("")
        self.close()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Understand what is typed so far, or say why that can't be."""
        message.prevent_default()
        message.stop()
        try:
            typed = parse_filter(message.value, self._vocabulary) if message.value.strip() else None
            self.post_message(self.Typed(typed))
            self.refuse("")
        except FilterError as error:
            self.refuse(str(error))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Keep it, if all of it was understood."""
        message.prevent_default()
        message.stop()
        if not self._refusal:
            self.post_message(self.Kept())

    def refuse(self, why: str) -> None:
        """Say why what is typed is not a filter; until it is one, it can't be kept."""
        self._refusal = why
        super().refuse(why)
