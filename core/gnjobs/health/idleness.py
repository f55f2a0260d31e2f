"""Idleness: what counts as a sign of life of a process, and since when each process of a job has given none.

A process is at work where, between two looks, it used more than 1 % of a core (its ended children included), read or
wrote a byte by any call, sent or received one through a socket, had more than a few page faults, was runnable, or came
out of a wait that nothing but an event ends. One that only wakes by its own timer, or is woken by its own threads, does
nothing: before it is accused of that, a close look is taken of what it does in between (see `glances`).
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from gnjobs.health.glances import Glances, Seen, Suspect
from gnjobs.health.traffic import Traffic
from gnjobs.processes.activity import (
    TICK_SECONDS,
    Counters,
    ThreadRuns,
    read_counters,
    read_runs,
    read_state,
    read_wait,
)
from gnjobs.processes.seen import Identity, SeenProcess, computes
from gnjobs.processes.sockets import socket_inodes

LEAST_WINDOW: Final = 2.0
_RUNNABLE_SHARE: Final = 0.1
_LEAST_RUN: Final = 0.0005
_LOOKS_AT_STATE: Final = 3
_STATE_SECONDS: Final = 0.005
_JITTER: Final = 2.0
_DOUBT_SECONDS: Final = 5.0
_FAULTS: Final = 2.0  # a second; an interpreter that only waits has one now and then


class Sample(NamedTuple):
    """What was read of a process at one look; `runs` by thread."""

    counters: Counters
    runs: Mapping[int, ThreadRuns]


class _Sign(NamedTuple):
    """A last sign of life by the monotonic clock, and as it was told by the server's."""

    at: float
    told: float


class Idleness:
    """Measures the processes that it is told of at every look, and remembers when each gave its last sign of life.

    Those that have idled for `close_after` seconds and still wake are looked at closely until the next look.
    """

    def __init__(self, least_window: float = LEAST_WINDOW, close_after: float = 0.0) -> None:
        self._least_window = least_window
        self._close_after = close_after
        self._samples: dict[Identity, Sample] = {}
        self._signs: dict[Identity, _Sign] = {}
        self._seen: list[SeenProcess] = []
        self._looked_at = float("-inf")
        self._written_before = 0
        self._traffic = Traffic()
        self._glances = Glances()
        self._glanced = Seen()
        self._suspects: list[Suspect] = []

    @property
    def written(self) -> int:
        """How many bytes all processes have written to disk so far, ended ones included."""
        return self._written_before + sum(sample.counters.written for sample in self._samples.values())

    def look(self, processes: Iterable[SeenProcess], now: float) -> list[SeenProcess]:
        """Return those processes that are still there, with what each uses; `now` in unix seconds.

        A look that follows another within `least_window` seconds tells the same: so short a time says nothing of use.
        """
        at = time.monotonic()
        seconds = at - self._looked_at
        if seconds < self._least_window:
            return self._seen
        self._looked_at = at
        self._traffic.begin()
        self._glanced, self._suspects = self._glances.take(), []
        before, self._samples = self._samples, {}
        found = [(process, sample) for process in processes if (sample := self._sample(process)) is not None]
        reaped = _reaped_by_parent(before, self._samples)
        self._seen = [
            self._measured(process, sample, before.get(process.identity), reaped, seconds, at, now)
            for process, sample in found
        ]
        self._forget(before)
        self._glances.begin(
            [each for each in self._suspects if at - self._signs[each.identity].at >= self._close_after]
        )
        return self._seen

    def _sample(self, process: SeenProcess) -> Sample | None:
        counters = read_counters(process.pid)
        if counters is None or counters.started != process.started or counters.state in "ZX":
            return None
        sample = Sample(counters, read_runs(process.pid))
        self._samples[process.identity] = sample
        return sample

    def _measured(
        self,
        process: SeenProcess,
        sample: Sample,
        before: Sample | None,
        reaped: Mapping[int, int],
        seconds: float,
        at: float,
        now: float,
    ) -> SeenProcess:
        cpu = _cpu(sample.counters, before, reaped.get(process.pid, 0), seconds)
        identity, state = process.identity, sample.counters.state
        lives = before is None or _moved(sample, before, cpu, seconds)
        if before is not None and not lives:
            state = _settled_state(process.pid, sample.counters)
            lives = (
                state == "R"
                or identity in self._glanced.at_work
                or self._did_something(identity, sample, before, seconds)
            )
        return msgspec.structs.replace(
            process,
            parent=sample.counters.parent,
            state=state,
            cpu=cpu,
            rss=sample.counters.rss,
            idle_since=self._idle_since(identity, at, now, lives=lives),
        )

    def _did_something(self, identity: Identity, sample: Sample, before: Sample, seconds: float) -> bool:
        """Whether a process that moved no counter but those of its threads' runs has done anything."""
        pid = identity[0]
        ran = [thread for thread, runs in sample.runs.items() if runs != before.runs.get(thread)]
        if not ran or not before.runs:
            return False
        if sample.counters.moved is None:  # another account's: it did something, and we may not see what
            return True
        if any(_was_runnable(sample.runs[thread], before.runs.get(thread), seconds) for thread in ran):
            return True
        waits = [wait for thread in ran if (wait := read_wait(pid, thread)) is not None]
        if any(wait.is_event for wait in waits) or self._traffic.is_over():
            return True
        inodes = socket_inodes(pid)
        if self._traffic.has_moved(pid, inodes, [other for other, _ in self._samples]):
            return True
        self._suspects.append(Suspect(identity, ran, inodes))
        return False

    def _idle_since(self, identity: Identity, at: float, now: float, *, lives: bool) -> float:
        """When it gave its last sign, by the server's clock; repeats the last answer unless that is off by seconds.

        Where a close look left it in doubt, it idles for one look less, so that another one comes before any verdict.
        """
        sign = self._signs.get(identity)
        if lives or sign is None:
            sign = _Sign(at, round(now, 2))
        elif identity in self._glanced.doubtful:
            since = min(at, sign.at + _DOUBT_SECONDS)
            sign = _Sign(since, round(now - (at - since), 2))
        elif abs(now - (at - sign.at) - sign.told) > _JITTER:
            sign = _Sign(sign.at, round(now - (at - sign.at), 2))
        self._signs[identity] = sign
        return sign.told

    def _forget(self, before: Mapping[Identity, Sample]) -> None:
        for identity in before.keys() - self._samples.keys():
            self._written_before += before[identity].counters.written
            self._signs.pop(identity, None)
        self._traffic.forget({pid for pid, _ in self._samples})
        self._glances.forget(self._samples.keys())


def _reaped_by_parent(before: Mapping[Identity, Sample], now: Mapping[Identity, Sample]) -> Mapping[int, int]:
    """What ended processes had used when they were last seen, by their parent, which may have been charged with it."""
    found: defaultdict[int, int] = defaultdict(int)
    for identity in before.keys() - now.keys():
        counters = before[identity].counters
        found[counters.parent] += counters.ticks + counters.reaped
    return found


def _cpu(counters: Counters, before: Sample | None, reaped: int, seconds: float) -> float:
    """CPU in % of one core: since the last look, at first sight since the process began."""
    if before is None:
        age = max(LEAST_WINDOW, time.clock_gettime(time.CLOCK_BOOTTIME) - counters.started * TICK_SECONDS)
        return round(100 * counters.ticks * TICK_SECONDS / age, 2)
    own = counters.ticks - before.counters.ticks
    of_children = max(0, counters.reaped - before.counters.reaped - reaped)
    return round(100 * (own + of_children) * TICK_SECONDS / seconds, 2)


def _moved(sample: Sample, before: Sample, cpu: float, seconds: float) -> bool:
    """Whether counters that every work moves tell of any."""
    now, then = sample.counters, before.counters
    has_paged = now.faults - then.faults > _FAULTS * seconds
    return computes(cpu) or has_paged or (now.moved, now.reaped) != (then.moved, then.reaped)


def _settled_state(pid: int, counters: Counters) -> str:
    """Its state, `R` only where it stays so for some milliseconds: one that just woke up does not wait for a core."""
    state = counters.state if counters.threads == 1 else read_state(pid)
    for _ in range(_LOOKS_AT_STATE - 1):
        if state != "R":
            break
        time.sleep(_STATE_SECONDS)
        state = read_state(pid) or counters.state
    return state or counters.state


def _was_runnable(runs: ThreadRuns, before: ThreadRuns | None, seconds: float) -> bool:
    """Whether a thread ran or waited for a processor for much of the time; a new one is a sign by itself.

    Where many wait, one that wakes by its timer does so, too: it tells itself by how little it then runs.
    """
    if before is None:
        return True
    ran, waited, times = (now - then for now, then in zip(runs, before, strict=True))
    wants_processor = (ran + waited) / 1e9 >= _RUNNABLE_SHARE * seconds
    return wants_processor and (times == 0 or ran / times / 1e9 >= _LEAST_RUN)
