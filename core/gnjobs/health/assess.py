"""The verdict on an unfinished job, derived and never stored, with evidence that a person can check."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from gnjobs.health.silence import disagreements, judge_parts
from gnjobs.health.verdict import DEAD, NO_BEAT, OK, QUIET, STUCK, Health, Limits, worst_of
from gnjobs.processes.seen import Presence, ProcessSnapshot
from gnjobs.records.fields import SLURM, Child, Job
from gnjobs.records.statuses import LOST, PENDING, RUNNING, STOPPING
from gnjobs.text import MINUTE, clock_text, duration_words, last_line

BEAT_SECONDS: Final = 5.0
LEAST_OVERDUE: Final = 15.0
QUEUE_SECONDS: Final = 180.0
LONG_RUN_FACTOR: Final = 3.0
_LATEST: Final = 2 * MINUTE  # a supervisor that gets no processor for longer has another fault


class BeatClock:
    """The ages of heartbeats, by the monotonic time since the reader saw them change: no clock's jump counts."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[float, float]] = {}

    def age(self, job: Job, now: float, key: str = "") -> float | None:
        """Seconds since this job's beat changed; at first sight, as the server's clock `now` has it.

        A `key` tells jobs of one id apart where several prefixes are read.
        """
        if job.heartbeat is None:
            return None
        key = key or job.id
        beat, seen_at = self._seen.get(key, (None, 0.0))
        if beat != job.heartbeat:
            first_age = max(0.0, now - job.heartbeat) if beat is None else 0.0
            seen_at = self._monotonic() - first_age
            self._seen[key] = (job.heartbeat, seen_at)
        return self._monotonic() - seen_at

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what is known of these jobs, by the keys or ids by which they were asked for."""
        for key in keys:
            self._seen.pop(key, None)


def beat_overdue_after(job: Job) -> float:
    """Seconds without a beat after which a supervisor is silent."""
    return max(LEAST_OVERDUE, 3 * (job.heartbeat_every or BEAT_SECONDS))


def assess(
    job: Job,
    *,
    now: float,
    beat_age: float | None = None,
    children: Sequence[Child] = (),
    snapshot: ProcessSnapshot | None = None,
    limits: Limits | None = None,
    look: Callable[[Job], Presence] | None = None,
    usual_run: float | None = None,
) -> Health:
    """Judge a job by its record; its children and its processes add evidence.

    The verdict is the record's, which the supervisor derives from all of them: so lists and a job's page agree.
    `now` is the server's time; `beat_age` the monotonic age of its beat (else worked out from `now`); `look` finds
    its processes on this host when the supervisor is silent; `usual_run` is how long its type's earlier jobs took.
    """
    limits = limits or Limits()
    if job.status == PENDING:
        return _judge_pending(job, now, limits)
    if job.status not in (RUNNING, STOPPING):
        said = _how_it_ended(job)
        if children or snapshot is not None:
            said += tuple(disagreements(job, children, snapshot))
        return Health(OK, said)
    if job.heartbeat is None:
        return Health(OK, ("no heartbeat is recorded: it runs without a supervisor",))
    age = beat_age if beat_age is not None else max(0.0, now - job.heartbeat)
    if age > beat_overdue_after(job):
        return _judge_silent_supervisor(job, age, look)
    worst = worst_of(judge_parts(job, limits, snapshot))
    said = (
        *worst.evidence,
        *disagreements(job, children, snapshot),
        _heard_words(job, age),
        *_long_run(job, now, usual_run),
    )
    return Health(worst.verdict, said)


def _heard_words(job: Job, age: float) -> str:
    """Say who beat last: the agent where the supervisor is gone."""
    if job.orphaned is not None:
        return f"its supervisor is gone; agent of {job.host or 'its host'} heard {duration_words(age)} ago"
    return f"supervisor heard {duration_words(age)} ago"


def _long_run(job: Job, now: float, usual_run: float | None) -> Iterator[str]:
    if usual_run and job.started and now - job.started > LONG_RUN_FACTOR * usual_run:
        ran, usual = duration_words(now - job.started), duration_words(usual_run)
        yield f"runs for {ran}, earlier jobs of its type took {usual}"


def _judge_pending(job: Job, now: float, limits: Limits) -> Health:
    if job.is_in_slurm:
        return Health(OK, (queue_words(job, now),))
    waited = _waited(job, now)
    if waited is None:
        return Health()
    said = f"waiting to be started for {duration_words(waited)}"
    if waited <= limits.pending_after:
        return Health(OK, (said,))
    return Health(STUCK, (f"{said}: no supervisor took it",))


def _waited(job: Job, now: float) -> float | None:
    created = job.created or job.estimated_start
    return None if created is None else max(0.0, now - created)


def queue_words(job: Job, now: float) -> str:
    """Say for how long and why Slurm lets a job wait, and since when nobody has looked, where that is long."""
    name = f" as job {job.slurm_job}" if job.slurm_job else ""
    waited = _waited(job, now)
    since = "" if waited is None else f" for {duration_words(waited)}"
    said = f"waits in Slurm's queue{name}{since}" + (f": {job.queue_reason}" if job.queue_reason else "")
    if job.queue_read is None or now - job.queue_read <= QUEUE_SECONDS:
        return said
    agent = f"no agent on {job.launch_host} reads it" if job.launch_host else "nobody reads it"
    return f"{said}, as of {clock_text(job.queue_read, now)}: {agent}"


def _how_it_ended(job: Job) -> tuple[str, ...]:
    said = []
    if job.stop_by:
        what = "closed" if job.status == LOST else "killed"  # nothing of it was left to be killed
        what = "ended" if job.stop_by == SLURM else what
        said.append(f"{what} by {job.stop_by}" + (f": {job.stop_reason}" if job.stop_reason else ""))
    if job.left_running:
        said.append(f"left running: {job.left_running}")
    if job.error:
        said.append(last_line(job.error))
    return tuple(said)


def _judge_silent_supervisor(job: Job, age: float, look: Callable[[Job], Presence] | None) -> Health:
    no_beat = f"{NO_BEAT} {duration_words(age)}"
    present = look(job) if look is not None else Presence("elsewhere", "its processes were not looked at")
    match present.kind:
        case "gone":
            return Health(DEAD, (f"its processes are gone, and its supervisor with them: {no_beat}",))
        case "restarted":
            return Health(DEAD, (f"the host was restarted since: {no_beat}",))
        case "late" if age <= _LATEST:
            return Health(QUIET, (f"{no_beat}: {present.words}",))
        case "running" | "late" | "hidden":
            return Health(STUCK, (f"{no_beat}, yet {present.words}",))
    where = present.words or f"its processes on {job.host or 'another host'} cannot be seen from here"
    return Health(STUCK, (f"{no_beat}; {where}",))


SILENT_TOGETHER: Final = 3
_TOGETHER_SECONDS: Final = 2 * MINUTE


def common_causes(judged: Iterable[tuple[Job, Health]], now: float | None = None) -> list[str]:
    """Say which jobs of one host have supervisors that fell silent together; `now` in unix seconds."""
    beats: dict[str, list[float]] = defaultdict(list)
    for job, health in judged:
        if job.host and job.heartbeat and NO_BEAT in " ".join(health.evidence[:1]):
            beats[job.host].append(job.heartbeat)
    return [
        f"{len(together)} jobs on {host} silent since {clock_text(together[0], now or together[-1])}"
        for host, found in sorted(beats.items())
        for together in _together(sorted(found))
        if len(together) >= SILENT_TOGETHER
    ]


def _together(beats: list[float]) -> Iterator[list[float]]:
    """Groups of beats, in order, each shortly after the one before."""
    group: list[float] = []
    for beat in beats:
        if group and beat - group[-1] > _TOGETHER_SECONDS:
            yield group
            group = []
        group.append(beat)
    if group:
        yield group
