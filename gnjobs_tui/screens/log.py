"""The event log: ends, losses, removals, and kills with who asked and why; the newest is last."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message

from gnjobs.records.events import Event
from gnjobs.text import clock_text
from gnjobs.watch.listing import DEFAULT_SORT
from gnjobs.watch.rows import Change
from gnjobs_tui.keys import bind
from gnjobs_tui.screens.dialogs import TextScreen
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.style import Cell, Part
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.rows import DrawnRows
from gnjobs_tui.widgets.table import VirtualTable

COLUMNS = (
    Column("at", "When", 9, 100, order="oldest first"),
    Column("text", "What", 26, 99, grows=3),
    Column("reason", "Why", 10, 97, grows=1),
    Column("label", "Job", 12, 98, grows=1),
    Column("owner", "Owner", 8, 96),
    Column("by", "By", 6, 95),
)
SHOWN_EVENTS = 5000
_TOKENS = {"killed": "bold", "lost": "error", "refused": "warning", "failed": "error"}


class LogScreen(TableScreen):
    """The stream of events, as far as the actor may see it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("r", "results", "Results of the kills asked for here", "log.results"),
    ]

    columns = COLUMNS
    usual = "as it happened"
    keys = (
        ("enter", "full entry"),
        ("s", "sort"),
        ("r", "kill results"),
        (":", "more"),
        ("?", "help"),
        ("esc", "back"),
    )

    class Read(Message):
        """Events were read, each with a key that stays its own."""

        def __init__(self, events: list[tuple[str, Event]]) -> None:
            super().__init__()
            self.events = events

    def __init__(self) -> None:
        super().__init__()
        self._rows = self._rows_of([])
        self._is_read = False
        self._is_reading = self._is_stale = False

    @property
    def takes_keys(self) -> bool:
        """Whether the events were read, or can't be."""
        return self._is_read or self.has_failed

    def on_mount(self) -> None:
        """Read what happened."""
        self.table.focus()
        self.reload()

    def trail(self) -> Sequence[Part]:
        """The screen's name."""
        return ["event log"]

    def changed(self, change: Change) -> None:
        """Read again when something happened, and whenever all was loaded: nobody tells what happened in a loss."""
        if change.events or change.progress == 1:
            self.reload()

    def reload(self) -> None:
        """Read what happened, once more where that is being done: entries may be large, and several come at once."""
        self._is_stale = self._is_reading
        if not self._is_reading:
            self._is_reading = True
            self.work(self._read_events, "log")

    def _has_read(self) -> None:
        self._is_reading = False
        if self._is_stale:
            self.reload()

    def on_failed(self, _: Message) -> None:
        """Wait for nothing more; the base class says why."""
        self._has_read()

    def _read_events(self) -> None:
        app = self.dashboard
        visible = [
            (f"{prefix} {event.id}", event)
            for prefix in app.config.prefixes
            for event in app.store_under(prefix).events.last(SHOWN_EVENTS)
            if app.actor.may_see_owner(event.owner)
        ]
        self.post_message(self.Read(sorted(visible, key=lambda keyed: keyed[1].at)))

    def on_log_screen_read(self, message: Read) -> None:
        """Show what was read; the cursor follows the newest when it was there."""
        table = self.table
        was_last = table.cursor_key == next(reversed(self._rows.items), None)
        self._rows, self._is_read = self._rows_of(message.events), True
        self.draw()
        if was_last and table.sort == DEFAULT_SORT:
            table.action_last()
        self._has_read()

    def _rows_of(self, events: Sequence[tuple[str, Event]]) -> DrawnRows[Event]:
        return DrawnRows(lambda event: _cells(event, self.dashboard.jobs.now()), events)

    def draw_content(self) -> None:
        """Show the events."""
        self.table.show(self._rows, empty="nothing has happened yet" if self._is_read else self.unread())

    def action_results(self) -> None:
        """Show again what became of every kill that this dashboard asked for."""
        runs = self.dashboard.kill_runs
        text = "\n\n".join(run.text() for run in runs) or "no kill was asked for here"
        self.app.push_screen(TextScreen("Kills asked for here", text, wide=True))

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show one event whole."""
        event = self._rows.items.get(message.key)
        if event is None:  # it has just given way to a newer one
            return
        said = {"what": event.text, "why": event.reason, "job": event.job, "label": event.label}
        said |= {"owner": event.owner, "by": event.by, "on": event.host}
        self.app.push_screen(
            TextScreen(
                "Event", "\n".join(f"{name:6} {value}" for name, value in said.items() if value), hang=7
            )
        )


def _cells(event: Event, now: float) -> Cells:
    return {
        "at": Cell(clock_text(event.at, now), "dim", event.at),
        "text": Cell(event.text, _TOKENS.get(event.kind, "plain")),
        "reason": Cell(event.reason or ""),
        "label": Cell(event.label or event.job or ""),
        "owner": Cell(event.owner or ""),
        "by": Cell(event.by or ""),
    }
