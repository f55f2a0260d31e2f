"""The health of children: of each by its record and processes, or of the quietest by what its supervisor sums up."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gnjobs.health.silence import (
    child_silence,
    cpu_of,
    idle_cpu,
    idle_since_of,
    judge_silence,
    process_words,
    summary_words,
)
from gnjobs.health.verdicts import OK, Health, Limits
from gnjobs.records.fields import Child, Job
from gnjobs.records.statuses import RUNNING, UNFINISHED_STATUSES
from gnjobs.text import MINUTE

if TYPE_CHECKING:
    from gnjobs.processes.find import ProcessSnapshot, SeenProcess

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
