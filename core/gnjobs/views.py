"""A job's status with its report, and views that process only what is new."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from gnjobs.errors import OutputRestarted
from gnjobs.foreign import PartFinder
from gnjobs.health import BeatClock, Health, Limits, Presence, assess
from gnjobs.lines import Hole, Line
from gnjobs.output_reader import OutputReader
from gnjobs.processing import Processing, Report, RunningProcessor, Source, start_processing
from gnjobs.records import Child, Job
from gnjobs.run_times import usual_run
from gnjobs.statuses import PENDING, RUNNING

if TYPE_CHECKING:
    from gnjobs.store import JobStore

_CHUNK = 2500  # a stop is noticed behind each
_LONG_RUN = 600.0

Look = Callable[[Job], Presence]


class JobStatus(msgspec.Struct, frozen=True):
    """A job, its children, its health, and the report on its outputs."""

    job: Job
    children: list[Child]
    health: Health
    report: Report


class JobView:
    """One job seen again and again: only lines that came since are processed.

    An output that began anew (it ends before what was read of it) makes the view begin anew, too. A view is for one
    thread at a time; `stop` and `go_on` alone may be called from another.
    """

    def __init__(
        self,
        store: "JobStore",
        job_id: str,
        processor: "Processing | None" = None,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.job_id = job_id
        self._processor = processor
        self._limits = limits
        self._running: RunningProcessor | None = None
        self._cursors: dict[str, int] = {}
        self._readers: dict[str, OutputReader] = {}
        self._settled: dict[str, Child] = {}
        self._beats = BeatClock(monotonic)
        self._parts = PartFinder(store.client, store.keys, job_id, monotonic)
        self._usual_run: float | None = None
        self._report = Report()
        self._is_stopped = False

    def stop(self) -> None:
        """Let a report that is being made in another thread end with what it has."""
        self._is_stopped = True

    def go_on(self) -> None:
        """Process again from now on, from where it was stopped."""
        self._is_stopped = False

    def status(self, look: Look | None = None) -> JobStatus:
        """Read the job as it is now and process what is new.

        `look` finds its processes when its supervisor is silent, by default those on this host.
        """
        seen = self.glance(look)
        return msgspec.structs.replace(seen, report=self.report(seen.job, seen.children))

    def glance(self, look: Look | None = None) -> JobStatus:
        """Read the job as it is now, with the report that was made last: quick however much was printed."""
        job = self.store.get(self.job_id)
        children = self.store.all_children(self.job_id, self._parts)
        return JobStatus(job, children, self._assess(job, children, look), self._report)

    def _assess(self, job: Job, children: list[Child], look: Look | None) -> Health:
        from gnjobs.presence import look as look_here

        now = self.store.now()
        return assess(
            job,
            now=now,
            beat_age=self._beats.age(job, now),
            children=children,
            snapshot=None if job.is_final else self.store.processes(self.job_id),
            limits=self._limits,
            look=look or look_here,
            usual_run=self._usual(job, now),
        )

    def _usual(self, job: Job, now: float) -> float | None:
        """How long jobs like a long one usually run; looked for once."""
        if (
            self._usual_run is None
            and job.status == RUNNING
            and job.started
            and now - job.started > _LONG_RUN
        ):
            self._usual_run = usual_run(self.store.client, self.store.keys, job.type) or 0.0
        return self._usual_run

    def report(self, job: Job, children: list[Child]) -> Report:
        """Process what is new in the outputs of a job and its children, and report."""
        try:
            self._feed_all(job, children)
        except OutputRestarted:
            self._running = None
            self._cursors, self._readers, self._settled = {}, {}, {}
            self._feed_all(job, children)
        assert self._running is not None
        self._report = self._running.report(job, children)
        return self._report

    def _feed_all(self, job: Job, children: list[Child]) -> None:
        if self._running is None:
            self._running = start_processing(job, self._processor)
        self._feed(self._running, Source("job", job.id, job.label), self.store.output(job.id))
        for child in children:
            if self._is_stopped:
                return
            if self._settled.get(child.id) == child:
                continue
            key = child.output_key or ""
            if self.store.keys.owns(self.job_id, key):
                reader = self._readers.setdefault(child.id, OutputReader(self.store.client, key))
                self._feed(self._running, Source("child", child.id, child.label), reader)
            if child.is_final or child.status == PENDING:
                self._settled[child.id] = child

    def _feed(self, running: RunningProcessor, source: Source, reader: OutputReader) -> None:
        place = f"{source.kind} {source.id}"
        while not self._is_stopped and (lines := self._new_lines(reader, self._cursors.get(place, 0))):
            running.feed(source, lines)
            last = lines[-1]
            self._cursors[place] = last.last if isinstance(last, Hole) else last.number

    def _new_lines(self, reader: OutputReader, cursor: int) -> list[Line | Hole]:
        """Read on from the last line that was processed, which must still be there, or trimmed away."""
        if not cursor:
            return reader.read(1, _CHUNK)
        lines = reader.read(cursor, _CHUNK)
        if not lines and reader.extent().last < cursor:
            raise OutputRestarted(f"{reader.key} now ends before line {cursor}")
        first = lines[0] if lines else None
        if isinstance(first, Hole) and first.last > cursor:
            return [Hole(cursor + 1, first.last), *lines[1:]]
        return lines[1:]
