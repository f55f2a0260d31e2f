"""Counts the faults that a job's code pushes to lists, as gn-uploader's does, without a search of the server."""

import contextlib
from collections.abc import Iterable, Sequence

import redis

from gnjobs.records import values
from gnjobs.records.connection import connect
from gnjobs.records.feed import ChangeFeed, TrackingRefused
from gnjobs.records.foreign import MOST_CHILDREN, Part, PartFinder, count_left, parse_part
from gnjobs.records.keys import MIRROR_FIELD
from gnjobs.records.scripts import Value
from gnjobs.supervisor.record import RecordLink

MOST_SEARCHED_AT_ONCE = 200_000  # keys


class ListedFaults:
    """Hears of every key that changes below a job, and counts the faults in those that its prefix's description names.

    After it was deaf for a while it searches the server for them, at once if there are few keys, else at the job's end,
    as for more than 10 000, or where some are too large; until then nothing is known. Methods raise redis-py's errors
    of the link alone.
    """

    def __init__(self, url: str, link: RecordLink, most_searched: int = MOST_SEARCHED_AT_ONCE) -> None:
        self._link = link
        self._most_searched = most_searched
        self._client = connect(url, retries=0)
        self._feed: ChangeFeed | None = None
        self._is_told = "faults" in link.keys.layout.parts.values()
        self._has_missed = b"requeues" in link.found
        self._found: set[Part] = set()
        self._has_news = False
        self._known = 0

    def open(self) -> None:
        """Begin to hear, before the job's command does anything."""
        if not self._is_told or self._feed is not None:
            return
        feed = ChangeFeed(self._client, [self._link.keys.inside(self._link.job_id)])
        try:
            feed.open()
            self._feed = feed
        except TrackingRefused:
            self._is_told, self._has_missed = False, True
        except redis.RedisError:
            self._has_missed = True

    def parts(self) -> Sequence[Part]:
        """What was heard of so far, in order."""
        return sorted(self._found)

    def count(self) -> int | None:
        """How many faults there are so far; None where we may not have heard of some."""
        self._hear()
        if self._has_missed and self._feed is not None:
            self._search()
        if self._has_missed:
            return None
        if self._has_news:
            left = count_left(self._link.client, self._link.keys, self._link.job, self)
            if left is None:
                self._leave_to_the_end()
                return None
            self._known, self._has_news = left, False
        return self._known

    def count_at_end(self) -> int | None:
        """As `count`, with a search of any server; None where it refuses that."""
        known = self.count()
        return known if known is not None else count_left(self._link.client, self._link.keys, self._link.job)

    @property
    def notes(self) -> dict[str, Value]:
        """What tells those who read the record that there may be more than our own children."""
        is_needed = self._found or self._has_missed
        return {MIRROR_FIELD: b""} if is_needed and not self._link.has_old_readers else {}

    def _hear(self) -> None:
        self.open()
        if self._feed is None:
            return
        try:
            names = self._feed.catch_up()
        except redis.RedisError:
            self.close()
            self._has_missed = True
            return
        self._has_missed |= None in names
        self._add(part for name in names if (part := self._part(values.text(name))))

    def _part(self, name: str | None) -> Part | None:
        return None if name is None else parse_part(self._link.keys, self._link.job_id, name)

    def _add(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self._found.add(part)
            self._has_news = True
        if len(self._found) > MOST_CHILDREN:  # whoever makes and removes keys could make any number
            self._leave_to_the_end()

    def _leave_to_the_end(self) -> None:
        self._found.clear()
        self._is_told, self._has_missed = False, True
        self.close()

    def _search(self) -> None:
        with contextlib.suppress(redis.ResponseError):
            if self._link.client.dbsize() <= self._most_searched:
                self._has_missed = False
                self._add(PartFinder(self._link.client, self._link.keys, self._link.job_id).parts())

    def close(self) -> None:
        """Let the connection go."""
        if self._feed is not None:
            with contextlib.suppress(redis.RedisError, OSError):
                self._feed.close()
            self._feed = None
