"""The processor of quality checks: faults by file, equal ones grouped, and how far the check is."""

from collections.abc import Sequence
from typing import Final

import msgspec

from gnjobs.outputs.faults import Fault, read_fault, sentence
from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.generic import InputWatch
from gnjobs.processing.processor import Source
from gnjobs.processing.report import Metric, Report, ReportTable
from gnjobs.records.fields import Child, Job
from gnjobs.records.statuses import PENDING
from gnjobs.text import plural

MOST_GROUPS = 500
_MOST_FILES = 100_000
_LONGEST_NAME = 500
_LONGEST_VALUE = 200
_ENDS = {"error": " before it failed", "killed": " before it was killed", "lost": " before it was lost"}
FAULT_COLUMNS = ("file", "row", "row title", "column", "column title", "value", "expected", "fault")


class QcProcessor:
    """Groups equal faults (the same complaint in the same file) and keeps the first of each."""

    # The others are gn-uploader's own names of the types whose outputs it understands.
    JOB_TYPES: Final = ("qc", "qc-rqtl2-bundle", "rqtl2-bundle-qc", "phenotype-qc")

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
        file = (fault.file or source.label or source.id)[:_LONGEST_NAME]
        self._total += 1
        if len(self._files) < _MOST_FILES:
            self._files.add(file)
        group = (file, fault.what[:_LONGEST_NAME])
        if group in self._counts:
            self._counts[group] += 1
        elif len(self._counts) < MOST_GROUPS:
            self._counts[group] = 1
            self._first[group] = _short(fault)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        """Say how many faults there are in how many files, and show the first of each group."""
        checked = sum(child.done or 0 for child in children if child.unit in ("rows", "lines"))
        total = self._all_faults(job)
        metrics = [Metric("faults", total)] + ([Metric("rows checked", int(checked))] if checked else [])
        notes = list(self._input.notes)
        hidden = total - sum(self._counts.values())
        if hidden:
            notes.append(f"and {plural(hidden, 'fault')} {self._why_hidden}")
        tables = (self._table(),) if self._counts else ()
        return Report(self._headline(job, children), job.percent, tuple(metrics), tables, tuple(notes))

    def _all_faults(self, job: Job) -> int:
        """How many there are; where lines are missing, the job's own count knows of more."""
        return max(self._total, job.faults or 0) if self._input.missing else self._total

    @property
    def _why_hidden(self) -> str:
        of_more_kinds = self._total > sum(self._counts.values())
        reasons = [f"of more kinds than the {MOST_GROUPS} shown"] if of_more_kinds else []
        return " or ".join(reasons + (["whose lines are missing"] if self._input.missing else []))

    def _headline(self, job: Job, children: Sequence[Child]) -> str:
        when = _ENDS.get(job.status or "", "" if job.is_final else " so far")
        parts = [
            child for child in children if child.output_key and not (child.label or "").endswith("(log)")
        ]
        files, bad = max(len(parts), len(self._files)), len(self._files)
        unsound = sum(1 for child in parts if child.status in _ENDS)
        rest = f", {plural(unsound, 'file')} not checked to the end" if unsound else ""
        total = self._all_faults(job)
        if not total:
            if job.status == PENDING:
                return "nothing checked yet"
            return f"no faults in {plural(files, 'file')}{when}{rest}" if files else f"no faults{when}"
        within = f"{bad} of {plural(files, 'file')}" if files > bad else plural(bad, "file")
        return f"{plural(total, 'fault')} in {within}{when}{rest}"

    def _table(self) -> ReportTable:
        groups = sorted(self._counts, key=lambda group: (-self._counts[group], group))
        rows = tuple(_row(group[0], self._first[group]) for group in groups)
        return ReportTable(
            "faults, the first of each kind", FAULT_COLUMNS, rows, tuple(self._counts[g] for g in groups)
        )


def _short(fault: Fault) -> Fault:
    """Keep as much of a fault as a report shows, so that many gigantic ones fit into memory."""
    shortened = {
        name: value[:_LONGEST_VALUE]
        for name, value in msgspec.structs.asdict(fault).items()
        if isinstance(value, str) and len(value) > _LONGEST_VALUE
    }
    return msgspec.structs.replace(fault, **shortened)


def _row(file: str, fault: Fault) -> tuple[str | int | None, ...]:
    titles = (fault.row, fault.row_title, fault.column, fault.column_title)
    return (file, *titles, fault.value, fault.expected or fault.message, sentence(fault))
