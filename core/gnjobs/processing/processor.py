"""What a processor is: fed numbered lines source by source, and asked for a report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from gnjobs.lines import Hole, Line
from gnjobs.processing.report import Cell, Metric, Report
from gnjobs.records import Child, Job


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
    """A plain function of all lines as a processor: it may return a `Report`, a headline, or a mapping of metrics."""

    def __init__(self, function: Callable[[Iterable[Line]], Any]) -> None:
        self._function = function
        self._lines: list[Line] = []

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:  # noqa: ARG002
        """Keep the lines for the next report."""
        self._lines += [line for line in lines if isinstance(line, Line)]

    def report(self, job: Job, children: Sequence[Child]) -> Report:  # noqa: ARG002
        """Call the function with all lines so far."""
        said = self._function(iter(self._lines))
        if isinstance(said, Report):
            return said
        if isinstance(said, Mapping):
            metrics = tuple(Metric(str(name), _cell(value)) for name, value in said.items())
            return Report(", ".join(f"{m.value} {m.name}" for m in metrics[:3]), metrics=metrics)
        return Report(str(said))


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float | None) else str(value)
