"""A job's status with its report, and views that process only what is new."""

import time
from collections.abc import Callable, Sequence

import msgspec

from gnjobs.errors import OutputRestarted
from gnjobs.health.assess import BeatClock, assess
from gnjobs.health.verdict import Health, Limits
from gnjobs.outputs.lines import Hole, Line
from gnjobs.outputs.reader import OutputReader, open_output
from gnjobs.outputs.streams import read_short
from gnjobs.processes import presence
from gnjobs.processes.seen import Presence
from gnjobs.processes.stored import read_processes
from gnjobs.processing.isolated import IsolatedProcessor
from gnjobs.processing.processor import Processing, Source
from gnjobs.processing.registry import start_processing
from gnjobs.processing.report import Report, failed_report
from gnjobs.processing.running import Portion, RunningProcessor
from gnjobs.records.bounded import TooLarge
from gnjobs.records.fields import Child, Job
from gnjobs.records.foreign import PartFinder, counted
from gnjobs.records.indexes import usual_run
from gnjobs.records.reading import Records
from gnjobs.records.statuses import PENDING, RUNNING

_CHUNK = 2500  # a stop is noticed behind each
_CHILDREN_AT_ONCE = 100
_LONG_RUN = 600.0

Running = RunningProcessor | IsolatedProcessor
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
    thread at a time; `stop`, `go_on` and `close` alone may be called from another. `isolated`: the processor of a type
    that is not built in runs in a process of its own, where a step may compute for 2 s; otherwise nothing limits it.
    """

    def __init__(
        self,
        store: Records,
        job_id: str,
        processor: Processing | None = None,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        isolated: bool = False,
    ) -> None:
        self.store = store
        self.job_id = job_id
        self._processor = processor
        self._limits = limits
        self._isolated = isolated
        self._running: Running | None = None
        self._cursors: dict[tuple[str, str], int] = {}
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

    def close(self) -> None:
        """Let go of the processor, and of its process where it has one of its own."""
        if self._running is not None:
            self._running.close()

    def status(self, look: Look | None = None) -> JobStatus:
        """Read the job as it is now and process what is new.

        `look` finds its processes when its supervisor is silent, by default those on this host.
        """
        seen = self.glance(look)
        return msgspec.structs.replace(seen, report=self.report(seen.job, seen.children))

    def glance(self, look: Look | None = None) -> JobStatus:
        """Read the job as it is now, with the report that was made last: quick however much was printed."""
        job = self.store.get(self.job_id)
        children = self.store.all_children(self.job_id, self._parts, job)
        job = counted(job, children, has_all=self._parts.has_all)
        return JobStatus(job, children, self._assess(job, children, look), self._report)

    def _assess(self, job: Job, children: list[Child], look: Look | None) -> Health:
        now = self.store.now()
        snapshot = None if job.is_final else read_processes(self.store.client, self.store.keys, self.job_id)
        return assess(
            job,
            now=now,
            beat_age=self._beats.age(job, now),
            children=children,
            snapshot=snapshot,
            limits=self._limits,
            look=lambda silent: presence.look_well(silent, look or presence.look, lambda: snapshot),
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
            self.close()
            self._running = None
            self._cursors, self._readers, self._settled = {}, {}, {}
            self._feed_all(job, children)
        except TooLarge as problem:
            return failed_report(str(problem))
        assert self._running is not None
        self._report = self._running.report(job, children)
        return self._report

    def _feed_all(self, job: Job, children: list[Child]) -> None:
        if self._running is None:
            self._running = start_processing(job, self._processor, isolated=self._isolated)
        self._feed(self._running, Source("job", job.id, job.label), open_output(self.store, job.id))
        unsettled = [child for child in children if self._settled.get(child.id) != child]
        for start in range(0, len(unsettled), _CHILDREN_AT_ONCE):
            if self._is_stopped:
                return
            self._feed_children(self._running, unsettled[start : start + _CHILDREN_AT_ONCE])

    def _feed_children(self, running: Running, children: list[Child]) -> None:
        """Process what is new of some children; most say little, so they are read together and fed in one step."""
        sources = [
            (Source("child", child.id, child.label), child.output_key)
            for child in children
            if child.output_key and self.store.keys.owns(self.job_id, child.output_key)
        ]
        wanted = [(key, max(1, self._cursor(source))) for source, key in sources]
        portions: list[Portion] = []
        for (source, key), lines in zip(sources, read_short(self.store.client, wanted), strict=True):
            cursor = self._cursor(source)
            if lines is None or (cursor and not lines):
                reader = self._readers.setdefault(source.id, OutputReader(self.store.client, key))
                self._feed(running, source, reader)
            elif following := _after(lines, cursor):
                portions.append((source, following))
        if portions:
            running.feed(portions)
        for source, new in portions:
            self._move_on(source, new)
        if self._is_stopped:
            return  # some may have been read in part only
        self._settled |= {child.id: child for child in children if child.is_final or child.status == PENDING}

    def _feed(self, running: Running, source: Source, reader: OutputReader) -> None:
        while not self._is_stopped and (lines := self._new_lines(reader, self._cursor(source))):
            running.feed([(source, lines)])
            self._move_on(source, lines)

    def _cursor(self, source: Source) -> int:
        """The last line of a source that was processed, 0 before the first."""
        return self._cursors.get((source.kind, source.id), 0)

    def _move_on(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        self._cursors[source.kind, source.id] = lines[-1].last

    def _new_lines(self, reader: OutputReader, cursor: int) -> list[Line | Hole]:
        """Read on from the last line that was processed, which must still be there, or trimmed away."""
        if not cursor:
            return reader.read(1, _CHUNK)
        lines = reader.read(cursor, _CHUNK)
        if not lines and reader.extent().last < cursor:
            raise OutputRestarted(f"{reader.key} now ends before line {cursor}")
        return _after(lines, cursor)


def _after(lines: list[Line | Hole], cursor: int) -> list[Line | Hole]:
    """What follows the last line that was processed, where these begin with it, or with the hole that it is in now."""
    if not cursor:
        return lines
    first = lines[0] if lines else None
    if isinstance(first, Hole) and first.last > cursor:
        return [Hole(cursor + 1, first.last), *lines[1:]]
    return lines[1:]
