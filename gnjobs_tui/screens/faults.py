"""All faults of a job's data, every one with its place."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.message import Message
from textual.worker import get_current_worker

from gnjobs_tui.footers import footer
from gnjobs_tui.kill_targets import Target
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.styling import Cell, Part
from gnjobs_tui.widgets.columns import Column
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.virtual_table import Cells, VirtualTable

COLUMNS = (Column("file", "File", 20, 90), Column("fault", "Fault", 30, 100, grows=True))
KEYS = (("y", "copy"), ("?", "help"), ("esc", "back"))
MOST_FAULTS = 1_000_000
_BATCH = 5000


class FaultRows:
    """Faults by number, as pairs of file and sentence."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self.faults)

    def key_at(self, index: int) -> str:
        """The number of a fault."""
        return str(index)

    def index_of(self, key: str) -> int | None:
        """Where a fault is."""
        return int(key) if int(key) < len(self.faults) else None

    def cells_at(self, index: int) -> Cells:
        """A fault's file and sentence."""
        file, said = self.faults[index]
        return {"file": Cell(file), "fault": Cell(said)}


class FaultsScreen(WatchScreen):
    """Reads the faults of all outputs in the background and shows those that it has."""

    class Found(Message):
        """More faults were read."""

        def __init__(self, faults: list[tuple[str, str]]) -> None:
            super().__init__()
            self.faults = faults

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._rows = FaultRows()

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
        return [self._target.label, f"   {len(self._rows)} faults"]

    def _read(self) -> None:
        from gnjobs.faults import all_faults, sentence

        worker = get_current_worker()
        store = self.dashboard.store_under(self._target.prefix)
        batch: list[tuple[str, str]] = []
        total = 0
        for source, lines in store.all_lines(self._target.job_id):
            for fault in all_faults(lines):
                batch.append((fault.file or source, sentence(fault)))
                total += 1
                if worker.is_cancelled or total >= MOST_FAULTS:
                    break
                if len(batch) >= _BATCH:
                    self.post_message(self.Found(batch))
                    batch = []
        self.post_message(self.Found(batch))

    def on_faults_screen_found(self, message: Found) -> None:
        """Show what was read so far."""
        self._rows.faults += message.faults
        self.draw()

    def draw(self) -> None:
        """Show the faults."""
        if self.is_mounted:
            self.draw_header()
            self.query_one("#table", VirtualTable).show(self._rows)
            self.query_one("#footer", Line).show(footer(KEYS, self.size.width))
