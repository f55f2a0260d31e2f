"""The processor of jobs whose type nobody registered: counts by kind, warnings, and the last words."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from gnjobs.outputs.faults import line_sentence
from gnjobs.outputs.lines import KINDS, Hole, Line
from gnjobs.processing.processor import Source
from gnjobs.processing.report import Metric, Report
from gnjobs.records import values
from gnjobs.records.fields import Child, Job

_LONGEST_WORDS = 200
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class _LogLevel(msgspec.Struct):
    level: str = ""


class InputWatch:
    """Notes what of the input was missing: trimmed beginnings and holes."""

    def __init__(self) -> None:
        self.missing = 0

    def look(self, lines: Sequence[Line | Hole]) -> None:
        """Count the lines that are missing."""
        self.missing += sum(line.last - line.first + 1 for line in lines if isinstance(line, Hole))

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of it."""
        lines = "1 line is" if self.missing == 1 else f"{self.missing} lines are"
        return (f"{lines} missing or trimmed, and not in this report",) if self.missing else ()


class GenericProcessor:
    """Says how much was printed, how many warnings there were, and the last error."""

    JOB_TYPES: Final = ("generic",)

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._levels: Counter[str] = Counter()
        self._last_error = ""
        self._last_line = ""
        self._input = InputWatch()

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:  # noqa: ARG002
        """Count lines and levels."""
        self._input.look(lines)
        for line in lines:
            if isinstance(line, Line):
                self._kinds[line.kind if line.kind in KINDS else "other"] += 1
                self._last_line = line.text[:_LONGEST_WORDS] if line.kind == "out" else self._last_line
                if line.kind == "err":
                    self._last_error = line.text[:_LONGEST_WORDS]
                elif line.kind == "log":
                    self._count_level(line)

    def _count_level(self, line: Line) -> None:
        found = values.json(line.text, _LogLevel)
        if found is None:
            return
        level = found.level.upper()
        self._levels[level if level in _LEVELS else "OTHER"] += 1
        if level in ("ERROR", "CRITICAL"):
            self._last_error = line_sentence(line)[:_LONGEST_WORDS]

    def report(self, job: Job, children: Sequence[Child]) -> Report:  # noqa: ARG002
        """Sum up."""
        total = sum(self._kinds.values())
        headline = self._last_error or job.message or self._last_line or "no output yet"
        metrics = [Metric("lines", total)]
        metrics += [
            Metric(f"{level.lower()} lines", count)
            for level, count in self._levels.items()
            if level in ("WARNING", "ERROR", "CRITICAL")
        ]
        metrics += [
            Metric(f"{kind} lines", count)
            for kind, count in self._kinds.items()
            if kind not in ("out", "log")
        ]
        return Report(headline, job.percent, tuple(metrics), notes=self._input.notes)
