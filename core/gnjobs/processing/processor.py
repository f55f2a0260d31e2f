"""What a processor is: fed numbered lines source by source, and asked for a report."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.report import Cell, Metric, Report
from gnjobs.records.fields import Child, Job

LARGEST_INPUT = 256 * 1024 * 1024  # bytes
_LINE_OVERHEAD = 150  # bytes that a line takes besides its text


class Source(NamedTuple):
    """Where lines come from: the job's own output, or a child's."""

    kind: Literal["job", "child"]
    id: str
    label: str | None = None


@runtime_checkable
class Processor(Protocol):
    """Makes sense of one job's outputs; a new one is made for each view of a job."""

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        """Take the next lines of a source; every line comes once, in order, and what is missing as a `Hole`."""

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        """Say what the lines so far come to."""


Processing = Processor | Callable[[], Processor] | Callable[[Iterable[Line]], Any]


class FunctionProcessor:
    """A plain function of all lines as a processor: it may return a `Report`, a headline, or a mapping of metrics.

    It is called again only when lines have come. Of outputs larger than memory should hold it is given the newest
    lines, and the report says so.
    """

    def __init__(self, function: Callable[[Iterable[Line]], Any], largest_input: int = LARGEST_INPUT) -> None:
        self._function = function
        self._largest_input = largest_input
        self._lines: deque[Line] = deque()
        self._size = 0
        self._dropped = 0
        self._said: Report | None = None

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:  # noqa: ARG002
        """Keep the lines for the next report."""
        new = [line for line in lines if isinstance(line, Line)]
        if new:
            self._said = None
        self._lines += new
        self._size += sum(_size(line) for line in new)
        while self._size > self._largest_input and len(self._lines) > 1:
            self._size -= _size(self._lines.popleft())
            self._dropped += 1

    def report(self, job: Job, children: Sequence[Child]) -> Report:  # noqa: ARG002
        """Call the function with all lines so far, if there are new ones."""
        if self._said is None:
            said = _as_report(self._function(iter(self._lines)))
            if self._dropped:
                note = f"the function was given the last {len(self._lines)} lines, without {self._dropped} before"
                said = msgspec.structs.replace(said, notes=(*said.notes, note))
            self._said = said
        return self._said


def _size(line: Line) -> int:
    return len(line.text) + _LINE_OVERHEAD


def _as_report(said: Any) -> Report:
    if isinstance(said, Report):
        return said
    if isinstance(said, Mapping):
        metrics = tuple(Metric(str(name), _cell(value)) for name, value in said.items())
        return Report(", ".join(f"{m.value} {m.name}" for m in metrics[:3]), metrics=metrics)
    return Report(str(said))


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float | None) else str(value)
