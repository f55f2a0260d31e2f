"""The screen of a job's children over time: when each waited, ran and ended, and how many were at work at once."""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.message import Message

from gnjobs.health.silence import ChildJudge
from gnjobs.health.states import State, child_state
from gnjobs.records.fields import Child, Job, run_seconds
from gnjobs.text import age_text, clock_text, count_text, plural
from gnjobs.watch.rows import Change
from gnjobs_tui.screens.job_cells import run_text
from gnjobs_tui.screens.job_parts import part_state_cell
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.screens.target import Target
from gnjobs_tui.style import GLYPHS, Cell, Part, content
from gnjobs_tui.widgets.columns import Cells, Column, Orders
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.rows import RowList
from gnjobs_tui.widgets.table import VirtualTable

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
_HEIGHTS = " .:-=+*#@" if GLYPHS.is_ascii else " ▁▂▃▄▅▆▇█"


class Timeline:
    """The children in the order in which they began, those that wait last; times in unix seconds.

    A job that has ended ends the time that is drawn, else `now` does.
    """

    def __init__(self, job: Job, children: Sequence[Child], now: float) -> None:
        began = [child.started for child in children if child.started is not None]
        self.job = job
        self.begin = min([*began, *([job.began] if job.began is not None else [])], default=now)
        self.end = max(self.begin + 1.0, (job.finished or now) if job.is_final else now)
        self.children = sorted(children, key=lambda child: (child.started is None, child.started or 0.0))
        self._begins = sorted(began)
        self._ends = sorted(self.end_of(child) for child in children if child.started is not None)

    def end_of(self, child: Child) -> float:
        """When a child that has begun ended, as far as is known; the end of all where it is at work."""
        known = child.finished or (child.last_output if child.is_final else None)
        return min(self.end, max(child.started or 0.0, known or self.end))

    def waited(self, child: Child) -> float | None:
        """How long a child waited for its turn; None where it ended without one."""
        if child.started is None:
            return None if child.is_final else self.end - self.begin
        return child.started - self.begin

    def bar(self, child: Child, width: int) -> str:
        """A line of so many cells in which a child waited and ran."""
        if child.started is None:
            return "" if child.is_final else GLYPHS.dot * width
        begin = min(width - 1, self._cell(child.started, width))
        end = max(begin + 1, self._cell(self.end_of(child), width))
        return GLYPHS.dot * begin + GLYPHS.full * (end - begin)

    def _cell(self, at: float, width: int) -> int:
        return round((at - self.begin) / (self.end - self.begin) * width)

    def at_work(self, at: float) -> int:
        """How many were at work at a time."""
        return bisect_right(self._begins, at) - bisect_right(self._ends, at)

    def use(self, width: int) -> str:
        """A line of so many cells, each as high as the share of workers that were at work in its middle."""
        step = (self.end - self.begin) / max(1, width)
        counts = [self.at_work(self.begin + (cell + 0.5) * step) for cell in range(width)]
        most = max(self.job.max_workers or 0, max(counts, default=0), 1)
        last = len(_HEIGHTS) - 1
        return "".join(_HEIGHTS[min(last, -(-count * last // most))] for count in counts)

    def summary(self) -> str:
        """How many children ended, are at work and wait, and how much of the workers was used."""
        ended = sum(child.is_final for child in self.children)
        waiting = sum(child.started is None and not child.is_final for child in self.children)
        at_work = len(self.children) - ended - waiting
        said = [f"{count_text(ended)} ended, {count_text(at_work)} at work, {count_text(waiting)} waiting"]
        busy = sum(self._ends) - sum(self._begins)
        mean = busy / (self.end - self.begin)
        workers = self.job.max_workers
        of = f" of {plural(workers, 'worker')}" if workers else ""
        share = f", {100 * mean / workers:.0f} %" if workers else ""
        return ", ".join(said) + (f"; {mean:.1f}{of} at work on average{share}" if self._begins else "")


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
            "waited": Cell(age_text(waited), value=waited),
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

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
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
        self.dashboard.jobs.open(self._target.key)
        self.reload()
        self.set_interval(READ_EVERY, self._read_again)

    def on_unmount(self) -> None:
        """Nothing more is to be told."""
        self.dashboard.jobs.close(self._target.key)

    def trail(self) -> Sequence[Part]:
        """Whose children these are."""
        return [self._target.label, Cell("   timeline of its children", "dim")]

    @property
    def orders(self) -> Orders:
        """Every column but that of the time, whose order is the usual one."""
        return [order for order in super().orders if order[0].column != TIME.id]

    def changed(self, change: Change) -> None:
        """The job, or one of its children, changed."""
        self._is_stale |= change.concerns(self._target.key)

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
            table.show(RowList([]), empty="" if self.has_failed else self.unread())

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show the output of a child, or of the job."""
        from gnjobs_tui.screens.output import OutputScreen

        line = self._rows.timeline if self._rows is not None else None
        child = next((each for each in line.children if each.id == message.key), None) if line else None
        target = (
            self._target if child is None else self._target._replace(child=child.id, child_label=child.label)
        )
        self.app.push_screen(OutputScreen(target))
