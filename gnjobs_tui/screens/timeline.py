"""The screen of a job's children over time: when each waited, ran and ended, and how many were at work at once."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.message import Message

from gnjobs.health.silence import ChildJudge
from gnjobs.health.states import State, child_state
from gnjobs.records.fields import run_seconds
from gnjobs.text import age_text, clock_text
from gnjobs.watch.rows import Change
from gnjobs_tui.outputs.timeline import Timeline
from gnjobs_tui.screens.job_cells import run_text
from gnjobs_tui.screens.job_parts import part_state_cell
from gnjobs_tui.screens.kill_run import Target
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.style import Cell, Part, content
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.table import RowList, VirtualTable

if TYPE_CHECKING:
    from gnjobs_tui.screens.dialogs import Orders

READ_EVERY = 2.0
# No id of a child has a colon.
USE = ":use"
COLUMNS = (
    Column("state", "State", 10, 100, order="worst first"),
    Column("part", "Part", 14, 98, grows=1),
    Column("waited", "Waited", 7, 96, "right", order="longest first"),
    Column("run", "Run", 7, 97, "right", order="longest first"),
)
TIME = Column("time", "", 30, 99, grows=3)


class TimelineRows:
    """How many were at work at once, then each child: the rows of a table, drawn as wide as there is room."""

    def __init__(self, timeline: Timeline, states: Sequence[State], width: Callable[[], int]) -> None:
        self.timeline = timeline
        self._states = states
        self._width = width
        self._places = {child.id: place for place, child in enumerate(timeline.children, 1)} | {USE: 0}

    def __len__(self) -> int:
        return len(self._places)

    def key_at(self, index: int) -> str:
        """The id of the child in a row, `USE` in the first."""
        return USE if index == 0 else self.timeline.children[index - 1].id

    def index_of(self, key: str) -> int | None:
        """Where a child is."""
        return self._places.get(key)

    def cells_at(self, index: int) -> Cells:
        """The cells of a row."""
        line, width = self.timeline, self._width()
        if index == 0:
            most = line.job.max_workers
            name = f"at work, of {most}" if most else "at work"
            return {"part": Cell(name, "bold"), "time": Cell(line.use(width), "accent")}
        child, state = line.children[index - 1], self._states[index - 1]
        waited, run = line.waited(child), run_seconds(child, line.end)
        return {
            "state": part_state_cell(state),
            "part": Cell(child.label or child.id),
            "waited": Cell("" if waited is None else age_text(waited), value=waited),
            "run": Cell(run_text(run, is_over=child.is_final), value=run),
            "time": Cell(line.bar(child, width), state.token),
        }


class TimelineScreen(TableScreen):
    """Reads the children when it opens, and again when they have changed."""

    usual = "as they began"
    keys = (("enter", "output"), ("s", "sort"), ("ctrl+r", "reload"), ("?", "help"), ("esc", "back"))

    class Seen(Message):
        """The children were read."""

        def __init__(self, timeline: Timeline, states: Sequence[State]) -> None:
            super().__init__()
            self.timeline = timeline
            self.states = states

    def __init__(self, target: Target, key: str) -> None:
        super().__init__()
        self._target = target
        self._key = key
        self._rows: TimelineRows | None = None
        self._is_stale = False

    @property
    def takes_keys(self) -> bool:
        """Whether the children were read, or can't be."""
        return self._rows is not None or self.has_failed

    def compose(self) -> ComposeResult:
        """Header, summary, table, footer."""
        yield self.header()
        yield Line(id="summary")
        yield VirtualTable((*COLUMNS, TIME), id="table", pinned=1)
        yield Line(id="footer", classes="footer")

    def on_mount(self) -> None:
        """Read, and be told of changes."""
        self.table.focus()
        self.dashboard.jobs.open(self._key)
        self.reload()
        self.set_interval(READ_EVERY, self._read_again)

    def on_unmount(self) -> None:
        """Nothing more is to be told."""
        self.dashboard.jobs.close(self._key)

    def trail(self) -> Sequence[Part]:
        """Whose children these are."""
        return [self._target.label, Cell("   timeline of its children", "dim")]

    @property
    def orders(self) -> "Orders":
        """Every column but that of the time, whose order is the usual one."""
        return [order for order in super().orders if order[0].column != TIME.id]

    def changed(self, change: Change) -> None:
        """The job, or one of its children, changed."""
        self._is_stale |= change.concerns(self._key)

    def _read_again(self) -> None:
        if self._is_stale and self.is_active:
            self._is_stale = False
            self.reload()

    def reload(self) -> None:
        """Read the children."""
        self.work(self._read, "timeline")

    def _read(self) -> None:
        app, target = self.dashboard, self._target
        store = app.store_under(target.prefix)
        job, children = store.get(target.job_id), list(store.all_children(target.job_id))
        snapshot = None if job.is_final else store.processes(target.job_id)
        timeline = Timeline(job, children, app.jobs.now())
        judge = ChildJudge(job, snapshot, app.config.limits).judge
        states = [child_state(child, judge(child).verdict) for child in timeline.children]
        self.post_message(self.Seen(timeline, states))

    def on_timeline_screen_seen(self, message: Seen) -> None:
        """Show what was read."""
        self._rows = TimelineRows(message.timeline, message.states, self._time_width)
        self.draw()

    def _time_width(self) -> int:
        placed = self.table.drawing.placed
        return next((each.width for each in placed if each.column.id == TIME.id), 0)

    def draw_content(self) -> None:
        """Show the children over time."""
        table = self.table
        if self._rows is not None:
            line = self._rows.timeline
            begin, end = clock_text(line.begin, line.end), clock_text(line.end, line.end)
            title = begin.ljust(self._time_width() - len(end)) + end
            table.columns = (*COLUMNS, TIME._replace(title=title))
            self.query_one("#summary", Line).show(content(line.summary()))
            table.show(self._rows)
        else:
            table.show(RowList([]), empty="" if self.has_failed else "reading …")

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show the output of a child, or of the job."""
        from gnjobs_tui.screens.output import OutputScreen

        line = self._rows.timeline if self._rows is not None else None
        child = next((each for each in line.children if each.id == message.key), None) if line else None
        target = (
            self._target if child is None else self._target._replace(child=child.id, child_label=child.label)
        )
        self.app.push_screen(OutputScreen(target))
