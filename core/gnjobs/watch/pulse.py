"""The pulse of the service: jobs by day and by type, how long they wait and run, and what of it is unusual, in words.

It is made of the rows of jobs created in the last 14 days and knows nothing but them, so whoever holds rows need read
nothing more. Times are unix seconds, days those of the reader's time zone, lengths of time seconds.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

import msgspec

from gnjobs.health.hosts import HostHealth
from gnjobs.health.states import DONE, FAILED, FAULTS, LOST
from gnjobs.records.fields import run_seconds
from gnjobs.records.statuses import PENDING
from gnjobs.text import DAY, HOUR, MINUTE, count_text, duration_words, plural
from gnjobs.watch.rows import JobRow

DAYS: Final = 14
MOST_JOBS: Final = 100_000
RECENT: Final = DAY
MOMENTS: Final = 56
FEWEST_RECENT, FEWEST_EARLIER = 3, 5
SLOWER, LEAST_SLOWER = 1.5, 10.0
QUEUE: Final = "queue"
_MOST_TOLD: Final = 3


class Finding(NamedTuple):
    """One answer: what it is about, a sentence, and whether somebody should look."""

    about: str
    text: str
    is_trouble: bool = False


class Share(NamedTuple):
    """A number out of a total."""

    part: int
    whole: int

    def exceeds(self, usual: "Share") -> bool:
        """Whether it is more than chance explains where it is `usual` otherwise; without a history, half or more."""
        if self.part < FEWEST_RECENT:
            return False
        if usual.whole < FEWEST_EARLIER:
            return 2 * self.part >= self.whole
        expected = self.whole * (usual.part + 0.5) / (usual.whole + 1)
        return self.part > expected + 2 * math.sqrt(expected) + 1

    @property
    def percent(self) -> str:
        """As a percentage."""
        return f"{100 * self.part / self.whole:.0f} %" if self.whole else "none"


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of a day, or of a type: how many were created, and how many ended in which shown state.

    `waited` is the median wait of those that began, `longest_wait` the longest.
    """

    name: str = ""
    created: int = 0
    ended: Mapping[str, int] = {}
    waited: float | None = None
    longest_wait: float | None = None


class Day(Tally, frozen=True, kw_only=True):
    """What was created and what ended from `begin` on, until the next day begins."""

    begin: float


class TypeOfJobs(Tally, frozen=True, kw_only=True):
    """The jobs of a type, and how long those run that succeed.

    `run` is the median of the last 24 h, `usual_run` that of the days before, `trend` that of each day, the oldest
    first; `late` counts those at work for longer than `long_run`, which 9 in 10 did not reach. `recent` and `earlier`
    are the shares that failed or were lost, in the last 24 h and before.
    """

    run: float | None = None
    usual_run: float | None = None
    long_run: float | None = None
    trend: tuple[float, ...] = ()
    running: int = 0
    late: int = 0
    recent: Share = Share(0, 0)
    earlier: Share = Share(0, 0)

    @property
    def is_failing(self) -> bool:
        """Whether more of them fail than usually."""
        return self.recent.exceeds(self.earlier)

    @property
    def is_slower(self) -> bool:
        """Whether they run for much longer than they used to."""
        if self.run is None or self.usual_run is None:
            return False
        return self.run >= SLOWER * self.usual_run and self.run >= self.usual_run + LEAST_SLOWER


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at a time; days and types with the newest and the troubled first.

    `jobs` were looked at, created since `since`; where there are more in those 14 days, `is_cut`. `waiting` is how
    many waited at each of 56 moments up to now.
    """

    now: float
    since: float
    jobs: int = 0
    is_cut: bool = False
    days: tuple[Day, ...] = ()
    types: tuple[TypeOfJobs, ...] = ()
    waiting: tuple[int, ...] = ()
    waiting_hour_ago: int = 0
    longest_waiting: float | None = None
    long_wait: float | None = None
    came: int = 0
    began: int = 0

    @property
    def range_words(self) -> str:
        """How many jobs of which days this is about."""
        days = f"the last {DAYS} days"
        if self.is_cut:
            days = f"the last {duration_words(self.now - self.since)}; more is not counted"
        return f"{plural(self.jobs, 'job')} of {days}"

    def findings(self, hosts: Sequence[HostHealth] | None = None) -> list[Finding]:
        """What an operator asks first; of hosts only where they are known."""
        told = [self._failing(), self._queue(), self._speed()]
        return [*told, *([_hosts(hosts, self.now)] if hosts is not None else [])]

    def _failing(self) -> Finding:
        recent = _sum(each.recent for each in self.types)
        usual = _sum(each.earlier for each in self.types)
        if not recent.whole:
            return Finding("failing", "no job ended in the last 24 h")
        said = f"{_of(recent, 'jobs')} failed in the last 24 h, {recent.percent}; "
        said += f"{usual.percent} before" if usual.whole else "nothing to compare with"
        worse = sorted((each for each in self.types if each.is_failing), key=lambda each: -each.recent.part)
        names = [f"{each.name} {_of(each.recent)}" for each in worse[:_MOST_TOLD]]
        said += f"; more than usual: {', '.join(names)}" if names else ""
        return Finding("failing", said, bool(worse) or recent.exceeds(usual))

    def _queue(self) -> Finding:
        waiting = self.waiting[-1] if self.waiting else 0
        flow = f"in the last hour {count_text(self.came)} came and {count_text(self.began)} began"
        if not waiting or self.longest_waiting is None:
            return Finding(QUEUE, f"no job waits; {flow}")
        grows = waiting >= FEWEST_RECENT and waiting > 1.5 * self.waiting_hour_ago and self.came > self.began
        is_long = self.longest_waiting > max(15 * MINUTE, 2 * (self.long_wait or 0.0))
        said = f"{count_text(waiting)} {'job waits' if waiting == 1 else 'jobs wait'}, "
        said += f"the longest for {duration_words(self.longest_waiting)}; "
        said += f"an hour ago {count_text(self.waiting_hour_ago)} did; {flow}"
        return Finding(QUEUE, f"it grows: {said}" if grows else said, grows or is_long)

    def _speed(self) -> Finding:
        slower = [
            f"{each.name} takes {duration_words(each.run)}, {each.run / max(1.0, each.usual_run):.1f} times its "
            f"usual {duration_words(each.usual_run)}"
            for each in self.types
            if each.is_slower and each.run is not None and each.usual_run is not None
        ]
        late = [
            f"{each.late} of {each.running} {each.name} at work for over {duration_words(each.long_run)}, "
            "longer than 9 in 10 before"
            for each in self.types
            if each.late and each.long_run is not None
        ]
        if said := [*slower[:_MOST_TOLD], *late[:_MOST_TOLD]]:
            return Finding("speed", "; ".join(said), is_trouble=True)
        known = any(each.usual_run is not None and each.run is not None for each in self.types)
        return Finding("speed", "no type is slower than usual" if known else "too few runs to compare with")


def _sum(shares: Iterable[Share]) -> Share:
    found = list(shares)
    return Share(sum(share.part for share in found), sum(share.whole for share in found))


def _of(share: Share, what: str = "") -> str:
    return f"{count_text(share.part)} of {count_text(share.whole)} {what}".rstrip()


def _hosts(hosts: Sequence[HostHealth], now: float) -> Finding:
    troubles = [
        f"{host.host}: {', '.join(words)}" for host in hosts if (words := list(host.trouble_words(now)))
    ]
    if not troubles:
        number = sum(host.answers for host in hosts)
        said = "1 agent answers" if number == 1 else f"{number} agents answer" if number else "no agent runs"
        return Finding("hosts", f"{said}; no job is silent")
    more = f"; {len(troubles) - _MOST_TOLD} more" if len(troubles) > _MOST_TOLD else ""
    return Finding("hosts", "; ".join(troubles[:_MOST_TOLD]) + more, is_trouble=True)


def range_begin(now: float) -> float:
    """When the first of the 14 days begins, the last of which is today."""
    return _day_begins(now)[0]


def _day_begins(now: float) -> list[float]:
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return [(today - timedelta(days=days)).timestamp() for days in reversed(range(DAYS))]


class _Collected:
    """What is collected of a day or type."""

    def __init__(self) -> None:
        self.created = 0
        self.ended: Counter[str] = Counter()
        self.waits: list[float] = []
        self.runs: list[tuple[float, float]] = []
        self.recent: Counter[str] = Counter()
        self.at_work: list[float] = []

    def common(self) -> dict[str, object]:
        waits = self.waits
        return {
            "created": self.created,
            "ended": dict(self.ended),
            "waited": median(waits) if waits else None,
            "longest_wait": max(waits, default=None),
        }

    def type_named(self, name: str, begins: Sequence[float], now: float) -> TypeOfJobs:
        recent = [run for ended, run in self.runs if ended > now - RECENT]
        earlier = [run for ended, run in self.runs if ended <= now - RECENT]
        long_run = _highest_tenth(earlier)
        by_day: list[list[float]] = [[] for _ in begins]
        for ended, run in self.runs:
            by_day[bisect_right(begins, ended) - 1].append(run)
        return TypeOfJobs(
            name=name,
            run=median(recent) if len(recent) >= FEWEST_RECENT else None,
            usual_run=median(earlier) if len(earlier) >= FEWEST_EARLIER else None,
            long_run=long_run,
            trend=tuple(median(runs) if runs else 0.0 for runs in by_day),
            running=len(self.at_work),
            late=sum(run > SLOWER * max(MINUTE, long_run) for run in self.at_work) if long_run else 0,
            recent=_failed(self.recent),
            earlier=_failed(self.ended - self.recent),
            **self.common(),  # type: ignore[arg-type]
        )


def _failed(states: Counter[str]) -> Share:
    return Share(states[FAILED.word] + states[LOST.word], states.total())


def _highest_tenth(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) * 9 // 10] if len(values) >= FEWEST_EARLIER else None


def take_pulse(rows: Sequence[JobRow], now: float, *, is_cut: bool = False) -> Pulse:
    """Measure jobs created in the last 14 days, or the newest of them where that is `is_cut`; others are left out."""
    begins = _day_begins(now)
    rows = [row for row in rows if begins[0] <= row.created <= now + MINUTE]
    days = [_Collected() for _ in begins]
    types: dict[str, _Collected] = {}
    for row in rows:
        of_type = types.setdefault(row.type or "no type", _Collected())
        _collect(row, now, begins, days, of_type)
    spans = _Spans(rows, now)
    since = min((row.created for row in rows), default=now) if is_cut else begins[0]
    measured = [found.type_named(name, begins, now) for name, found in types.items()]
    waits = [wait for found in types.values() for wait in found.waits]
    shown = zip(begins, days, strict=True)
    return Pulse(
        now=now,
        since=since,
        jobs=len(rows),
        is_cut=is_cut,
        days=tuple(
            Day(begin=begin, **found.common())  # type: ignore[arg-type]
            for begin, found in reversed(list(shown))
            if begin + DAY > since
        ),
        types=tuple(sorted(measured, key=_worst_first)),
        waiting=spans.counts(since),
        waiting_hour_ago=spans.at(now - HOUR),
        longest_waiting=max(
            (max(0.0, now - row.created) for row in rows if row.status == PENDING), default=None
        ),
        long_wait=_highest_tenth(waits),
        came=sum(row.created > now - HOUR for row in rows),
        began=sum(row.started is not None and row.started > now - HOUR for row in rows),
    )


def _worst_first(found: TypeOfJobs) -> tuple[bool, int, str]:
    return not (found.is_failing or found.is_slower or found.late), -found.created, found.name


def _collect(
    row: JobRow, now: float, begins: Sequence[float], days: Sequence[_Collected], of_type: _Collected
) -> None:
    created_on = days[bisect_right(begins, row.created) - 1]
    created_on.created += 1
    of_type.created += 1
    if row.started is not None:
        wait = max(0.0, row.started - row.created)
        created_on.waits.append(wait)
        of_type.waits.append(wait)
    run = run_seconds(row, now)
    if not row.is_final:
        if run is not None:
            of_type.at_work.append(run)
        return
    ended = min(now, max(row.created, row.finished or row.created))
    days[bisect_right(begins, ended) - 1].ended[row.state] += 1
    of_type.ended[row.state] += 1
    if ended > now - RECENT:
        of_type.recent[row.state] += 1
    if run is not None and row.state in (DONE.word, FAULTS.word):
        of_type.runs.append((ended, run))


class _Spans:
    """When jobs waited: from their creation until they began, ended without that, or still."""

    def __init__(self, rows: Iterable[JobRow], now: float) -> None:
        waits = [
            (row.created, row.started or row.finished or now + 1.0)
            for row in rows
            if row.started is not None or row.finished is not None or row.status == PENDING
        ]
        self._now = now
        self._begins = sorted(begin for begin, _ in waits)
        self._ends = sorted(max(begin, end) for begin, end in waits)

    def at(self, moment: float) -> int:
        """How many waited at a moment."""
        return bisect_right(self._begins, moment) - bisect_right(self._ends, moment)

    def counts(self, since: float) -> tuple[int, ...]:
        """How many waited at moments since a time, the last of them now."""
        step = (self._now - since) / MOMENTS
        return tuple(self.at(self._now - step * back) for back in reversed(range(MOMENTS)))
