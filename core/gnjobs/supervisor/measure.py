"""Measures one beat: what the job's processes do and use, and how that went over its run."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from gnjobs.health.assess import BEAT_SECONDS
from gnjobs.health.idleness import Idleness
from gnjobs.health.parts import Family
from gnjobs.health.sampling import SAMPLES_UNTIL_QUIET, StackSamples
from gnjobs.health.verdict import Limits
from gnjobs.processes.seen import History, Identity, ProcessSnapshot, SeenProcess
from gnjobs.processes.table import ProcessView
from gnjobs.processes.waits import Waits
from gnjobs.records import values
from gnjobs.records.scripts import Value
from gnjobs.text import encodable

JITTER: Final = 2.0
_SLACK: Final = 1.0
_CLOSE_SHARE: Final = 4

Silence = Callable[[SeenProcess], float]


class Clocks(NamedTuple):
    """One moment by this host's wall clock, by its monotonic one, and by the server (seconds)."""

    wall: float
    monotonic: float
    server: float


def clocks_now(server: float) -> Clocks:
    """This moment by all three clocks, given the server's time."""
    return Clocks(time.time(), time.monotonic(), server)


class LastSign:
    """Follows a time that is written by a wall clock; how long ago it was is measured from seeing it change.

    A wall clock that jumps, or that goes on while the machine sleeps, would make hours of a silence of seconds.
    """

    def __init__(self) -> None:
        self._told = 0.0
        self._looked_at = float("-inf")
        self._seen_at = 0.0
        self._said = 0.0

    def at(self, told: float, clocks: Clocks) -> float:
        """When it was, by the server's clock; repeats the last answer unless that is off by seconds."""
        has_changed = told != self._told
        if has_changed:
            age = clocks.wall - told
            is_possible = 0 <= age <= clocks.monotonic - self._looked_at + _SLACK
            self._told = told
            self._seen_at = clocks.monotonic - (age if is_possible else 0.0)
        self._looked_at = clocks.monotonic
        at = clocks.server - (clocks.monotonic - self._seen_at)
        if has_changed or abs(at - self._said) > JITTER:
            self._said = at
        return self._said


class Amount(NamedTuple):
    """How much of its work a job has done, in `unit`, as far as its code says."""

    done: float
    unit: str | None = None

    @classmethod
    def of(cls, done: float, unit: bytes | str | None) -> "Amount":
        """Take a unit as it is stored, whatever it is."""
        text = values.text(unit)
        return cls(done, encodable(text and text[:_LONGEST_UNIT]))


_LONGEST_UNIT: Final = 30
MOST_POINTS: Final = 60


class HistoryKeeper:
    """Adds up a job's history; when it has many points, each two become one, so that it spans the whole run."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._points: list[tuple[float, float, float]] = []
        self._next: list[tuple[float, float, float]] = []
        self._merged = 1
        self._last: tuple[float, float] | None = None
        self._has_rate = False
        self._unit: str | None = None

    def add(self, cpu: float, rss: float, amount: Amount | None, now: float) -> History:
        """Take what was measured at a time (unix seconds); returns the history so far."""
        self._next.append((cpu, rss, self._rate(amount, now)))
        if len(self._next) >= self._merged:
            self._points.append(_mean(self._next))
            self._next = []
        if len(self._points) == MOST_POINTS:
            self._points = [_mean(self._points[place : place + 2]) for place in range(0, MOST_POINTS, 2)]
            self._merged *= 2
        cpus, sizes, rates = zip(*self._points, strict=True) if self._points else ((), (), ())
        return History(self._every * self._merged, cpus, sizes, rates if self._has_rate else (), self._unit)

    def _rate(self, amount: Amount | None, now: float) -> float:
        """How much was done a second since the last time."""
        if amount is None:
            return 0.0
        before, self._last = self._last, (amount.done, now)
        self._has_rate, self._unit = True, amount.unit
        if before is None or now <= before[1]:
            return 0.0
        return max(0.0, amount.done - before[0]) / (now - before[1])


def _mean(points: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    cpu, rss, rate = (sum(column) / len(points) for column in zip(*points, strict=True))
    return round(cpu, 1), round(rss), round(rate, 1)


_SNAPSHOT_SECONDS = 10.0


class Measured(NamedTuple):
    """What one look says of a job's processes: fields of the record, the processes, at times a snapshot of them."""

    fields: Mapping[str, Value]
    family: Family
    snapshot: bytes | None = None


class Measuring:
    """Looks at what a job's processes do, at every beat, and makes a snapshot of them every 10 s.

    `find` finds them in a view of all processes, in which marks are read anew only for a snapshot. Of those that
    compute and belong to what has been silent for `quiet_after` seconds, the stacks are sampled. `look` makes a view,
    from an earlier one. Of what we `may_not_look_into` nothing is told but numbers.
    """

    def __init__(
        self,
        find: Callable[[ProcessView], Iterable[SeenProcess]],
        quiet_after: float = Limits().quiet_after,
        look: Callable[[ProcessView | None], ProcessView] = ProcessView,
        may_not_look_into: Callable[[SeenProcess], bool] = lambda _: False,
    ) -> None:
        self._find = find
        self._may_not_look_into = may_not_look_into
        self._look = look
        self._quiet_after = quiet_after
        self._idleness = Idleness(close_after=quiet_after / _CLOSE_SHARE)
        self._view: ProcessView | None = None
        self._snapshot_after = 0.0
        self._waits: dict[Identity, SeenProcess] = {}
        self._samples = StackSamples()
        self._history = HistoryKeeper(_SNAPSHOT_SECONDS)

    def __call__(
        self, now: float, silence: Silence = lambda _: 0.0, amount: Amount | None = None
    ) -> Measured:
        """Measure; `now` is the server's time, with which a snapshot is stamped.

        `silence` is that of a process's part; `amount` goes into the job's history.
        """
        is_due = time.monotonic() >= self._snapshot_after
        self._view = self._look(None if is_due else self._view)
        seen = self._tell(self._idleness.look(self._find(self._view), now), now, silence, is_due=is_due)
        self._waits = {each.identity: each for each in seen if each.waits is not None}
        snapshot = None
        if is_due:
            self._snapshot_after = time.monotonic() + _SNAPSHOT_SECONDS - BEAT_SECONDS / 2
            history = self._history.add(*_usage(seen), amount, now)
            snapshot = msgspec.json.encode(ProcessSnapshot(at=now, processes=tuple(seen), history=history))
        return Measured(self._fields(seen), Family(seen), snapshot)

    def _tell(
        self, found: Iterable[SeenProcess], now: float, silence: Silence, *, is_due: bool
    ) -> list[SeenProcess]:
        """The processes, with where in their code they are and what they wait for."""
        kept, opened = list[SeenProcess](), list[SeenProcess]()
        for process in found:
            (kept if self._may_not_look_into(process) else opened).append(process)
        opened = self._samples.tell(opened)
        silent = [process for process in opened if silence(process) >= self._quiet_after]
        self._samples.sample(silent, every=self._quiet_after / SAMPLES_UNTIL_QUIET)
        told = Waits(opened if is_due else [self._as_last_told(process) for process in opened]).told(now)
        return told + kept

    def _as_last_told(self, process: SeenProcess) -> SeenProcess:
        """A process with what it was seen to wait for, where it idles since; every 10 s that is looked for anew."""
        told = self._waits.get(process.identity)
        if told is None or told.idle_since != process.idle_since:
            return process
        return msgspec.structs.replace(process, waits=told.waits, waits_for=told.waits_for)

    def _fields(self, seen: list[SeenProcess]) -> dict[str, Value]:
        signs = [process.idle_since for process in seen if process.idle_since is not None]
        cpu, rss = _usage(seen)
        return {
            **({"idle-since": max(signs)} if signs else {}),
            "cpu": cpu,
            "rss": rss,
            "written": self._idleness.written,
            "processes": len(seen),
        }


def _usage(seen: list[SeenProcess]) -> tuple[float, int]:
    """CPU (% of one core) and memory (bytes) of all of these."""
    return round(sum(each.cpu or 0.0 for each in seen), 1), sum(each.rss or 0 for each in seen)
