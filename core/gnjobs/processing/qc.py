"""The processor of quality checks: faults by file, equal ones grouped, and how far the check is."""

from collections.abc import Sequence

from gnjobs.faults import Fault, all_faults, read_fault, sentence
from gnjobs.lines import Hole, Line
from gnjobs.processing.generic import InputWatch
from gnjobs.processing.processor import Source
from gnjobs.processing.report import Metric, Report, ReportTable
from gnjobs.records import Child, Job

__all__ = ["Fault", "QcProcessor", "all_faults", "sentence"]

MOST_GROUPS = 500
FAULT_COLUMNS = ("file", "row", "row title", "column", "column title", "value", "expected", "fault")


class QcProcessor:
    """Groups equal faults (the same complaint in the same file) and keeps the first of each."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], Fault] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._files: set[str] = set()
        self._total = 0
        self._input = InputWatch()

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        """Take the faults among the lines."""
        self._input.look(lines)
        for line in lines:
            if isinstance(line, Line) and (fault := read_fault(line)) is not None:
                self._add(fault, source)

    def _add(self, fault: Fault, source: Source) -> None:
        file = fault.file or source.label or source.id
        self._total += 1
        self._files.add(file)
        group = (file, fault.what)
        if group in self._counts:
            self._counts[group] += 1
        elif len(self._counts) < MOST_GROUPS:
            self._counts[group] = 1
            self._first[group] = fault

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        """Say how many faults there are in how many files, and show the first of each group."""
        checked = sum(child.done or 0 for child in children if child.unit in ("rows", "lines"))
        metrics = [Metric("faults", self._total)] + (
            [Metric("rows checked", int(checked))] if checked else []
        )
        notes = list(self._input.notes)
        hidden = self._total - sum(self._counts.values())
        if hidden:
            notes.append(f"and {hidden} faults of more kinds than the {MOST_GROUPS} shown")
        tables = (self._table(),) if self._counts else ()
        return Report(self._headline(job, children), job.percent, tuple(metrics), tables, tuple(notes))

    def _headline(self, job: Job, children: Sequence[Child]) -> str:
        so_far = "" if job.is_final else " so far"
        files = sum(1 for child in children if child.output_key and not (child.label or "").endswith("(log)"))
        total = max(files, len(self._files))
        if not self._total:
            return f"no faults in {_number(total, 'file')}{so_far}" if total else f"no faults{so_far}"
        within = f"{len(self._files)} of {_number(total, 'file')}" if total > len(self._files) else ""
        return f"{_number(self._total, 'fault')} in {within or _number(len(self._files), 'file')}{so_far}"

    def _table(self) -> ReportTable:
        groups = sorted(self._counts, key=lambda group: (-self._counts[group], group))
        rows = tuple(_row(group[0], self._first[group]) for group in groups)
        return ReportTable(
            "faults, the first of each kind", FAULT_COLUMNS, rows, tuple(self._counts[g] for g in groups)
        )


def _row(file: str, fault: Fault) -> tuple[str | int | None, ...]:
    titles = (fault.row, fault.row_title, fault.column, fault.column_title)
    return (file, *titles, fault.value, fault.expected or fault.message, sentence(fault))


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
