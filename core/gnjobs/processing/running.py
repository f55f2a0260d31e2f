"""A processor at work in this process: whatever it raises, and however much it says, nothing else suffers."""

from collections.abc import Callable, Sequence

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.processor import Processor, Source
from gnjobs.processing.report import Report, bounded, failed_report
from gnjobs.records.fields import Child, Job

Portion = tuple[Source, Sequence[Line | Hole]]


class RunningProcessor:
    """A processor at work on one job; after its first failure it is left alone, and the report says why.

    Nothing limits its time: see `IsolatedProcessor` for code that may never end.
    """

    def __init__(self, make: Callable[[], Processor]) -> None:
        self._processor: Processor | None = None
        self._failure = ""
        try:
            self._processor = make()
        except Exception as error:  # noqa: BLE001 - whatever somebody's code raises is reported, not raised
            self._fail(error)

    def feed(self, portions: Sequence[Portion]) -> None:
        """Pass on the next lines of some sources."""
        if self._processor is None:
            return
        try:
            for source, lines in portions:
                self._processor.feed(source, lines)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        """The processor's report, of 1 MB at most, or one that says how it failed."""
        if self._processor is not None:
            try:
                return bounded(self._processor.report(job, children))
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)
        return failed_report(self._failure)

    def close(self) -> None:
        """Nothing is held that would have to be released."""

    def _fail(self, error: Exception) -> None:
        self._processor = None
        self._failure = f"its processor failed: {type(error).__name__}: {str(error)[:500]}"
