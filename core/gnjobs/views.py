"""A job's status with its report, and views that process only what is new."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gnjobs.health import Health, Limits, assess
from gnjobs.lines import Hole
from gnjobs.output_reader import OutputReader
from gnjobs.processing import Processing, Report, Source, start_processing
from gnjobs.records import Child, Job

if TYPE_CHECKING:
    from gnjobs.store import JobStore

_CHUNK = 10_000


class JobStatus(msgspec.Struct, frozen=True):
    """A job, its children, its health, and the report on its outputs."""

    job: Job
    children: list[Child]
    health: Health
    report: Report


class JobView:
    """One job seen again and again: only lines that came since are processed.

    An output that began anew (its last line is before the cursor) makes the view begin anew, too.
    """

    def __init__(
        self,
        store: "JobStore",
        job_id: str,
        processor: "Processing | None" = None,
        limits: Limits | None = None,
    ) -> None:
        self.store = store
        self.job_id = job_id
        self._processor = processor
        self._limits = limits
        self._running: Any = None
        self._cursors: dict[Source, int] = {}

    def status(self, look: Callable[[Job], Any] | None = None) -> JobStatus:
        """Read the job as it is now and process what is new."""
        job = self.store.get(self.job_id)
        children = self.store.all_children(self.job_id)
        snapshot = None if job.is_final else self.store.processes(self.job_id)
        health = assess(
            job, now=self.store.now(), children=children, snapshot=snapshot, limits=self._limits, look=look
        )
        return JobStatus(job, children, health, self._report(job, children))

    def _report(self, job: Job, children: list[Child]) -> Report:
        sources = [
            (Source("job", job.id, job.label), self.store.output(job.id)),
            *self._child_sources(children),
        ]
        if any(reader.extent().last < self._cursors.get(source, 0) for source, reader in sources):
            self._running, self._cursors = None, {}
        if self._running is None:
            self._running = start_processing(job, self._processor)
        for source, reader in sources:
            self._feed(source, reader)
        report: Report = self._running.report(job, children)
        return report

    def _child_sources(self, children: list[Child]) -> list[tuple[Source, OutputReader]]:
        found = []
        for child in children:
            if self.store.keys.owns(self.job_id, child.output_key or ""):
                reader = OutputReader(self.store.client, child.output_key or "")
                found.append((Source("child", child.id, child.label), reader))
        return found

    def _feed(self, source: Source, reader: OutputReader) -> None:
        while lines := reader.read(self._cursors.get(source, 0) + 1, _CHUNK):
            self._running.feed(source, lines)
            last = lines[-1]
            self._cursors[source] = last.last if isinstance(last, Hole) else last.number
