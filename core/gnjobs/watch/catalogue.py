"""All jobs that are watched, as plain data: rows by key, in order, counted, filtered, and judged as time passes.

It knows neither Redis nor a screen, and belongs to one thread. Batches of changes go in by `apply`; what tables show
comes out of its listings. A change costs O(log N); whatever takes longer is done a piece at a time by `work`.
"""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from operator import attrgetter
from typing import Any, Protocol

from gnjobs.health.states import ALL, GROUPS, group_of
from gnjobs.watch.collections import IdSet
from gnjobs.watch.filters import Filter
from gnjobs.watch.listing import DEFAULT_SORT, Listing, Sort, SortedRows
from gnjobs.watch.rows import Change, JobRow

Counts = dict[str, int]


class Tally:
    """Counts of rows by group and by user; a job without a user is under the empty name.

    While not all jobs are loaded, `indexed` says how many there are: in all (None) and of each user.
    """

    def __init__(self) -> None:
        self.indexed: Mapping[str | None, int] = {}
        self._total: Counter[str] = Counter()
        self._by_user: dict[str, Counter[str]] = {}
        self._newest: dict[str, float] = {}

    def replace(self, old: JobRow | None, new: JobRow | None) -> None:
        """Count `new` in place of `old`."""
        if old is not None and new is not None and old.state == new.state and old.user == new.user:
            return
        if old is not None:
            self._count(old.user or "", old.state, -1)
        if new is not None:
            self.extend((new,))

    def extend(self, rows: Iterable[JobRow]) -> None:
        """Count rows that are new."""
        by_creation = sorted(rows, key=attrgetter("created"))
        for (user, state), number in Counter(map(attrgetter("user", "state"), by_creation)).items():
            self._count(user or "", state, number)
        for user, newest in {row.user or "": row.created for row in by_creation}.items():
            self._newest[user] = max(self._newest.get(user, 0.0), newest)

    def _count(self, user: str, state: str, number: int) -> None:
        group = group_of(state)
        counts = self._by_user.setdefault(user, Counter())
        for counted in (self._total, counts):
            counted[ALL] += number
            if group != ALL:
                counted[group] += number
        if counts[ALL] <= 0:
            del self._by_user[user]
            self._newest.pop(user, None)

    def counts(self, users: Collection[str] | None = None) -> Counts:
        """The number of jobs in each group: of all, or of these users."""
        if users is None:
            return self._shown(self._total, self.indexed.get(None, 0))
        found = [self._shown(self._by_user.get(user, Counter()), self.indexed.get(user, 0)) for user in users]
        return {group: sum(counts[group] for counts in found) for group in GROUPS}

    @staticmethod
    def _shown(counts: Counter[str], indexed: int) -> Counts:
        return {group: counts[group] for group in GROUPS} | {ALL: max(counts[ALL], indexed)}

    def by_user(self) -> Mapping[str, Counts]:
        """The counts of every user."""
        return {
            user: self._shown(counts, self.indexed.get(user, 0)) for user, counts in self._by_user.items()
        }

    def newest(self, user: str) -> float:
        """When the newest of a user's jobs known so far was created; 0 where that is unknown."""
        return self._newest.get(user, 0.0)


class DueTimes:
    """Due times by key. Each key is in the heap about once: a later time is queued when the earlier one comes."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._queued: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: str, due: float | None) -> None:
        """Set when a key is due (None: never)."""
        if due is None:
            self._due.pop(key, None)
            return
        self._due[key] = due
        if due < self._queued.get(key, float("inf")):
            self._queued[key] = due
            heapq.heappush(self._heap, (due, key))

    def next(self) -> float | None:
        """The time before which nothing is due, or None."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: float, most: int) -> list[str]:
        """Remove and return at most `most` keys that are due."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < most:
            queued, key = heapq.heappop(self._heap)
            if self._queued.get(key) != queued:
                continue
            del self._queued[key]
            due = self._due.get(key)
            if due is None:
                continue
            if due <= now:
                del self._due[key]
                taken.append(key)
            else:
                self.set(key, due)
        return taken


EXPIRED_AT_ONCE = 500
SWEPT_A_STEP = 2000


class Judge(Protocol):
    """Gives verdicts on unfinished jobs; see `gnjobs.watch.judge.Judge`."""

    def judge(self, row: JobRow, now: float) -> tuple[str, float | None]:
        """The verdict on a row, and when it may change without news (None: never)."""

    def forget(self, row: JobRow) -> None:
        """The row has ended or is gone."""

    def learn(self, presences: Mapping[str, Any]) -> None:
        """Take in what was seen of the processes of these jobs."""

    def listen(self, *, hears: bool) -> None:
        """Say whether beats would be heard of from now on."""


class Catalogue:
    """The rows of all jobs; `clock` gives the server's time in unix seconds."""

    def __init__(self, judge: Judge, clock: Callable[[], float] = time.time) -> None:
        self.version = 0
        self._judge = judge
        self._clock = clock
        self._rows: dict[str, JobRow] = {}
        self._unfinished: dict[str, JobRow] = {}
        self._order = SortedRows()
        self._tally = Tally()
        self._due = DueTimes()
        self._listings: list[Listing] = []
        self._told: IdSet | None = None
        self._untold: Iterator[str] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> JobRow | None:
        """The row of a key."""
        return self._rows.get(key)

    def unfinished(self) -> list[JobRow]:
        """The rows of all jobs that have not ended."""
        return list(self._unfinished.values())

    def created_since(self, since: float, most: int) -> list[JobRow]:
        """The rows of all unfinished jobs and of those created since a time, the newest first; at most so many."""
        recent = takewhile(lambda row: row.rank or row.created >= since, self._order)
        return list(islice(recent, most))

    def counts(self, users: Collection[str] | None = None) -> Counts:
        """The number of jobs in each group: of all, or of these users. No filter narrows it."""
        return self._tally.counts(users)

    def user_counts(self) -> Mapping[str, Counts]:
        """The counts of every user; jobs without one are under the empty name."""
        return self._tally.by_user()

    def newest_of(self, user: str) -> float:
        """When the newest of a user's jobs was created; 0 where that is unknown."""
        return self._tally.newest(user)

    def listing(
        self,
        *,
        filter: Filter | None = None,  # noqa: A002 - the word of the command line
        group: str = ALL,
        users: Collection[str] | None = None,
        sort: Sort = DEFAULT_SORT,
    ) -> Listing:
        """Open a filtered and sorted list; `work` fills it, `close` ends it."""
        listing = Listing(
            self._order, self.get, self._clock, filter=filter, group=group, users=users, sort=sort
        )
        self._listings.append(listing)
        return listing

    def close(self, listing: Listing) -> None:
        """Stop updating a listing."""
        self._listings = [kept for kept in self._listings if kept is not listing]

    def apply(self, change: Change) -> None:
        """Take in a batch from the watcher."""
        if change.state is not None:
            self._judge.listen(hears=change.state.hears_beats)
        if change.indexed is not None and self._told is None:
            self._tally.indexed = change.indexed
        if change.progress == 1.0:
            self._tally.indexed = {}
        if change.sweep == "begin":
            self._told, self._untold = IdSet(len(self._rows)), None
        self.put(change.rows)
        self.remove(change.removed)
        if change.presences:
            self._judge.learn(change.presences)
            self._judge_again(change.presences)
        if change.sweep == "end" and self._told is not None:
            self._untold = iter(list(self._rows))

    def put(self, rows: Iterable[JobRow]) -> None:
        """Add rows, or replace those of the same keys."""
        now = self._clock()
        ended: list[JobRow] = []
        others: list[JobRow] = []
        by_key = {row.key: row for row in rows}
        for key, row in by_key.items():
            (ended if row.job is None and key not in self._rows else others).append(row)
        if self._told is not None:
            self._told.add_all(by_key)
        self._extend(ended)
        for row in others:
            old = self._rows.get(row.key)
            if row.is_final and row == old:
                continue  # nothing is new, and rows that are read again need no other memory than they have
            self._replace(old, row if row.is_final else self._judged(row, now))

    def _extend(self, ended: Sequence[JobRow]) -> None:
        """Add jobs that have ended and were not known: when everything is loaded, these are nearly all."""
        if not ended:
            return
        self._rows.update((row.key, row) for row in ended)
        self._order.update(ended)
        self._tally.extend(ended)
        for listing in self._listings:
            listing.extend(ended)
        self.version += 1

    def remove(self, keys: Iterable[str]) -> None:
        """Remove rows; unknown keys are ignored."""
        for key in keys:
            if (old := self._rows.get(key)) is not None:
                self._replace(old, None)

    def _judged(self, row: JobRow, now: float) -> JobRow:
        verdict, due = self._judge.judge(row, now)
        self._due.set(row.key, due)
        return row.judged(verdict)

    def _replace(self, old: JobRow | None, new: JobRow | None) -> None:
        if old is not None:
            self._order.discard(old)
            if not old.is_final and (new is None or new.is_final):
                self._finish(old)
        if new is not None:
            self._rows[new.key] = new
            self._order.add(new)
            if not new.is_final:
                self._unfinished[new.key] = new
        elif old is not None:
            del self._rows[old.key]
        self._tally.replace(old, new)
        for listing in self._listings:
            listing.replace(old, new)
        self.version += 1

    def _finish(self, row: JobRow) -> None:
        del self._unfinished[row.key]
        self._due.set(row.key, None)
        self._judge.forget(row)

    def next_due(self) -> float | None:
        """When `expire` has something to do (unix seconds), unless news come before; None: never."""
        due = self._due.next()
        refreshes = min((listing.refresh_at for listing in self._listings), default=float("inf"))
        earliest = min(refreshes, float("inf") if due is None else due)
        return None if earliest == float("inf") else earliest

    def expire(self) -> int:
        """Judge again the rows whose verdicts may have changed, and renew filters by age; returns how many rows."""
        now = self._clock()
        for listing in self._listings:
            if listing.refresh_at <= now:
                listing.refresh()
        return self._judge_again(self._due.take(now, EXPIRED_AT_ONCE))

    def _judge_again(self, keys: Iterable[str]) -> int:
        now, number = self._clock(), 0
        for key in keys:
            row = self._unfinished.get(key)
            if row is not None:
                number += 1
                judged = self._judged(row, now)
                if judged is not row:
                    self._replace(row, judged)
        return number

    def work(self, seconds: float = 0.01) -> bool:
        """Continue long work for about `seconds`; returns whether there is more to do."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if self._untold is not None:
                self._sweep_step()
            elif (listing := next((each for each in self._listings if each.filling), None)) is not None:
                listing.fill_step()
            else:
                return False
        return self._untold is not None or any(listing.filling for listing in self._listings)

    def _sweep_step(self) -> None:
        assert self._told is not None
        assert self._untold is not None
        for _ in range(SWEPT_A_STEP):
            key = next(self._untold, None)
            if key is None:
                self._told = self._untold = None
                return
            if key not in self._told:
                self.remove((key,))
