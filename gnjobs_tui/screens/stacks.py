"""The screen of stacks: where in their code the processes of a job or of one child are; or which files are open."""

from collections.abc import Sequence
from typing import ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from gnjobs.text import safe_text
from gnjobs_tui.keys import bind
from gnjobs_tui.screens.base import WatchScreen, clock_seconds
from gnjobs_tui.screens.dialogs import TextScreen
from gnjobs_tui.screens.target import Target
from gnjobs_tui.style import Cell, Part
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.rows import NumberedRows
from gnjobs_tui.widgets.table import VirtualTable

COLUMN = Column("line", "", 30, 100, grows=1)
_WHAT = {"stack": "stacks", "files": "open files"}
_TITLES = {
    "stack": "Where in its code each process is, innermost function first",
    "files": "Open files: number, what for, how far, name",
}


class StacksScreen(WatchScreen):
    """Looks once when it opens, and again when asked: a look takes seconds, and stops no process.

    With the pid of a process, it shows that one's open files instead.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("y", "copy", "Copy all stacks", "stacks.copy"),
        bind("ctrl+r", "reload", "Look again", "screen.reload"),
    ]
    keys = (
        ("enter", "full line"),
        ("ctrl+r", "look again"),
        ("y", "copy all"),
        ("?", "help"),
        ("esc", "back"),
    )
    table = getters.query_one("#table", VirtualTable)

    class Seen(Message):
        """The stacks were read."""

        def __init__(self, text: str, at: float) -> None:
            super().__init__()
            self.text = text
            self.at = at

    def __init__(self, target: Target, files_of: int | None = None) -> None:
        super().__init__()
        self._target = target
        self._files_of = files_of
        self._kind = "stack" if files_of is None else "files"
        self._what = _WHAT[self._kind]
        self._text = ""
        self._seen_at: float | None = None
        self._is_reading = True
        self._rows = NumberedRows[str](_cells)

    @property
    def takes_keys(self) -> bool:
        """Whether the stacks were read, or can't be."""
        return not self._is_reading

    def compose(self) -> ComposeResult:
        """Header, lines, footer."""
        yield self.header()
        yield VirtualTable((COLUMN._replace(title=_TITLES[self._kind]),), id="table")
        yield Line(id="footer", classes="footer")

    def on_mount(self) -> None:
        """Look for the first time."""
        self.table.focus()
        self.work(self._read, "stacks")

    def trail(self) -> Sequence[Part]:
        """The job, the child, and when its processes were looked at."""
        when = f" at {clock_seconds(self._seen_at)}" if self._seen_at is not None else ""
        reading = "  reading …" if self._is_reading else ""
        return [*self._target.trail, Cell(f"   {self._what}{when}{reading}", "dim")]

    def _read(self) -> None:
        from gnjobs.control.looks import job_stacks

        app, target = self.dashboard, self._target
        store = app.store_under(target.prefix)
        text = job_stacks(store, target.job_id, target.child, actor=app.actor, kind=self._kind)
        if self._files_of is not None:
            parts = text.split("\n\n")
            text = "\n\n".join(p for p in parts if p.startswith(f"pid {self._files_of}:")) or text
        self.post_message(self.Seen(text, app.jobs.now()))

    def on_stacks_screen_seen(self, message: Seen) -> None:
        """Show what was seen."""
        self._text, self._seen_at, self._is_reading = message.text, message.at, False
        self._rows.items = message.text.split("\n")
        self.draw()

    def on_failed(self, _: Message) -> None:
        """Wait for nothing more; the base class says why."""
        self._is_reading = False
        self.draw()

    def draw_content(self) -> None:
        """Show the stacks."""
        empty = self.unread() if self._is_reading else "nothing was read"
        self.table.show(self._rows, empty=empty)

    def reload(self) -> None:
        """Look again; what was seen stays until then."""
        if not self._is_reading:
            self._is_reading = True
            self.draw()
            self.work(self._read, "stacks")

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show one line whole: names of files and command lines may be long."""
        if (place := self._rows.index_of(message.key)) is not None:
            self.app.push_screen(TextScreen("Line", self._rows.items[place], wide=True))

    def action_copy(self) -> None:
        """Copy all of it, made safe."""
        self.dashboard.copy(safe_text(self._text), f"the {self._what}")


def _cells(line: str) -> Cells:
    """One line; those that name a process stand out."""
    is_heading = line.startswith("pid ")
    return {"line": Cell(line, "bold" if is_heading else "plain")}
