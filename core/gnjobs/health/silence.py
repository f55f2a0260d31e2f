"""Silence, by one clock: how long no line and no progress came, and what it says of a job or child."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gnjobs.health.verdict import OK, QUIET, STUCK, Health, Limits
from gnjobs.records.fields import Child, ChildrenSummary, Job
from gnjobs.records.statuses import RUNNING, STOPPING, UNFINISHED_STATUSES
from gnjobs.text import MINUTE, duration_words

if TYPE_CHECKING:
    from gnjobs.processes.seen import ProcessSnapshot, SeenProcess

IDLE_CPU: Final = 1.0
_RECENTLY: Final = MINUTE
_MOST_NAMED: Final = 3
_PROCESS_STATES: Final = {
    "S": "asleep",
    "D": "in uninterruptible sleep",
    "R": "computing",
    "T": "stopped",
    "t": "stopped by a debugger",
    "Z": "a zombie",
    "I": "idle",
}


def child_silence(job: Job, child: Child) -> float | None:
    """Seconds that a child has been silent at the job's last beat, its host's clock set right; None if unknown."""
    since = child.last_output or child.started
    if job.heartbeat is None or since is None:
        return None
    silence = max(0.0, job.heartbeat - (since + (job.clock_shift or 0.0)))
    longest = job.children_summary.quietest_since if job.children_summary is not None else None
    # The supervisor measures the longest silence by a clock that does not jump; no child's is longer.
    return silence if longest is None else min(silence, max(0.0, job.heartbeat - longest))


def job_silence(job: Job) -> float | None:
    """Seconds that a job and all its children have been silent at its last beat; None for one that is not at work."""
    since = job.last_output or job.started
    if job.status not in (RUNNING, STOPPING) or job.heartbeat is None or since is None:
        return None
    return max(0.0, job.heartbeat - since)


def judge_silence(
    job: Job,
    silence: float | None,
    cpu: float | None,
    limits: Limits,
    name: str = "",
    idle_since: float | None = None,
) -> Health:
    """Judge a silence: stuck only where it is long and known to compute nothing (`cpu` in % of one core).

    Whoever read or wrote something a moment ago (`idle_since`), if slowly, is not stuck.
    """
    if silence is None or silence < limits.quiet(job):
        return Health()
    limit = limits.stuck(job)
    said = f"{name}, " if name else ""
    said += f"no line and no progress for {duration_words(silence)}"
    moves = (
        idle_since is not None
        and job.heartbeat is not None
        and job.heartbeat - idle_since < min(_RECENTLY, limit)
    )
    if silence >= limit and cpu is not None and cpu < IDLE_CPU and not moves:
        return Health(STUCK, (f"{said} (limit: {duration_words(limit)}), CPU {cpu:.0f} %",))
    said += "" if cpu is None else f", CPU {cpu:.0f} %"
    return Health(QUIET, (said + (", yet it reads or writes" if moves else ""),))


def cpu_of(job: Job, processes: "Sequence[SeenProcess] | None") -> float | None:
    """The CPU of a child's processes (% of one core); where they are not known, nothing if the job computes nothing."""
    if processes and all(process.cpu is not None for process in processes):
        return sum(process.cpu or 0.0 for process in processes)
    return idle_cpu(job)


def idle_cpu(job: Job) -> float | None:
    """The CPU of the whole job if that is nothing, so that no part of it computes; else None."""
    return job.cpu if job.cpu is not None and job.cpu < IDLE_CPU else None


def idle_since_of(job: Job, processes: "Sequence[SeenProcess] | None") -> float | None:
    """When a child's processes last read or wrote anything; where they are not known, when any of the job's did."""
    moved = [process.idle_since for process in processes or () if process.idle_since is not None]
    return max(moved) if moved else job.idle_since


def process_words(processes: "Sequence[SeenProcess]", now: float | None) -> str:
    """Say what processes do: `pid 48213 asleep, nothing read or written since 02:11`."""
    shown = [_one_process(process.pid, process.state) for process in processes[:_MOST_NAMED]]
    more = f" and {len(processes) - _MOST_NAMED} more" if len(processes) > _MOST_NAMED else ""
    idle = [process.idle_since for process in processes]
    since = None if None in idle else max(each or 0.0 for each in idle)
    return ", ".join(shown) + more + _idle_words(since, now)


def summary_words(summary: ChildrenSummary, now: float | None) -> tuple[str, ...]:
    """The same of the child that a summary tells of, as one sentence or none."""
    if summary.quietest_pid is None or summary.quietest_state is None:
        return ()
    one = _one_process(summary.quietest_pid, summary.quietest_state)
    return (one + _idle_words(summary.quietest_idle_since, now),)


def _one_process(pid: int, state: str) -> str:
    return f"pid {pid} {_PROCESS_STATES.get(state, state)}"


def _idle_words(since: float | None, now: float | None) -> str:
    if since is None or now is None or now - since < MINUTE:
        return ""
    return f", nothing read or written since {datetime.fromtimestamp(since):%H:%M}"


_OLDEST_SNAPSHOT: Final = MINUTE
_SETTLED_AFTER: Final = 5.0


def judge_child(
    job: Job, child: Child, processes: "Sequence[SeenProcess] | None" = None, limits: Limits | None = None
) -> Health:
    """Judge one child by its silence and the CPU of its processes (None or empty where they were not seen)."""
    if child.status != RUNNING:
        return Health()
    name = child.label or child.id
    verdict = judge_silence(
        job,
        child_silence(job, child),
        cpu_of(job, processes),
        limits or Limits(),
        name,
        idle_since_of(job, processes),
    )
    if verdict.verdict == OK or not processes:
        return verdict
    return Health(verdict.verdict, (*verdict.evidence, process_words(processes, job.heartbeat)))


def judge_children(
    job: Job, children: Sequence[Child], snapshot: "ProcessSnapshot | None", limits: Limits
) -> Iterator[Health]:
    """Judge all children: a verdict for those that are as bad as each other, told by the one silent longest."""
    by_child = _processes_by_child(job, snapshot)
    troubled: dict[str, list[tuple[float, Health]]] = defaultdict(list)
    for child in children:
        health = judge_child(job, child, by_child.get(child.id), limits)
        if health.verdict != OK:
            troubled[health.verdict].append((child_silence(job, child) or 0.0, health))
    for verdict, found in troubled.items():
        _, longest = max(found, key=lambda pair: pair[0])
        yield _one_for_all(verdict, longest, len(found), len(children))


def _processes_by_child(
    job: Job, snapshot: "ProcessSnapshot | None"
) -> "Mapping[str | None, Sequence[SeenProcess]]":
    """Processes as a supervisor that still beats saw them a moment ago."""
    found: dict[str | None, list[SeenProcess]] = defaultdict(list)
    if snapshot is not None and (job.heartbeat or 0.0) - snapshot.at < _OLDEST_SNAPSHOT:
        for process in snapshot.processes:
            found[process.child].append(process)
    return found


def disagreements(job: Job, children: Sequence[Child], snapshot: "ProcessSnapshot | None") -> Iterator[str]:
    """Say where children contradict their job: it has ended and they have not, or they run without a process."""
    if job.is_final:
        if unfinished := sum(child.status in UNFINISHED_STATUSES for child in children):
            yield f"{unfinished} of {len(children)} children never said how they ended"
        return
    if snapshot is None or (job.heartbeat or 0.0) - snapshot.at >= _OLDEST_SNAPSHOT:
        return
    seen = {process.pid for process in snapshot.processes}
    gone = [child for child in children if _should_be_seen(job, child, snapshot.at) and child.pid not in seen]
    if gone:
        name = gone[0].label or gone[0].id
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        yield f"{name}{more} is called running, yet its process {gone[0].pid} was not seen"


def _should_be_seen(job: Job, child: Child, looked_at: float) -> bool:
    """Whether a look at this time must have found the child's process, since it began well before."""
    if child.status != RUNNING or child.pid is None or child.started is None:
        return False
    return child.started + (job.clock_shift or 0.0) < looked_at - _SETTLED_AFTER


def judge_summary(job: Job, limits: Limits) -> Iterator[Health]:
    """Judge the child that has been silent longest, by the supervisor's summary."""
    summary = job.children_summary
    if summary is None or summary.quietest_since is None or job.heartbeat is None:
        return
    silence = max(0.0, job.heartbeat - summary.quietest_since)
    name = summary.quietest_label or summary.quietest_id or "a child"
    cpu = summary.quietest_cpu if summary.quietest_cpu is not None else idle_cpu(job)
    idle_since = summary.quietest_idle_since or job.idle_since
    health = judge_silence(job, silence, cpu, limits, name, idle_since)
    if health.verdict != OK:
        said = Health(health.verdict, (*health.evidence, *summary_words(summary, job.heartbeat)))
        yield _one_for_all(health.verdict, said, 1, sum(summary.counts.values()))


def _one_for_all(verdict: str, told: Health, count: int, total: int) -> Health:
    first, *rest = told.evidence
    longest = "the longest " if count > 1 else ""
    return Health(verdict, (f"{count} of {total} children: {longest}{first}", *rest))
