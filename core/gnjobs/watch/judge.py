"""Gives the catalogue verdicts from `health`, and says when each may change without news."""

import time
from collections.abc import Callable, Mapping

from gnjobs.health.assess import BeatClock, assess, beat_overdue_after
from gnjobs.health.verdict import Health, Limits
from gnjobs.processes.seen import Presence
from gnjobs.records.fields import Job
from gnjobs.records.statuses import PENDING
from gnjobs.watch.rows import JobRow

LOOK_AGAIN_AFTER = 30.0
_UNSEEN = Presence("late", "its processes were not looked at yet")


class ListeningClock:
    """A monotonic clock that stands still while nothing can be heard."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._deaf_since: float | None = None
        self._deaf = 0.0

    def listen(self, *, hears: bool) -> None:
        """Go on, or stand still."""
        now = self._monotonic()
        if self._deaf_since is not None:
            self._deaf += now - self._deaf_since
        self._deaf_since = None if hears else now

    def __call__(self) -> float:
        """Seconds on this clock."""
        now = self._monotonic() if self._deaf_since is None else self._deaf_since
        return now - self._deaf


class Judge:
    """Judges unfinished rows from what they hold; looking for processes, which takes time, is left to others.

    Jobs whose supervisor is silent are collected for that, see `take_unlooked`; `learn` takes in what was seen.
    """

    def __init__(self, limits: Limits | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or Limits()
        self._monotonic = monotonic
        self._listening = ListeningClock(monotonic)
        self._beats = BeatClock(self._listening)
        self._presences: dict[str, tuple[float, Presence]] = {}
        self._unlooked: dict[str, Job] = {}

    def judge(self, row: JobRow, now: float) -> tuple[str, float | None]:
        """The verdict on a row, and when it may change without news (None: never)."""
        return self.health(row, now).verdict, self._due(row, now)

    def health(self, row: JobRow, now: float) -> Health:
        """The verdict on a row with its evidence, as far as a list's fields tell; `now` is the server's time."""
        if row.job is None:
            return Health()
        age = self._beats.age(row.job, now, row.key)
        return assess(
            row.job, now=now, beat_age=age, limits=self._limits, look=lambda job: self._seen(row.key, job)
        )

    def listen(self, *, hears: bool) -> None:
        """Say whether beats would be heard of from now on: a silence in which none could be counts for nothing."""
        self._listening.listen(hears=hears)

    def _due(self, row: JobRow, now: float) -> float | None:
        job = row.job
        if job is None:
            return None
        if job.status == PENDING:
            created = job.created or job.estimated_start
            limit = (created or now) + self._limits.pending_after
            return limit if created and limit >= now else None
        age = self._beats.age(job, now, row.key)
        if age is None:
            return None
        overdue_in = beat_overdue_after(job) - age
        return now + (overdue_in if overdue_in > 0 else LOOK_AGAIN_AFTER)

    def _seen(self, key: str, job: Job) -> Presence:
        looked_at, presence = self._presences.get(key, (float("-inf"), _UNSEEN))
        if self._monotonic() - looked_at >= LOOK_AGAIN_AFTER:
            self._unlooked[key] = job
        return presence

    def take_unlooked(self) -> Mapping[str, Job]:
        """Take the jobs, by key, whose processes should be looked for now (see `Watcher.look_at`)."""
        taken, self._unlooked = self._unlooked, {}
        return taken

    def learn(self, presences: Mapping[str, Presence]) -> None:
        """Take in what was seen of the processes of these jobs."""
        now = self._monotonic()
        self._presences.update({key: (now, presence) for key, presence in presences.items()})

    def forget(self, row: JobRow) -> None:
        """The row has ended or is gone."""
        self._beats.forget((row.key,))
        self._presences.pop(row.key, None)
        self._unlooked.pop(row.key, None)
