"""Silence and idleness of a job and its children at its supervisor's last beat, and what they say together.

The only place that defines them. A part is quiet after a time without a line or progress, stuck where it is idle for
all of a longer one, too (see `idleness`). Lists know a job by its record alone; whoever knows more judges the job by
its record, too, so that all say the same.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from gnjobs.health.parts import Activity, Family
from gnjobs.health.verdict import QUIET, STUCK, Health, Limits
from gnjobs.processes.seen import ProcessSnapshot, SeenProcess, computes
from gnjobs.records.fields import Child, Job
from gnjobs.records.statuses import RUNNING, STOPPING, UNFINISHED_STATUSES
from gnjobs.records.summaries import SilentChild, TellingProcess
from gnjobs.text import clock_text, duration_words

_MOST_NAMED: Final = 3
_OLDEST_SNAPSHOT: Final = 60.0
_SETTLED_AFTER: Final = 5.0
_PROCESS_STATES: Final = {
    "S": "asleep",
    "D": "in uninterruptible sleep",
    "R": "runnable",
    "T": "stopped",
    "t": "stopped by a debugger",
    "Z": "a zombie",
    "I": "idle",
}


class Part(NamedTuple):
    """A job, or one child, at its last beat: for how long it is silent and idle (seconds), and its CPU (% of one core).

    None where that is not known.
    """

    silence: float | None
    idle: float | None
    cpu: float | None
    is_runnable: bool = False
    name: str = ""
    siblings: int = 1

    @property
    def is_idle(self) -> bool:
        """Whether it did nothing at all when it was seen last; not where that is not known."""
        return self.cpu is not None and not computes(self.cpu) and not self.is_runnable


def judge_part(part: Part, job: Job, limits: Limits, doing: str = "") -> Health:
    """Judge a part: stuck only where it is known to idle, and has done so for as long as it must be silent.

    What its processes do, in words, comes first: it tells most, and narrow screens cut the rest.
    """
    if part.silence is None or part.silence < limits.quiet(job):
        return Health()
    limit, lasted = limits.stuck(job), min(part.silence, part.idle or 0.0)
    if part.is_idle and lasted >= limit:
        verdict, said = (
            STUCK,
            f"silent and idle for {duration_words(lasted)} (limit: {duration_words(limit)})",
        )
    else:
        verdict, said = QUIET, f"no line and no progress for {duration_words(part.silence)}"
    said += _cpu_words(part.cpu)
    if verdict == QUIET and part.idle is not None and not computes(part.cpu):
        said += ", runnable" if part.is_runnable else f", at work {duration_words(part.idle)} ago"
    if doing:
        which = f"one of {part.siblings} children, " if part.siblings > 1 else ""
        return Health(verdict, (f"{part.name}: {doing}" if part.name else doing, which + said))
    which = f"{part.name}, one of {part.siblings} children" if part.siblings > 1 else part.name
    return Health(verdict, (f"{which}: {said}" if which else said,))


def _cpu_words(cpu: float | None) -> str:
    """CPU with a digit where that matters, never rounded up across the limit of idleness."""
    if cpu is None:
        return ""
    return f", CPU {math.floor(cpu * 10) / 10:.1f} %" if cpu < 10 else f", CPU {cpu:.0f} %"


def silent_since(job: Job) -> float | None:
    """When a line or progress last came from a job or any of its children; None for one that is not at work."""
    return job.last_output or job.started if job.status in (RUNNING, STOPPING) else None


def job_silence(job: Job) -> float | None:
    """Seconds that a job and all its children have been silent at its last beat; None for one that is not at work."""
    return _seconds_until_beat(job, silent_since(job))


def child_silence(job: Job, child: Child) -> float | None:
    """Seconds that a child has been silent at the job's last beat, its host's clock set right; None if unknown."""
    since = child.last_output or child.started
    if since is None:
        return None
    silence = _seconds_until_beat(job, since + (job.clock_shift or 0.0))
    quietest = job.children_summary.quietest if job.children_summary is not None else None
    # The supervisor measures the longest silence by a clock that does not jump; no child's is longer.
    longest = _seconds_until_beat(job, quietest.since) if quietest is not None else None
    return silence if silence is None or longest is None else min(silence, longest)


def _seconds_until_beat(job: Job, since: float | None) -> float | None:
    return None if since is None or job.heartbeat is None else max(0.0, job.heartbeat - since)


def judge_parts(job: Job, limits: Limits, snapshot: ProcessSnapshot | None = None) -> Iterator[Health]:
    """Judge a job by its record: the children that its supervisor tells of, then the job as a whole.

    What the processes of a part do is taken from the last snapshot, where there is one, else from the record.
    """
    family = Family.of(snapshot if is_recent(job, snapshot) else None)
    summary = job.children_summary
    for told in summary.told if summary is not None else ():
        seen = family.of_child(told.id or "", told.pid)
        part = _told_part(job, told, sum(summary.counts.values()) if summary is not None else 1)
        yield judge_part(part, job, limits, _words_beside(part, family.activity(seen), told, job))
    idle = _seconds_until_beat(job, job.idle_since)
    whole = Part(job_silence(job), idle, job.cpu)
    yield judge_part(
        whole, job, limits, _words_beside(whole, family.activity(family.processes), job.doing, job)
    )


def _words_beside(part: Part, does: Activity, told: TellingProcess | None, job: Job) -> str:
    """What processes do, as they were seen or else as the supervisor tells.

    A snapshot is a little older than the record: nothing is said that contradicts it.
    """
    newer = _told_process(told)
    telling = does.telling or newer
    if newer and newer[0].pid == telling[0].pid:
        waits, code = telling[0].waits or newer[0].waits, telling[0].code or newer[0].code
        telling = (msgspec.structs.replace(telling[0], waits=waits, code=code), *telling[1:])
    works = any(process.state == "R" or computes(process.cpu) for process in telling)
    contradicts = part.is_idle if works else computes(part.cpu)
    return "" if contradicts else process_words(telling, job.heartbeat)


def _told_process(told: TellingProcess | None) -> tuple[SeenProcess, ...]:
    if told is None or told.pid is None or told.state is None:
        return ()
    seen = SeenProcess(
        told.pid,
        started=0,
        state=told.state,
        cpu=told.cpu,
        command=told.command,
        idle_since=told.idle_since,
        waits=told.waits,
        code=told.code,
    )
    return (seen,)


def _told_part(job: Job, told: SilentChild, total: int) -> Part:
    """A child as a supervisor tells of it; of one whose processes are not known, what is known of all of the job's."""
    is_known = told.idle_since is not None
    return Part(
        silence=_seconds_until_beat(job, told.since),
        idle=_seconds_until_beat(job, told.idle_since if is_known else job.idle_since),
        cpu=told.cpu if is_known else job.cpu,
        is_runnable=told.state == "R",
        name=told.label or told.id or "a child",
        siblings=total,
    )


def judge_child(
    job: Job, child: Child, snapshot: ProcessSnapshot | None = None, limits: Limits | None = None
) -> Health:
    """Judge one child by its silence and what its processes do, as far as they were seen."""
    return ChildJudge(job, snapshot, limits).judge(child)


class ChildJudge:
    """Judges the children of one job; `snapshot` are its processes, as its supervisor saw them a moment ago."""

    def __init__(self, job: Job, snapshot: ProcessSnapshot | None, limits: Limits | None = None) -> None:
        self._job = job
        self._limits = limits or Limits()
        self._family = Family.of(snapshot if is_recent(job, snapshot) else None)

    def judge(self, child: Child) -> Health:
        """The verdict on a child that is at work, with what its processes do; `ok` for any other."""
        job = self._job
        if child.status != RUNNING:
            return Health()
        seen = self._family.of_child(child.id, child.pid)
        does = self._family.activity(seen)
        part = Part(
            silence=child_silence(job, child),
            idle=_seconds_until_beat(job, does.idle_since if seen else job.idle_since),
            cpu=does.cpu if seen else job.cpu,
            is_runnable=does.is_runnable,
            name=child.label or child.id,
        )
        return judge_part(part, job, self._limits, process_words(does.telling, job.heartbeat))


def is_recent(job: Job, snapshot: ProcessSnapshot | None) -> bool:
    """Whether a snapshot tells of the job's processes as they are, since it is not long before the last beat."""
    return snapshot is not None and (job.heartbeat or 0.0) - snapshot.at < _OLDEST_SNAPSHOT


def process_words(processes: Sequence[SeenProcess], now: float | None) -> str:
    """Say what processes do: `pid 48213 (sort) waits for data from a pipe, asleep, idle since 02:11`.

    Processes about which the same is to be said are told as one.
    """
    alike: dict[tuple[str, str], list[SeenProcess]] = {}
    for process in processes:
        alike.setdefault((_program(process), _does(process, now)), []).append(process)
    told = [
        f"pid {found[0].pid}{program} {does}" + (f", like {len(found) - 1} more" if len(found) > 1 else "")
        for (program, does), found in islice(alike.items(), _MOST_NAMED)
    ]
    rest = sum(len(found) for found in islice(alike.values(), _MOST_NAMED, None))
    return "; ".join([*told, f"and {rest} more"] if rest else told)


def _program(process: SeenProcess) -> str:
    name = process.command.partition(" ")[0].rpartition("/")[2]
    return f" ({name})" if name else ""


def _does(process: SeenProcess, now: float | None) -> str:
    state = _PROCESS_STATES.get(process.state, process.state)
    if process.state == "R" or computes(process.cpu):
        return process.code or "computes"
    if process.idle_since is None or now is None:
        return state
    if now - process.idle_since < _SETTLED_AFTER:
        return f"{state}, at work a moment ago"
    waits = f"{process.waits}, " if process.waits else ""
    return f"{waits}{state}, idle since {clock_text(process.idle_since, now)}"


def disagreements(job: Job, children: Sequence[Child], snapshot: ProcessSnapshot | None) -> Iterator[str]:
    """Say where children contradict their job: it has ended and they have not, or they run without a process."""
    if job.is_final:
        if unfinished := sum(child.status in UNFINISHED_STATUSES for child in children):
            yield f"{unfinished} of {len(children)} children never said how they ended"
        return
    if snapshot is None or not is_recent(job, snapshot):
        return
    seen = {pid for process in snapshot.processes for pid in (process.pid, process.inner_pid)}
    marked = {process.child for process in snapshot.processes}
    gone = [
        child
        for child in children
        if _should_be_seen(job, child, snapshot.at) and child.pid not in seen and child.id not in marked
    ]
    if gone:
        name = gone[0].label or gone[0].id
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        yield f"{name}{more} is marked as running, but its process {gone[0].pid} was not seen"


def _should_be_seen(job: Job, child: Child, looked_at: float) -> bool:
    """Whether a look at this time must have found the child's process, since it began well before."""
    if child.status != RUNNING or child.pid is None or child.started is None:
        return False
    return child.started + (job.clock_shift or 0.0) < looked_at - _SETTLED_AFTER
