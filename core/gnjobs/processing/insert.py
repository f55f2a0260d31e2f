"""The processor of inserts: rows by table, rate, and the time that is left.

Its jobs write `record` lines `{"table": …, "rows": …, "total": …}` with the rows inserted so far.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.generic import InputWatch
from gnjobs.processing.processor import Source
from gnjobs.processing.report import Metric, Report, ReportTable
from gnjobs.records import values
from gnjobs.records.fields import Child, Job
from gnjobs.text import count_text, duration_words, plural

MOST_TABLES = 1000
_LONGEST_NAME = 200
_RATE_OVER_SECONDS = 60.0
_POINTS_APART = 0.5


class _Inserted(msgspec.Struct):
    table: str
    rows: int
    total: int | None = None


class _Count:
    """The newest count that one source gave for a table, and counts of the last minute for the rate."""

    def __init__(self) -> None:
        self.rows = 0
        self.total: int | None = None
        self._recent: deque[tuple[float, int]] = deque()

    def take(self, inserted: _Inserted, at: float | None) -> None:
        self.rows, self.total = inserted.rows, inserted.total
        if at is None:
            return
        recent = self._recent
        if len(recent) > 1 and at - recent[-2][0] < _POINTS_APART:
            recent.pop()
        recent.append((at, inserted.rows))
        while at - recent[0][0] > _RATE_OVER_SECONDS:
            recent.popleft()

    @property
    def rate(self) -> float:
        """Rows a second over the last minute; 0 where it is not known."""
        if len(self._recent) < 2:
            return 0.0
        (start, before), (end, after) = self._recent[0], self._recent[-1]
        return (after - before) / (end - start) if end > start else 0.0


class _Table:
    """One table, into which several children may insert."""

    def __init__(self) -> None:
        self.counts: dict[Source, _Count] = {}

    @property
    def rows(self) -> int:
        return sum(count.rows for count in self.counts.values())

    @property
    def total(self) -> int | None:
        """How many rows there will be; None while a child has not said how many of them are its own."""
        totals = [count.total for count in self.counts.values()]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def rate(self) -> float:
        return sum(count.rate for count in self.counts.values())


class InsertProcessor:
    """Sums up inserted rows by table."""

    JOB_TYPES: Final = ("insert",)

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._more_tables = False
        self._input = InputWatch()

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        """Take the records among the lines."""
        self._input.look(lines)
        for line in lines:
            if isinstance(line, Line) and line.kind == "record":
                inserted = values.json(line.text, _Inserted)
                if inserted is not None:
                    self._take(source, inserted, line.at)

    def _take(self, source: Source, inserted: _Inserted, at: float | None) -> None:
        name = inserted.table[:_LONGEST_NAME]
        if name in self._tables or len(self._tables) < MOST_TABLES:
            table = self._tables.setdefault(name, _Table())
            table.counts.setdefault(source, _Count()).take(inserted, at)
        else:
            self._more_tables = True

    def report(self, job: Job, children: Sequence[Child]) -> Report:  # noqa: ARG002
        """Say how many rows are in, how fast, and how long it will take."""
        rows = sum(table.rows for table in self._tables.values())
        totals = [table.total for table in self._tables.values() if table.total is not None]
        rate = sum(table.rate for table in self._tables.values())
        left = sum(totals) - rows if totals else 0
        headline = f"{plural(rows, 'row')} inserted"
        if totals:
            headline = f"{count_text(rows)} of {count_text(sum(totals))} rows inserted"
        if rate and left > 0 and not job.is_final:
            headline += f", {duration_words(left / rate)} left"
        metrics = (Metric("rows", rows), *((Metric("rate", round(rate, 1), "rows/s"),) if rate else ()))
        table = ReportTable(
            "rows by table",
            ("table", "rows", "of"),
            tuple((name, found.rows, found.total) for name, found in self._tables.items()),
        )
        percent = 100 * rows / sum(totals) if totals and sum(totals) else job.percent
        notes = self._input.notes
        if self._more_tables:
            notes = (*notes, f"and more tables than the {MOST_TABLES} counted")
        return Report(headline, percent, metrics, (table,) if self._tables else (), notes)
