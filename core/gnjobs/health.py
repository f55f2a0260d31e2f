"""Health: a verdict on an unfinished job, derived and never stored, with evidence that a person can check."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from gnjobs.durations import MINUTE, duration_words
from gnjobs.records import Child, Job
from gnjobs.statuses import PENDING, RUNNING, STOPPING

if TYPE_CHECKING:
    from gnjobs.processes import ProcessSnapshot, SeenProcess

OK: Final = "ok"
QUIET: Final = "quiet"
STUCK: Final = "stuck"
DEAD: Final = "dead"
_SEVERITY: Final = (OK, QUIET, STUCK, DEAD)

IDLE_CPU = 1.0
BEAT_SECONDS = 5.0
LEAST_OVERDUE = 15.0
LONG_RUN_FACTOR = 3.0
SILENT_TOGETHER = 3

_PROCESS_STATES = {
    "S": "asleep",
    "D": "in uninterruptible sleep",
    "R": "computing",
    "T": "stopped",
    "t": "stopped by a debugger",
    "Z": "a zombie",
    "I": "idle",
}


class Health(msgspec.Struct, frozen=True):
    """A verdict (`ok`, `quiet`, `stuck`, `dead`) and the sentences that support it, the weightiest first."""

    verdict: str = OK
    evidence: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """When silence is a verdict; seconds, `stuck_by_type` by job type. A job's own `stuck-after` counts first."""

    quiet_after: float = 5 * MINUTE
    stuck_after: float = 15 * MINUTE
    pending_after: float = MINUTE
    stuck_by_type: Mapping[str, float] = {}

    def stuck(self, job: Job) -> float:
        """Seconds of silence after which this job is stuck."""
        return job.stuck_after or self.stuck_by_type.get(job.type or "", self.stuck_after)

    def quiet(self, job: Job) -> float:
        """Seconds of silence after which this job is quiet."""
        return min(self.quiet_after, self.stuck(job))


class Presence(NamedTuple):
    """What can be said here of a job's processes when its supervisor is silent.

    `elsewhere`: the job runs on another host; `restarted`: this host was started again since.
    """

    kind: Literal["gone", "running", "hidden", "elsewhere", "restarted"]
    words: str = ""


class BeatClock:
    """The ages of heartbeats, by the monotonic time since the reader saw them change: no clock's jump counts."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[float, float]] = {}

    def age(self, job: Job, now: float) -> float | None:
        """Seconds since this job's beat changed; at first sight, as the server's clock `now` has it."""
        if job.heartbeat is None:
            return None
        beat, seen_at = self._seen.get(job.id, (None, 0.0))
        if beat != job.heartbeat:
            first_age = max(0.0, now - job.heartbeat) if beat is None else 0.0
            seen_at = self._monotonic() - first_age
            self._seen[job.id] = (job.heartbeat, seen_at)
        return self._monotonic() - seen_at

    def forget(self, job_ids: Iterable[str]) -> None:
        """Drop what is known of these jobs."""
        for job_id in job_ids:
            self._seen.pop(job_id, None)


def beat_overdue_after(job: Job) -> float:
    """Seconds without a beat after which a supervisor is silent."""
    return max(LEAST_OVERDUE, 3 * (job.heartbeat_every or BEAT_SECONDS))


def assess(
    job: Job,
    *,
    now: float,
    beat_age: float | None = None,
    children: Sequence[Child] = (),
    snapshot: "ProcessSnapshot | None" = None,
    limits: Limits | None = None,
    look: Callable[[Job], Presence] | None = None,
    usual_run: float | None = None,
) -> Health:
    """Judge a job by its record, and better with its children and its processes.

    `now` is the server's time; `beat_age` the monotonic age of its beat (else worked out from `now`); `look` finds
    its processes on this host when the supervisor is silent; `usual_run` is how long its type's earlier jobs took.
    """
    limits = limits or Limits()
    if job.status == PENDING:
        return _judge_pending(job, now, limits)
    if job.status not in (RUNNING, STOPPING):
        return Health(OK, _how_it_ended(job))
    if job.heartbeat is None:
        return Health(OK, ("no heartbeat is recorded: it runs without a supervisor",))
    age = beat_age if beat_age is not None else max(0.0, now - job.heartbeat)
    if age > beat_overdue_after(job):
        return _judge_silent_supervisor(job, age, look)
    found = [
        *_judge_children(job, children, snapshot, limits),
        _judge_itself(job, children, snapshot, limits),
    ]
    worst = max(found, key=lambda health: _SEVERITY.index(health.verdict))
    evidence = [*worst.evidence, f"supervisor's beat {duration_words(age)} ago"]
    if usual_run and job.started and now - job.started > LONG_RUN_FACTOR * usual_run:
        evidence.append(
            f"runs for {duration_words(now - job.started)}, earlier jobs of its type took {duration_words(usual_run)}"
        )
    return Health(worst.verdict, tuple(evidence))


def assess_listed(job: Job, *, now: float, limits: Limits | None = None) -> Health:
    """Judge a job by its record alone, looking for its processes on this host when its supervisor is silent."""
    from gnjobs.presence import look

    return assess(job, now=now, limits=limits, look=look)


def _judge_pending(job: Job, now: float, limits: Limits) -> Health:
    waited = 0.0 if job.created is None else max(0.0, now - job.created)
    if waited <= limits.pending_after:
        return Health()
    return Health(STUCK, (f"waiting to be started for {duration_words(waited)}: no supervisor took it",))


def _how_it_ended(job: Job) -> tuple[str, ...]:
    said = []
    if job.stop_by:
        said.append(f"killed by {job.stop_by}" + (f": {job.stop_reason}" if job.stop_reason else ""))
    if job.left_running:
        said.append(f"left running: {job.left_running}")
    if job.error:
        said.append(job.error.strip().rpartition("\n")[2])
    return tuple(said)


def _judge_silent_supervisor(job: Job, age: float, look: Callable[[Job], Presence] | None) -> Health:
    no_beat = f"no heartbeat for {duration_words(age)}"
    present = look(job) if look is not None else Presence("elsewhere", "its processes were not looked at")
    match present.kind:
        case "gone":
            return Health(DEAD, (f"its processes are gone, and its supervisor with them: {no_beat}",))
        case "restarted":
            return Health(DEAD, (f"{job.host} was restarted since: {no_beat}",))
        case "running" | "hidden":
            return Health(STUCK, (f"{no_beat}, yet {present.words}",))
    where = present.words or f"its processes on {job.host or 'another host'} cannot be seen from here"
    return Health(STUCK, (f"{no_beat}; {where}",))


def child_silence(job: Job, child: Child) -> float | None:
    """Seconds that a running child has been silent at the job's last beat."""
    since = child.last_output or child.started
    return None if job.heartbeat is None or since is None else max(0.0, job.heartbeat - since)


def job_silence(job: Job) -> float | None:
    """Seconds that a job and all its children have been silent at its last beat; None for one that is not at work."""
    since = job.last_output or job.started
    if job.status not in (RUNNING, STOPPING) or job.heartbeat is None or since is None:
        return None
    return max(0.0, job.heartbeat - since)


def judge_child(
    job: Job, child: Child, processes: "Sequence[SeenProcess] | None" = None, limits: Limits | None = None
) -> Health:
    """Judge one child by its silence and the CPU of its processes (None where they were not seen)."""
    if child.status != RUNNING:
        return Health()
    cpu = None if processes is None else sum(process.cpu or 0.0 for process in processes)
    name = child.label or child.id
    verdict = _by_silence(job, child_silence(job, child), cpu, limits or Limits(), name)
    if verdict.verdict == OK or not processes:
        return verdict
    return Health(verdict.verdict, (*verdict.evidence, _process_words(processes)))


def _judge_children(
    job: Job, children: Sequence[Child], snapshot: "ProcessSnapshot | None", limits: Limits
) -> list[Health]:
    if not children:
        return _judge_by_summary(job, limits)
    by_child: dict[str | None, list[SeenProcess]] = defaultdict(list)
    for process in snapshot.processes if snapshot is not None else ():
        by_child[process.child].append(process)
    troubled: dict[str, list[Health]] = defaultdict(list)
    for child in children:
        health = judge_child(job, child, None if snapshot is None else by_child[child.id], limits)
        if health.verdict != OK:
            troubled[health.verdict].append(health)
    return [
        Health(
            verdict,
            (f"{len(found)} of {len(children)} children: {found[0].evidence[0]}", *found[0].evidence[1:]),
        )
        for verdict, found in troubled.items()
    ]


def _judge_by_summary(job: Job, limits: Limits) -> list[Health]:
    summary = job.children_summary
    if summary is None or summary.quietest_since is None or job.heartbeat is None:
        return []
    silence = max(0.0, job.heartbeat - summary.quietest_since)
    name = summary.quietest_label or summary.quietest_id or "a child"
    health = _by_silence(job, silence, summary.quietest_cpu, limits, name)
    if health.verdict == OK:
        return []
    total = sum(summary.counts.values())
    return [Health(health.verdict, (f"1 of {total} children: {health.evidence[0]}", *health.evidence[1:]))]


def _judge_itself(
    job: Job, children: Sequence[Child], snapshot: "ProcessSnapshot | None", limits: Limits
) -> Health:
    at_work = any(child.status == RUNNING for child in children) or (
        job.children_summary is not None and job.children_summary.quietest_since is not None
    )
    if at_work:
        return Health()
    health = _by_silence(job, job_silence(job), job.cpu, limits, "")
    processes = snapshot.processes if snapshot is not None else ()
    if health.verdict == OK or not processes:
        return health
    return Health(health.verdict, (*health.evidence, _process_words(processes)))


def _by_silence(job: Job, silence: float | None, cpu: float | None, limits: Limits, name: str) -> Health:
    if silence is None or silence < limits.quiet(job):
        return Health()
    limit = limits.stuck(job)
    prefix = f"{name}, " if name else ""
    said = f"{prefix}no line and no progress for {duration_words(silence)}"
    if silence >= limit and cpu is not None and cpu < IDLE_CPU:
        return Health(STUCK, (f"{said} (limit {duration_words(limit)}), CPU {cpu:.0f} %",))
    computing = "" if cpu is None else f", CPU {cpu:.0f} %"
    return Health(QUIET, (f"{said}{computing}",))


def _process_words(processes: "Sequence[SeenProcess]") -> str:
    shown = [f"pid {p.pid} {_PROCESS_STATES.get(p.state, p.state)}" for p in processes[:3]]
    more = f" and {len(processes) - 3} more" if len(processes) > 3 else ""
    return ", ".join(shown) + more


def common_causes(judged: Iterable[tuple[Job, Health]]) -> list[str]:
    """Say once what many jobs have in common: those of one host whose supervisors fell silent together."""
    silent: dict[str, list[float]] = defaultdict(list)
    for job, health in judged:
        if (
            health.verdict in (STUCK, DEAD)
            and job.host
            and job.heartbeat
            and "no heartbeat" in " ".join(health.evidence)
        ):
            silent[job.host].append(job.heartbeat)
    return [
        f"{len(beats)} jobs on {host} silent since {datetime.fromtimestamp(min(beats)):%H:%M}"
        for host, beats in sorted(silent.items())
        if len(beats) >= SILENT_TOGETHER
    ]
