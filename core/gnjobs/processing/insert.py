"""The processor of inserts: rows by table, rate, and the time that is left.

Its jobs write `record` lines `{"table": …, "rows": …, "total": …}` with the rows inserted so far.
"""

from collections.abc import Sequence

import msgspec

from gnjobs.durations import duration_words
from gnjobs.lines import Hole, Line
from gnjobs.processing.generic import InputWatch
from gnjobs.processing.processor import Source
from gnjobs.processing.report import Metric, Report, ReportTable
from gnjobs.records import Child, Job

_RATE_OVER_SECONDS = 60.0


class _Inserted(msgspec.Struct):
    table: str
    rows: int
    total: int | None = None


class _Table:
    """What is known of one table: the newest count, and the counts of the last minute for the rate."""

    def __init__(self) -> None:
        self.rows = 0
        self.total: int | None = None
        self.recent: list[tuple[float, int]] = []

    def take(self, inserted: _Inserted, at: float | None) -> None:
        self.rows, self.total = inserted.rows, inserted.total
        if at is not None:
            self.recent.append((at, inserted.rows))
            self.recent = [point for point in self.recent if at - point[0] <= _RATE_OVER_SECONDS]

    @property
    def rate(self) -> float | None:
        """Rows a second over the last minute."""
        if len(self.recent) < 2:
            return None
        (start, before), (end, after) = self.recent[0], self.recent[-1]
        return (after - before) / (end - start) if end > start else None


class InsertProcessor:
    """Sums up inserted rows by table."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._input = InputWatch()

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:  # noqa: ARG002
        """Take the records among the lines."""
        self._input.look(lines)
        for line in lines:
            if isinstance(line, Line) and line.kind == "record":
                try:
                    inserted = msgspec.json.decode(line.text, type=_Inserted)
                except (msgspec.DecodeError, UnicodeError):
                    continue
                self._tables.setdefault(inserted.table, _Table()).take(inserted, line.at)

    def report(self, job: Job, children: Sequence[Child]) -> Report:  # noqa: ARG002
        """Say how many rows are in, how fast, and how long it will take."""
        rows = sum(table.rows for table in self._tables.values())
        totals = [table.total for table in self._tables.values() if table.total is not None]
        rate = sum(table.rate or 0.0 for table in self._tables.values())
        left = sum(totals) - rows if totals else 0
        headline = f"{rows:,} rows inserted".replace(",", " ")
        if totals:
            headline = f"{rows:,} of {sum(totals):,} rows inserted".replace(",", " ")
        if rate and left > 0 and not job.is_final:
            headline += f", {duration_words(left / rate)} left"
        metrics = (Metric("rows", rows), *((Metric("rate", round(rate, 1), "rows/s"),) if rate else ()))
        table = ReportTable(
            "rows by table",
            ("table", "rows", "of"),
            tuple((name, found.rows, found.total) for name, found in self._tables.items()),
        )
        percent = 100 * rows / sum(totals) if totals and sum(totals) else job.percent
        return Report(headline, percent, metrics, (table,) if self._tables else (), self._input.notes)
