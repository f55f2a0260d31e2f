"""Live data for the screens: changes go into the catalogue; each list follows its group, filter and sort order."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import cache
from typing import TYPE_CHECKING

import msgspec
from textual.app import App
from textual.message import Message
from textual.timer import Timer

from gnjobs.health.assess import common_causes
from gnjobs.health.states import ALL
from gnjobs.processes.seen import Presence
from gnjobs.records.fields import Job
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.filters import Filter
from gnjobs.watch.judge import Judge
from gnjobs.watch.listing import DEFAULT_SORT, Listing, Sort
from gnjobs.watch.rows import RANK_TROUBLED, Change, FeedState
from gnjobs.watch.watcher import Watcher
from gnjobs_tui import pauses
from gnjobs_tui.config import Config

if TYPE_CHECKING:
    from gnjobs.processes.presence import Looks

# A list that is collected sooner than this replaces the one before it whole, so that the cursor finds its row.
COLLECTED_WITHIN = 0.15
# What follows a redraw within this time is drawn together.
DRAW_EVERY = 0.05
SLICE = 0.01
AGES_EVERY = 10.0
TAKEN_WITHIN = 0.2
FIRST_SHOWN_WITHIN = 0.5
# A sample is enough to find common causes, and what was found is kept for a while.
MOST_JUDGED = 500
CAUSES_EVERY = 2.0


class Choice(msgspec.Struct, frozen=True):
    """Which jobs are listed, and in which order."""

    group: str = ALL
    filter: Filter | None = None
    sort: Sort = DEFAULT_SORT


class ShownList:
    """Keeps the listing that is shown until the one that was chosen last can take its place."""

    def __init__(self, catalogue: Catalogue, users: Collection[str] | None) -> None:
        self._catalogue = catalogue
        self._users = users
        self._following: Listing | None = None
        self._chosen_at = 0.0
        self.choice = Choice()
        self.current = self._open()

    def _open(self) -> Listing:
        choice = self.choice
        return self._catalogue.listing(
            filter=choice.filter, group=choice.group, users=self._users, sort=choice.sort
        )

    def choose(self, choice: Choice) -> None:
        """List something else as soon as it is collected; the catalogue's `work` does that."""
        if choice == self.choice:
            return
        if self._following is not None:
            self._catalogue.close(self._following)
        self.choice, self._chosen_at = choice, time.monotonic()
        self._following = self._open()

    @property
    def is_current(self) -> bool:
        """Whether what is shown is what was chosen last."""
        return self._following is None

    def take(self) -> Listing:
        """The listing to show now."""
        following = self._following
        # In the default order a list is right from its top while it is collected; in another one only at the end.
        is_late = self.choice.sort == DEFAULT_SORT and time.monotonic() - self._chosen_at > COLLECTED_WITHIN
        if following is not None and (following.ready or is_late):
            self._catalogue.close(self.current)
            self.current, self._following = following, None
        return self.current

    def close(self) -> None:
        """Stop updating the lists."""
        for listing in (self.current, self._following):
            if listing is not None:
                self._catalogue.close(listing)


class Changed(Message):
    """News from the watcher's thread."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change


class Watch:
    """Owns catalogue and watcher; everything but `deliver` runs on the event loop."""

    def __init__(
        self, app: App[None], config: Config, users: frozenset[str] | None, draw: Callable[[], None]
    ) -> None:
        self._app = app
        self._draw = draw
        self.watcher = Watcher(
            config.url,
            self._deliver,
            prefixes=config.prefixes,
            users=users,
            layouts=config.layouts,
            look=_look,
        )
        self.judge = Judge(config.limits)
        self.catalogue = Catalogue(self.judge, self.watcher.now)
        self.state = FeedState("connecting")
        self.progress: float | None = None
        self._open: Counter[str] = Counter()
        self._shows_jobs = threading.Event()
        self._taken = threading.Event()
        self._taken.set()
        self._drawing: Timer | None = None
        self._due: Timer | None = None
        self._is_stale = False
        self._working = False
        self._is_long = False
        self._causes: list[str] = []
        self._causes_until = 0.0

    def start(self) -> None:
        """Begin to watch, and to let ages grow."""
        self.watcher.start()
        self._app.set_interval(AGES_EVERY, self._draw)

    def stop(self) -> None:
        """End watching."""
        self._shows_jobs.set()
        self._taken.set()
        self.watcher.stop()

    def open(self, key: str) -> None:
        """A screen shows this job: every change below its record is told, until as many screens have closed it."""
        self._open[key] += 1
        self.watcher.set_open(self._open)

    def close(self, key: str) -> None:
        """A screen shows this job no more."""
        self._open -= Counter((key,))
        self.watcher.set_open(self._open)

    def now(self) -> float:
        """The server's time, in unix seconds."""
        return self.watcher.now()

    def common_causes(self) -> list[str]:
        """What the jobs in trouble have in common, as of a moment ago."""
        if time.monotonic() >= self._causes_until:
            self._causes_until = time.monotonic() + CAUSES_EVERY
            rows = [row for row in self.catalogue.unfinished() if row.rank == RANK_TROUBLED][:MOST_JUDGED]
            judged = [(row.job, self.judge.health(row, self.now())) for row in rows if row.job is not None]
            self._causes = common_causes(judged)
        return self._causes

    def _deliver(self, change: Change) -> None:
        """Hand on news; the first jobs are shown before more are read, as reading and drawing slow each other.

        Others are handed on once those before them were taken in, so that no key waits behind many.
        """
        if change.rows:
            self._taken.wait(TAKEN_WITHIN)
            self._taken.clear()
        self._app.post_message(Changed(change))
        if change.rows:
            self._shows_jobs.wait(FIRST_SHOWN_WITHIN)

    def take(self, change: Change) -> None:
        """Take in news."""
        self.catalogue.apply(change)
        self._taken.set()
        if change.rows and not self._shows_jobs.is_set():
            self._draw_at_once()
            self._app.call_after_refresh(self._shows_jobs.set)
        if change.state is not None:
            self.state = change.state
        if change.progress is not None:
            self.progress = change.progress
            pauses.settle()
        self.work()
        self._arm()
        self.draw_soon()

    def work(self) -> None:
        """Do long work in slices, so that keys are answered in between."""
        if not self._working:
            self._working = True
            self._slice()

    def _slice(self) -> None:
        was_long, self._working = self._is_long, self.catalogue.work(SLICE)
        self._is_long = self._working
        if was_long and not self._working:
            pauses.settle()
        if unlooked := self.judge.take_unlooked():
            self.watcher.look_at(unlooked)
        if self._working:
            self._app.set_timer(0.001, self._slice)
        self.draw_soon()

    def _arm(self) -> None:
        due = self.catalogue.next_due()
        if self._due is not None:
            self._due.stop()
        if due is not None:
            self._due = self._app.set_timer(max(0.05, due - self.now()), self._expire)

    def _expire(self) -> None:
        self._due = None
        self.catalogue.expire()
        self.work()
        self._arm()

    def draw_soon(self) -> None:
        """Draw now, or with what else comes in a moment."""
        if self._drawing is None:
            self._draw()
            self._drawing = self._app.set_timer(DRAW_EVERY, self._draw_rest)
            self._is_stale = False
        else:
            self._is_stale = True

    def _draw_at_once(self) -> None:
        if self._drawing is not None:
            self._drawing.stop()
            self._drawing = None
        self.draw_soon()

    def _draw_rest(self) -> None:
        self._drawing = None
        if self._is_stale:
            self.draw_soon()


@cache
def _looks() -> "Looks":
    from gnjobs.processes.presence import Looks

    return Looks()


def _look(job: Job) -> Presence:
    return _looks()(job)
