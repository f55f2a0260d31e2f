"""The screen of processes: a tree of those of a job or of one child, as their supervisor saw them last."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.message import Message

from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.text import duration_words, percent_text, size_text
from gnjobs.watch.listing import DEFAULT_SORT, Sort
from gnjobs_tui.keys import bind
from gnjobs_tui.screens.stacks import StacksScreen
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.screens.target import Target
from gnjobs_tui.style import Cell, Part
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.rows import RowList
from gnjobs_tui.widgets.table import VirtualTable

COLUMNS = (
    Column("pid", "Process", 14, 100, order="lowest first"),
    Column("state", "S", 1, 98),
    Column("cpu", "CPU", 5, 97, "right", order="busiest first"),
    Column("memory", "Memory", 7, 96, "right"),
    Column("child", "Child", 12, 90, from_width=100),
    Column("waits", "Waits for", 14, 91, from_width=100, grows=1),
    Column("command", "Command", 20, 99, grows=3),
)
READ_EVERY = 5.0
DEEPEST = 5


class ProcessesScreen(TableScreen):
    """Reads again what the supervisor writes; open files and stacks are asked for by a key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("b", "stacks", "Stacks of these processes", "processes.stacks"),
    ]

    columns = COLUMNS
    usual = "each below its parent"
    keys = (
        ("enter", "open files"),
        ("b", "stacks"),
        ("s", "sort"),
        ("ctrl+r", "reload"),
        ("?", "help"),
        ("esc", "back"),
    )

    class Seen(Message):
        """What the supervisor saw was read."""

        def __init__(self, snapshot: ProcessSnapshot | None) -> None:
            super().__init__()
            self.snapshot = snapshot

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._snapshot: ProcessSnapshot | None = None
        self._is_reading = True

    @property
    def takes_keys(self) -> bool:
        """Whether the processes were read, or can't be."""
        return not self._is_reading or self.has_failed

    def on_mount(self) -> None:
        """Read, now and again."""
        self.table.focus()
        self.reload()
        self.set_interval(READ_EVERY, self._read_again)

    def trail(self) -> Sequence[Part]:
        """The job, the child, and how old this is."""
        snapshot = self._snapshot
        age = f", seen {duration_words(self.dashboard.jobs.now() - snapshot.at)} ago" if snapshot else ""
        return [*self._target.trail, Cell(f"   processes{age}", "dim")]

    def _read_again(self) -> None:
        if self.is_active:
            self.reload()

    def reload(self) -> None:
        """Read what the supervisor saw."""
        self.work(self._read, "processes")

    def _read(self) -> None:
        store = self.dashboard.store_under(self._target.prefix)
        self.post_message(self.Seen(store.processes(self._target.job_id)))

    def on_processes_screen_seen(self, message: Seen) -> None:
        """Show what was read."""
        self._snapshot, self._is_reading = message.snapshot, False
        self.draw()

    def draw_content(self) -> None:
        """Show the tree."""
        seen = self._snapshot.processes if self._snapshot is not None else ()
        wanted = [each for each in seen if self._target.child in (None, each.child)]
        is_tree = self.table.sort == DEFAULT_SORT
        rows = [
            (str(process.pid), _cells(process, depth if is_tree else 0)) for process, depth in tree(wanted)
        ]
        empty = self.unread() if self._is_reading else "its supervisor reports no processes"
        self.table.show(RowList(rows), empty=empty)

    def sort_by(self, sort: Sort) -> None:
        """Show the processes in another order, and in none but the usual one as a tree."""
        super().sort_by(sort)
        self.draw()

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Ask for the open files of one process."""
        self.app.push_screen(StacksScreen(self._target, files_of=int(message.key)))

    def action_stacks(self) -> None:
        """Ask where in their code these processes are."""
        self.app.push_screen(StacksScreen(self._target))


def tree(processes: Sequence[SeenProcess]) -> Iterator[tuple[SeenProcess, int]]:
    """Each process once, below its parent, with its depth; those whose parents are unknown come first."""
    children: dict[int | None, list[SeenProcess]] = {}
    known = {process.pid for process in processes}
    for process in sorted(processes, key=lambda process: process.pid):
        parent = process.parent if process.parent in known and process.parent != process.pid else None
        children.setdefault(parent, []).append(process)
    waiting = [(process, 0) for process in reversed(children.pop(None, []))]
    while waiting or children:
        if not waiting:  # a circle, which no kernel tells of
            waiting = [(process, 0) for process in reversed(children.pop(next(iter(children))))]
        process, depth = waiting.pop()
        yield process, depth
        waiting += [(child, depth + 1) for child in reversed(children.pop(process.pid, []))]


def _cells(process: SeenProcess, depth: int) -> Cells:
    return {
        "pid": Cell(
            "  " * min(depth, DEEPEST) + str(process.pid), "accent" if depth == 0 else "plain", process.pid
        ),
        "state": Cell(process.state),
        "cpu": Cell(percent_text(process.cpu), value=process.cpu),
        "memory": Cell(size_text(process.rss), value=process.rss),
        "child": Cell(process.child or "", "dim"),
        "waits": Cell(process.waits or "", "dim"),
        "command": Cell(process.command),
    }
