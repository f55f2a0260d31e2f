"""The pulse: what is unusual, in words, then jobs by day and type, and hosts, in one table."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar, Final

from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from gnjobs.health.hosts import HostHealth
from gnjobs.health.states import DONE, FAILED, FAULTS, KILLED, LOST
from gnjobs.text import HOUR, age_text, count_text
from gnjobs.watch.filters import quoted
from gnjobs.watch.pulse import (
    MOST_JOBS,
    QUEUE,
    Day,
    Finding,
    Pulse,
    Tally,
    TypeOfJobs,
    range_begin,
    take_pulse,
)
from gnjobs.watch.rows import JobRow
from gnjobs_tui.keys import bind
from gnjobs_tui.screens.hosts import BeatsScreen, agent_cell, hosts_now
from gnjobs_tui.screens.job_facts import break_lines
from gnjobs_tui.style import GLYPHS, Cell, Parts, content, safe
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.line import Line, Lines
from gnjobs_tui.widgets.rows import RowList
from gnjobs_tui.widgets.table import VirtualTable

# The titles are those of the days; types and hosts have rows of titles.
COLUMNS: Final = (
    Column("name", "Day", 12, 100, grows=1),
    Column("trend", "Created", 10, 94, grows=2),
    Column("jobs", "Jobs", 7, 99, "right"),
    Column("done", "Done", 6, 90, "right"),
    Column("faults", "Faults", 6, 85, "right"),
    Column("failed", "Failed", 6, 98, "right"),
    Column("killed", "Killed", 6, 50, "right"),
    Column("lost", "Lost", 6, 60, "right"),
    Column("waited", "Waited", 7, 95, "right"),
    Column("run", "Longest", 7, 97, "right"),
    Column("usual", "", 8, 96, "right"),
)
TYPE_TITLES: Final = {
    "name": "Type",
    "trend": "Run by day",
    "waited": "Waited",
    "run": "Run 24h",
    "usual": "Usual",
}
HOST_TITLES: Final = {
    "name": "Host",
    "trend": "Agent",
    "jobs": "At work",
    "done": "Load",
    "faults": "Cores",
    "failed": "Silent",
    "waited": "Memory",
    "usual": "CPU",
}
STATES: Final = {"done": DONE, "faults": FAULTS, "failed": FAILED, "killed": KILLED, "lost": LOST}
FAILED_LATELY: Final = "state:error,lost ended<24h"
WAITING: Final = "state:pending"
READ_EVERY: Final = 10.0
LOOK_EVERY: Final = 2.0
# So many times longer than it took to measure, nothing is measured.
REST: Final = 20
TALL: Final = 40
DAYS_ON_LOW_SCREENS: Final = 7
MOST_TYPES: Final = 50
LABEL_WIDTH: Final = 11
MOST_LINES: Final = 3
SPARK_FROM_WIDTH: Final = 120


class PulseScreen(BeatsScreen):
    """Measures the jobs that the dashboard holds, in a thread, and again when they have changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("f", "failed", "Jobs that failed in the last 24 h", "pulse.failed"),
        bind("w", "waiting", "Jobs that wait", "pulse.waiting"),
        bind("h", "app.hosts", "Show hosts with their agents", "pulse.hosts"),
    ]
    keys = (
        ("enter", "these jobs"),
        ("f", "failed in 24 h"),
        ("w", "waiting"),
        ("h", "hosts"),
        (":", "more"),
        ("?", "help"),
        ("esc", "back"),
    )
    table = getters.query_one("#table", VirtualTable)

    class Measured(Message):
        """The jobs were measured."""

        def __init__(self, pulse: Pulse) -> None:
            super().__init__()
            self.pulse = pulse

    _pulse: Pulse | None = None
    _measured_version = -1
    _rests_until = 0.0

    @property
    def takes_keys(self) -> bool:
        """Whether the jobs were measured."""
        return self._pulse is not None or self.has_failed

    def compose(self) -> ComposeResult:
        """Header, findings, table, footer."""
        yield self.header()
        yield Lines(id="findings")
        yield VirtualTable(COLUMNS, id="table")
        yield Line(id="footer", classes="footer")

    def on_mount(self) -> None:
        """Measure and read, now and as long as it is looked at."""
        self.table.focus()
        self._look()
        self.read_beats()
        self.set_interval(LOOK_EVERY, self._look)

    def trail(self) -> Parts:
        """Where we are, and of what it speaks."""
        progress = self.dashboard.jobs.progress
        said = self._pulse.range_words if self._pulse is not None and progress is not None else ""
        loading = f"   loading {progress:.0%}" if progress is not None and progress < 1 else ""
        return ["pulse   ", Cell(said, "dim"), Cell(loading, "accent")]

    def _look(self) -> None:
        jobs = self.dashboard.jobs
        is_stale = jobs.catalogue.version != self._measured_version or self._is_old
        if self.is_current and is_stale and time.monotonic() >= self._rests_until:
            self._measured_version = jobs.catalogue.version
            self._rests_until = float("inf")
            now = jobs.now()
            rows = jobs.catalogue.created_since(range_begin(now), MOST_JOBS)
            self.work(lambda: self._measure(rows, now), "pulse")

    @property
    def _is_old(self) -> bool:
        return self._pulse is None or self.dashboard.jobs.now() - self._pulse.now > READ_EVERY

    def _measure(self, rows: Sequence[JobRow], now: float) -> None:
        begin = time.monotonic()
        try:
            pulse = take_pulse(rows, now, is_cut=len(rows) == MOST_JOBS)
        finally:
            end = time.monotonic()
            self._rests_until = end + REST * (end - begin)
        self.post_message(self.Measured(pulse))

    def on_pulse_screen_measured(self, message: Measured) -> None:
        """Show what was measured."""
        self._pulse = message.pulse
        self.draw()

    def draw_content(self) -> None:
        """Show the pulse and the hosts as they are known."""
        if (
            self._pulse is None or self.dashboard.jobs.progress is None
        ):  # nobody knows yet how many jobs there are
            self.table.show(RowList([]), empty=self.unread("measuring …"))
            return
        hosts = None if self._beats is None else hosts_now(self.dashboard, self._beats)
        self._draw_findings(self._pulse, hosts)
        days = self._pulse.days[: None if self.size.height >= TALL else DAYS_ON_LOW_SCREENS]
        shown = [
            *_day_rows(days, self._trend_width()),
            *_type_rows(self._pulse.types[:MOST_TYPES], self._trend_width()),
            *_host_rows(hosts or [], self._pulse.now),
        ]
        self.table.show(RowList(shown))

    def _draw_findings(self, pulse: Pulse, hosts: list[HostHealth] | None) -> None:
        width = self.size.width - LABEL_WIDTH
        rows: list[Parts] = []
        for found in pulse.findings(hosts):
            rows += _finding_lines(found, width)
            if found.about == QUEUE and width >= SPARK_FROM_WIDTH and any(pulse.waiting):
                spark = GLYPHS.spark(pulse.waiting, len(pulse.waiting))
                said = f" at most {count_text(max(pulse.waiting))} waited at once in this time"
                rows.append([" " * LABEL_WIDTH, Cell(spark, "accent"), said])
        findings = self.query_one("#findings", Lines)
        findings.styles.height = len(rows)
        findings.show_lines([content(*row) for row in rows])

    def _trend_width(self) -> int:
        return next((each.width for each in self.table.drawing.placed if each.column.id == "trend"), 0)

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show the jobs that a row counts."""
        kind, _, name = message.key.partition(":")
        if kind == "day" and self._pulse is not None:
            now, begin = self._pulse.now, float(name)
            ends = [each.begin for each in self._pulse.days if each.begin > begin]
            until = f" age>{(now - min(ends)) / HOUR:.1f}h" if ends else ""
            self.dashboard.open_jobs(f"age<={(now - begin) / HOUR:.1f}h{until}")
        elif kind in ("type", "host") and name:
            self.dashboard.open_jobs(f"{kind}:{quoted(name)}")

    def action_failed(self) -> None:
        """Show what failed lately."""
        self.dashboard.open_jobs(FAILED_LATELY)

    def action_waiting(self) -> None:
        """Show what waits."""
        self.dashboard.open_jobs(WAITING)


def _finding_lines(found: Finding, width: int) -> Iterator[Parts]:
    token = "warning-bold" if found.is_trouble else "dim"
    sign = "!" if found.is_trouble else " "
    for number, line in enumerate(break_lines(safe(found.text), width, MOST_LINES)):
        label = f"{sign} {found.about}" if number == 0 else ""
        yield Cell(label.ljust(LABEL_WIDTH), token), line


def _titles(name: str, titles: dict[str, str]) -> tuple[str, Cells]:
    return f"titles:{name}", {column: Cell(title, "bold") for column, title in titles.items()}


def _tally_cells(tally: Tally) -> Cells:
    cells = {
        column: Cell(count_text(number), state.token if column in ("failed", "lost") else "plain")
        for column, state in STATES.items()
        if (number := tally.ended.get(state.word, 0))
    }
    return {"jobs": Cell(count_text(tally.created)), "waited": Cell(age_text(tally.waited)), **cells}


def _day_rows(days: Sequence[Day], width: int) -> Iterator[tuple[str, Cells]]:
    most = max((day.created for day in days), default=0) or 1
    for number, day in enumerate(days):
        when = datetime.fromtimestamp(day.begin)
        bar = GLYPHS.full * -(-day.created * width // most)
        longest = Cell(age_text(day.longest_wait))
        name = "today" if number == 0 else f"{when:%a} {when.day} {when:%b}"
        yield (
            f"day:{day.begin}",
            {"name": Cell(name), "trend": Cell(bar, "accent"), "run": longest, **_tally_cells(day)},
        )


def _type_rows(types: Sequence[TypeOfJobs], width: int) -> Iterator[tuple[str, Cells]]:
    if types:
        yield _titles("types", {"jobs": "Jobs", **{key: key.capitalize() for key in STATES}, **TYPE_TITLES})
    for found in types:
        cells = {
            "name": Cell(
                found.name, "bold" if found.is_failing or found.is_slower or found.late else "plain"
            ),
            "trend": Cell(GLYPHS.spark(found.trend, max(1, width)) if any(found.trend) else "", "accent"),
            "run": Cell(age_text(found.run), "warning-bold" if found.is_slower else "plain"),
            "usual": Cell(age_text(found.usual_run)),
        }
        yield f"type:{found.name}", {**_tally_cells(found), **cells}


def _host_rows(hosts: Sequence[HostHealth], now: float) -> Iterator[tuple[str, Cells]]:
    if hosts:
        yield _titles("hosts", HOST_TITLES)
    for host in hosts:
        load = host.load if host.answers else None
        is_loaded = load is not None and 0 < load.cores < load.load
        used = f"{100 * (load.memory - load.free) / load.memory:.0f} %" if load and load.memory else ""
        yield (
            f"host:{host.host}",
            {
                "name": Cell(host.host, "bold" if host.is_troubled else "plain"),
                "trend": agent_cell(host, now),
                "jobs": Cell(str(host.running or "")),
                "done": Cell(f"{load.load:.1f}" if load else "", "warning-bold" if is_loaded else "plain"),
                "faults": Cell(str(load.cores) if load else ""),
                "failed": Cell(str(host.silent or ""), "warning-bold"),
                "waited": Cell(used),
                "usual": Cell(f"{host.cpu:.0f}%" if host.running else ""),
            },
        )
