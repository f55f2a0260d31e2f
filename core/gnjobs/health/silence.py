"""Silence, by one clock: how long no line and no progress came, and what it says of a job or child."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gnjobs.health.verdicts import QUIET, STUCK, Health, Limits
from gnjobs.records.fields import Child, ChildrenSummary, Job
from gnjobs.records.statuses import RUNNING, STOPPING
from gnjobs.text import MINUTE, duration_words

if TYPE_CHECKING:
    from gnjobs.processes.find import SeenProcess

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
        return Health(STUCK, (f"{said} (limit {_limit_words(silence, limit)}), CPU {cpu:.0f} %",))
    said += "" if cpu is None else f", CPU {cpu:.0f} %"
    return Health(QUIET, (said + (", yet it reads or writes" if moves else ""),))


def _limit_words(silence: float, limit: float) -> str:
    """Say a limit as after "23 min": the unit once where it is the same."""
    words = duration_words(limit)
    same_unit = silence < 60 * MINUTE and limit < 60 * MINUTE and limit >= MINUTE
    return words.removesuffix(" min") if same_unit else words


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
