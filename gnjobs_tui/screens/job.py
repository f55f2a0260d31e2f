"""The screen of one job: its health, facts and result, and the table of the job itself and its children."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from msgspec import structs
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Static

from gnjobs.errors import NoSuchJob
from gnjobs.health.verdict import DEAD
from gnjobs.records.fields import Child, Job, percent_done
from gnjobs.watch.rows import Change, JobRow
from gnjobs_tui.keys import Keys, bind
from gnjobs_tui.screens.dialogs import TextScreen
from gnjobs_tui.screens.glance import Aim, GlanceScreen, glance_lines, parts_of
from gnjobs_tui.screens.job_facts import (
    NAME_WIDTH,
    Rows,
    fact_lines,
    fields_text,
    result_lines,
    verdict_lines,
)
from gnjobs_tui.screens.job_pane import ended_words
from gnjobs_tui.screens.job_parts import ITSELF, PART_COLUMNS, JobParts, JobPicture
from gnjobs_tui.screens.target import Target, target_of_row
from gnjobs_tui.screens.trends import trend_parts
from gnjobs_tui.style import Cell, Part, lines, state_cell, state_named
from gnjobs_tui.widgets.line import Line, Lines
from gnjobs_tui.widgets.table import HEADER_LINES, VirtualTable

if TYPE_CHECKING:
    from gnjobs.processing.view import JobView

KEYS = (
    ("enter", "output"),
    ("e", "faults"),
    ("o", "owner"),
    ("K", "kill row"),
    ("y", "copy"),
    ("x", "fields"),
    ("b", "stacks"),
    ("p", "processes"),
    ("t", "timeline"),
    (":", "more"),
    ("?", "help"),
    ("esc", "back"),
)
NARROW_KEYS = (
    ("enter", "output"),
    ("e", "faults"),
    ("K", "kill"),
    ("y", "copy"),
    ("x", "fields"),
    ("b", "stacks"),
    ("?", "help"),
    ("esc", "back"),
)
SHORTEST_PAUSE = 1.0
# A job whose reading takes long is read less often, so that reading never fills the time.
PAUSE_FACTOR = 5.0
LOW = 30
LEAST_RESULT = 5
# Header, verdict, facts, one line of result and footer; where so many more are left, a verdict has more.
LINES_AROUND = 7
MANY_LINES = 8
GONE: Rows = [
    [Cell("GONE", "warning-bold"), "   removed or expired; what stands below was read before"],
    [],
]
LEAST_LAST = 5


class JobScreen(GlanceScreen):
    """A job with its parts; what `K` and `enter` act on is the row of the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("e", "faults", "All faults in its data", "job.faults"),
        bind("x", "fields", "All fields", "job.fields"),
        bind("K", "kill", "Kill what the cursor is on", "job.kill"),
        bind("p", "processes", "Processes of what the cursor is on, and their open files", "job.processes"),
        bind("t", "timeline", "Timeline of its children", "job.timeline"),
    ]

    usual = "troubled first, then unfinished"

    class Seen(Message):
        """The job was read."""

        def __init__(self, picture: JobPicture) -> None:
            super().__init__()
            self.picture = picture

    def __init__(self, row: JobRow) -> None:
        super().__init__()
        self._row = row
        self._view: JobView | None = None
        self._picture: JobPicture | None = None
        self._is_reading = False
        self._is_stale = False

    @property
    def takes_keys(self) -> bool:
        """Whether the job was read, or can't be."""
        return self._picture is not None or self.has_failed

    @property
    def row(self) -> JobRow:
        """The job's row, as it is now."""
        return self.dashboard.jobs.catalogue.get(self._row.key) or self._row

    def compose(self) -> ComposeResult:
        """Header, verdict, facts, result, parts, footer."""
        yield self.header()
        yield Static(id="verdict", markup=False)
        yield Static(id="facts", markup=False)
        yield Static(id="result", markup=False)
        yield VirtualTable(PART_COLUMNS, id="table", pinned=1)
        yield Lines(id="last")
        yield Line(id="footer", classes="footer")

    def on_mount(self) -> None:
        """Read the job, now and whenever it changes."""
        for name, height in (("#verdict", 2), ("#facts", 2), ("#result", 1), ("#last", 0)):
            self.query_one(name).styles.height = height
        self.table.focus()
        self.dashboard.jobs.open(self._row.key)
        self._read()

    def on_unmount(self) -> None:
        """It is open no more, and nothing more is to be read."""
        if self._view is not None:
            self._view.stop()
            self._view.close()
        self.dashboard.jobs.close(self._row.key)

    def on_screen_suspend(self) -> None:
        """Process nothing behind another screen: ten million lines would slow down what is seen there."""
        if self._view is not None:
            self._view.stop()

    def on_screen_resume(self) -> None:
        """Go on with what was not processed."""
        if self._view is not None:
            self._view.go_on()
            self._read()

    def trail(self) -> Sequence[Part]:
        """The job's name, id and owner."""
        row = self.row
        return [row.label, Cell(f"   {row.id[:8]}", "dim"), f"   {self.dashboard.config.name_of(row.user)}"]

    def changed(self, change: Change) -> None:
        """Read the job again when it, or one of its children, changed."""
        if change.concerns(self._row.key):
            self._read()

    def _read(self) -> None:
        self._is_stale = self._is_reading
        if not self._is_reading:
            self._is_reading = True
            self.work(self._take_picture, "job")

    def _take_picture(self) -> None:
        """Read the job in a thread; first what is quickly read, then what its outputs come to."""
        from gnjobs.processes.presence import look

        started = time.monotonic()
        app = self.dashboard
        try:
            store = app.store_of(self._row)
            view = self._view = self._view or store.view(
                self._row.id, limits=app.config.limits, isolated=True
            )
            status = view.glance(look)
            snapshot = None if status.job.is_final else store.processes(self._row.id)
            parts = JobParts(status, snapshot, app.config.limits, app.jobs.now)
            history = snapshot.history if snapshot is not None else None
            self.post_message(self.Seen(JobPicture(status, parts, history)))
            (view.go_on if self.is_active else view.stop)()
            report = view.report(status.job, status.children)
            self.post_message(self.Seen(JobPicture(structs.replace(status, report=report), parts, history)))
        except NoSuchJob:
            if self._picture is None:  # else what was read before stays, and says so
                raise
        finally:
            pause = max(SHORTEST_PAUSE, PAUSE_FACTOR * (time.monotonic() - started))
            with suppress(RuntimeError):  # the app may have ended meanwhile
                app.call_from_thread(self.set_timer, pause, self._rested)

    def _rested(self) -> None:
        self._is_reading = False
        if self._is_stale:
            self._read()

    def on_job_screen_seen(self, message: Seen) -> None:
        """Show what was read."""
        self._picture = message.picture
        self.draw()

    @property
    def keys(self) -> Keys:
        """Fewer where there is little room."""
        return NARROW_KEYS if self.is_narrow else KEYS

    def draw_content(self) -> None:
        """Show the job as it was last read."""
        picture = self._picture
        if picture is None:
            state, says = state_cell(state_named(self.row.state)), Cell(self.unread(), "dim")
            self._show("#verdict", [[state, "   ", says], [self.row.says or ""]])
            return
        width, now = self.size.width, self.dashboard.jobs.now()
        rows = len(picture.parts) + HEADER_LINES
        has_room = self.size.height - LINES_AROUND - rows >= MANY_LINES
        if self.dashboard.jobs.catalogue.get(self._row.key) is None:
            verdict = GONE
        else:
            verdict = verdict_lines(picture.job, picture.status.health, width, 4 if has_room else 2)
        is_dead = picture.status.health.verdict == DEAD
        facts = fact_lines(picture.job, now, width, is_dead=is_dead)
        if not (picture.job.is_final or is_dead):
            facts.append([*trend_parts(self.row, picture.history, now, width)])
        around = 2 + len(verdict) + len(facts)
        result = result_lines(picture.status.report, self._room_for_result(around, rows), width)
        if self.size.height >= LOW:
            result.append([""])
        self._show("#verdict", verdict)
        self._show("#facts", facts)
        self._show("#result", result)
        self._make_room(self.size.height - around - len(result) - rows)
        self.table.show(picture.parts)
        self.draw_glance()

    def _make_room(self, free: int) -> None:
        """Leave what is free below the parts to last lines, whatever the cursor is on."""
        self.query_one("#last").styles.height = free if free >= LEAST_LAST else 0

    def aim(self) -> Aim | None:
        """What the cursor is on; None where there is no room for its lines."""
        height, part = self.query_one("#last").styles.height, self._part
        if part is None or height is None or not height.value:
            return None
        parts = [(part.id, part.label or part.id)] if isinstance(part, Child) else parts_of(self.row)
        news = (part.status, part.last_output, None if isinstance(part, Child) else part.lines)
        return Aim(self._row.prefix, self._row.id, parts, news, int(height.value))

    def draw_glance(self) -> None:
        """Show the last lines."""
        aim, last = self.aim(), self.query_one("#last", Lines)
        last.show_lines(glance_lines(self.glance, aim.lines, self.size.width) if aim is not None else [])

    def on_virtual_table_moved(self) -> None:
        """Show what can be done with the row, and its last lines."""
        self.show_keys()
        self.look()
        self.draw_glance()

    @property
    def can_be_killed(self) -> bool:
        """Whether the row of the cursor has not ended."""
        return (part := self._part) is None or not part.is_final

    @property
    def _part(self) -> Job | Child | None:
        """What the cursor is on, once the job was read."""
        picture = self._picture
        return None if picture is None else picture.parts.child(self.table.cursor_key) or picture.job

    def _room_for_result(self, around: int, rows: int) -> int:
        """Lines for the result: those that the parts leave free, and never fewer than a few."""
        is_high = self.size.height >= LOW
        free = self.size.height - around - is_high - min(rows, self.size.height // 2)
        return max(LEAST_RESULT if is_high else 2, free)

    def _show(self, name: str, rows: Rows) -> None:
        widget = self.query_one(name, Static)
        shown = lines(rows)
        if widget.content != shown:
            widget.styles.height = len(rows)
            widget.update(shown, layout=False)

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show the output of the row."""
        from gnjobs_tui.screens.output import OutputScreen

        self.app.push_screen(OutputScreen(self._target(message.key)))

    def _target(self, key: str | None) -> Target:
        """The part of a row."""
        picture, row = self._picture, self.row
        child = picture.parts.child(key) if picture is not None else None
        return target_of_row(row)._replace(
            child=None if key in (None, ITSELF) else key,
            child_label=child.label if child is not None else None,
            account=picture.job.account if picture is not None else None,
            percent=percent_done(row if child is None else child),
            silence=picture.parts.silence(child) if picture is not None else row.silence,
            state=None,
        )

    def target(self) -> Target:
        """The part that the cursor is on."""
        return self._target(self.table.cursor_key)

    def action_kill(self) -> None:
        """Ask what to kill: the row of the cursor."""
        if self.is_refused("kill"):
            return
        if self._part is not None and self._part.is_final:
            self.dashboard.say(f"nothing to kill: {ended_words(self._part, self.dashboard.jobs.now())}")
            return
        from gnjobs_tui.screens.kill import KillScreen

        self.app.push_screen(KillScreen([self.target()]))

    def action_processes(self) -> None:
        """Show the processes of the row as a tree."""
        from gnjobs_tui.screens.processes import ProcessesScreen

        self.app.push_screen(ProcessesScreen(self.target()))

    def action_timeline(self) -> None:
        """Show when the children waited, ran and ended."""
        from gnjobs_tui.screens.timeline import TimelineScreen

        self.app.push_screen(TimelineScreen(self._target(None)))

    def action_faults(self) -> None:
        """Show all faults."""
        from gnjobs_tui.screens.faults import FaultsScreen

        self.app.push_screen(FaultsScreen(self._target(None)))

    def action_fields(self) -> None:
        """Show every field of the record of what the cursor is on, ours and others'."""
        if self._part is not None:
            text = fields_text(self._part, self.dashboard.jobs.now())
            self.app.push_screen(TextScreen("All fields", text, wide=True, hang=NAME_WIDTH))
