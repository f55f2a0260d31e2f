"""The screen of all faults in a job's data, each with its file, row and column."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import get_current_worker

from gnjobs.text import count_text
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.screens.kill_run import Target
from gnjobs_tui.style import Cell, Part, safe
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.table import NumberedRows, VirtualTable

COLUMNS = (Column("file", "File", 20, 90), Column("fault", "Fault", 30, 100, grows=True))
KEYS = (("y", "copy"), ("?", "help"), ("esc", "back"))
MOST_FAULTS = 1_000_000
_BATCH = 5000

Fault = tuple[str, str]


def _cells(fault: Fault) -> Cells:
    """A fault's file and sentence."""
    file, said = fault
    return {"file": Cell(file), "fault": Cell(said)}


class FaultsScreen(WatchScreen):
    """Reads the faults of all outputs in the background and shows those that it has."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", show=False, id="faults.copy", tooltip="Copy this fault"),
    ]

    class Found(Message):
        """More faults were read."""

        def __init__(self, faults: list[Fault], *, is_all: bool = False) -> None:
            super().__init__()
            self.faults = faults
            self.is_all = is_all

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._rows = NumberedRows(_cells)
        self._is_reading = True

    @property
    def takes_keys(self) -> bool:
        """Whether there are faults, or all was read."""
        return bool(self._rows.items) or not self._is_reading

    def compose(self) -> ComposeResult:
        """Header, table, footer."""
        yield self.header()
        yield VirtualTable(COLUMNS, id="table")
        yield Line(id="footer", classes="footer")

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one("#table", VirtualTable).focus()
        self.work(self._read, "faults")

    def trail(self) -> Sequence[Part]:
        """The job's name and how many faults there are."""
        count = len(self._rows)
        found = f"   {count_text(count)} {'fault' if count == 1 else 'faults'}"
        return [self._target.label, found, Cell(" so far, reading" if self._is_reading else "", "dim")]

    def _read(self) -> None:
        worker = get_current_worker()
        batch: list[Fault] = []
        try:
            for found in islice(self._faults(lambda _: not worker.is_cancelled), MOST_FAULTS):
                batch.append(found)
                if len(batch) >= _BATCH:
                    self.post_message(self.Found(batch))
                    batch = []
        finally:
            self.post_message(self.Found(batch, is_all=True))

    def _faults(self, goes_on: Callable[[object], bool]) -> Iterator[Fault]:
        from gnjobs.outputs.faults import all_faults, sentence

        store = self.dashboard.store_under(self._target.prefix)
        for source, lines in takewhile(goes_on, store.all_lines(self._target.job_id)):
            for fault in all_faults(takewhile(goes_on, lines)):
                yield fault.file or source, sentence(fault)

    def on_faults_screen_found(self, message: Found) -> None:
        """Show what was read so far."""
        self._rows.items += message.faults
        self._is_reading = not message.is_all
        self.draw()

    def draw(self) -> None:
        """Show the faults."""
        if self.is_mounted:
            self.draw_header()
            self.query_one("#table", VirtualTable).show(
                self._rows, empty="reading …" if self._is_reading else "no faults were reported"
            )
            self.show_keys(KEYS)

    def action_copy(self) -> None:
        """Copy the fault of the cursor with its file, made safe."""
        key = self.query_one("#table", VirtualTable).cursor_key
        if key is not None:
            file, said = self._rows.items[int(key)]
            self.app.copy_to_clipboard(safe(f"{file}: {said}"))
            self.dashboard.say("copied the fault")
