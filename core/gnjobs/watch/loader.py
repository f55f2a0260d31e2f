"""Everything that Redis holds, a piece at a time: the unfinished and the new, then all others, then the unindexed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import redis

from gnjobs.records import values
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import is_wrong_type
from gnjobs.records.indexes import members_by_rank, without_index
from gnjobs.records.keys import ids_among, is_user
from gnjobs.records.pipeline import scan_ahead
from gnjobs.watch.reading import READ_AT_ONCE, WatchedPrefix
from gnjobs.watch.rows import Change, JobRow, default_order

FIRST_PAGE = 100
# So many that the server goes on with the next ones while we read the first.
_LOADED_AT_ONCE = 2000
# So many of one page come again in the next, since ranks move while jobs come and go.
_OVERLAP = 100
_SCANNED_AT_ONCE = 2000
_COUNTED_AT_ONCE = 50
_INDEXED_SHARE = 0.9
_LEAST_PROGRESS = 0.01
# So much of what was told before is gathered before it is told, yet no more than can be sorted in a moment.
_GATHERED_SHARE = 0.25
_MOST_GATHERED = 5000
_MOST_COUNTED_USERS = 1000


class Loader:
    """Loads the jobs of several prefixes; each step is one or few commands, none of which holds the server long.

    `hears`: every change of a key is told. `pause` is called again and again, and may wait. `refusal` says what the
    server refused to let us read, where it did.
    """

    def __init__(
        self,
        sources: Sequence[WatchedPrefix],
        *,
        hears: bool = False,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._sources = sources
        self._pause = pause
        self._hears = hears
        # What was shown first, which is not read again.
        self._seen = [set[str]() for _ in sources]
        # Read, and not told yet.
        self._gathered: dict[str, JobRow] = {}
        self._unread: list[list[str]] = [[] for _ in sources]
        # Parts of all that the indexes list, and of all keys.
        self._loaded, self._scanned = 0.0, 0.0
        self._told = 0.0
        self.refusal: str | None = None

    def steps(self) -> Iterator[Change]:
        """Load step by step; a step may bring nothing but progress, or not even that.

        The first brings what a screen shows first, of one source: the unfinished, if not too many, and the newest.
        """
        for source, seen in self._each():
            yield Change(rows=(*self._unfinished(source, seen, 0), *self._newest(source, seen)))
        for source, seen in self._each():
            yield from self._further_unfinished(source, seen)
        indexed = sum((self._indexed(source) for source in self._sources), Counter[str | None]())
        yield Change(indexed=indexed)
        unindexed = self._unindexed()
        for source, seen in self._each():
            for change in self._rest(source, seen, max(1, indexed[None])):
                yield change
                # In turn, so that the server looks for keys while we read records.
                yield next(unindexed, Change())
        self._loaded = 1.0
        yield from unindexed
        for source in self._sources:
            yield from self._uncounted(source)
        self._seen.clear()
        yield Change(progress=1.0)

    def _each(self) -> Iterator[tuple[WatchedPrefix, set[str]]]:
        return zip(self._sources, self._seen, strict=True)

    def _unfinished(self, source: WatchedPrefix, seen: set[str], start: int) -> list[JobRow]:
        """Some of the unfinished; those that have ended are left to their own index, which also says whose they are."""
        page = ids_among(self._members(source, source.keys.unfinished, start, READ_AT_ONCE))
        seen.update(page)
        return source.read(page).rows

    def _further_unfinished(self, source: WatchedPrefix, seen: set[str]) -> Iterator[Change]:
        total = self._allowed(source.client.zcard, source.keys.unfinished) or 0
        for start in range(READ_AT_ONCE, total, READ_AT_ONCE):
            yield Change(rows=tuple(self._unfinished(source, seen, start)))

    def _index(self, source: WatchedPrefix) -> list[str]:
        if source.users is None:
            return [source.keys.jobs]
        return [source.keys.user_jobs(user) for user in sorted(source.users) if is_user(user)]

    def _newest(self, source: WatchedPrefix, seen: set[str]) -> Iterator[JobRow]:
        for index in self._index(source):
            page = ids_among(self._members(source, index, 0, FIRST_PAGE))
            yield from self._read_unseen(source, seen, page)
            seen.update(page)

    def _rest(self, source: WatchedPrefix, seen: set[str], total: int) -> Iterator[Change]:
        for index in self._index(source):
            for page in self._pages(source, index):
                rows = self._read_unseen(source, seen, page)
                self._loaded += len(page) / total
                yield self._progress(rows)

    def _pages(self, source: WatchedPrefix, index: str) -> Iterator[list[str]]:
        """All ids in an index, in pages that overlap, so that none is passed over when others before it are removed."""
        start, before = 0, set[bytes]()
        while True:
            members = self._members(source, index, start, _LOADED_AT_ONCE)
            if before and before.isdisjoint(members):
                start, before = max(0, start - _LOADED_AT_ONCE), set()
                continue
            yield ids_among([member for member in members if member not in before])
            if len(members) < _LOADED_AT_ONCE:
                return
            start, before = start + _LOADED_AT_ONCE - _OVERLAP, set(members)

    def _unindexed(self) -> Iterator[Change]:
        """What no index lists, of all prefixes in one pass over the server's keys.

        It is found in no order. To put rows among many others takes long, unless they are neighbours.
        """
        told = 0
        first, *others = self._sources
        keys_on_server = max(1, int(self._allowed(first.client.dbsize) or 0))
        pattern = None if others else first.keys.scan_pattern()
        steps = scan_ahead(first.client, pattern, _SCANNED_AT_ONCE)
        while (names := self._allowed(next, steps, None)) is not None:
            self._take(names)
            if len(self._gathered) > min(max(READ_AT_ONCE, _GATHERED_SHARE * told), _MOST_GATHERED):
                told += len(self._gathered)
                yield from self._in_order()
            self._scanned += _SCANNED_AT_ONCE / keys_on_server
            yield self._progress()
        self._read(1)
        yield from self._in_order()

    def _take(self, names: Sequence[bytes]) -> None:
        """Read those of these keys that are jobs of no index, many at once."""
        for (source, seen), unread in zip(self._each(), self._unread, strict=True):
            self._pause()
            source.uncounted.note_all(names)
            unseen = [job_id for job_id in source.keys.records(names) if job_id not in seen]
            # To ask for each takes less time and memory than to remember a million.
            unread.extend(self._allowed(without_index, source.client, source.keys, unseen) or ())
        self._read(READ_AT_ONCE)

    def _read(self, least: int) -> None:
        for source, unread in zip(self._sources, self._unread, strict=True):
            if len(unread) >= least:
                rows = source.read_unindexed(unread, self._pause).rows
                self._gathered.update((row.key, row) for row in rows)
                unread.clear()

    def _in_order(self) -> Iterator[Change]:
        ordered = [row.key for row in sorted(self._gathered.values(), key=default_order)]
        for start in range(0, len(ordered), READ_AT_ONCE):
            found = (self._gathered.pop(key, None) for key in ordered[start : start + READ_AT_ONCE])
            yield Change(rows=tuple(row for row in found if row is not None))

    def drop(self, keys: Iterable[str]) -> None:
        """Tell nothing of these rows that was read before: something newer is told."""
        for key in keys:
            self._gathered.pop(key, None)

    def _uncounted(self, source: WatchedPrefix) -> Iterator[Change]:
        """The rows of jobs with faults to count, a few at a time, since each takes a question of its own."""
        source.uncounted.has_all = self._hears
        jobs = sorted(source.uncounted.jobs) if self._hears else []
        for start in range(0, len(jobs), _COUNTED_AT_ONCE):
            yield Change(rows=tuple(source.read(jobs[start : start + _COUNTED_AT_ONCE]).rows))

    def _read_unseen(self, source: WatchedPrefix, seen: set[str], ids: Sequence[str]) -> tuple[JobRow, ...]:
        unseen = [job_id for job_id in ids if job_id not in seen]
        return tuple(source.read_mostly_finished(unseen, self._pause).rows)

    def _progress(self, rows: tuple[JobRow, ...] = ()) -> Change:
        loaded, scanned = min(1.0, self._loaded), min(1.0, self._scanned)
        progress = _INDEXED_SHARE * loaded + (1 - _INDEXED_SHARE) * scanned
        if progress < self._told + _LEAST_PROGRESS:
            return Change(rows=rows)
        self._told = min(progress, 0.99)
        return Change(rows=rows, progress=self._told)

    def _members(self, source: WatchedPrefix, index: str, start: int, count: int) -> list[bytes]:
        return self._allowed(members_by_rank, source.client, index, start, count) or []

    def _indexed(self, source: WatchedPrefix) -> Counter[str | None]:
        """How many jobs the indexes list: in all (None), and of each user."""
        users = source.users
        if users is None:
            found = self._allowed(source.client.zrevrange, source.keys.users, 0, _MOST_COUNTED_USERS - 1)
            users = frozenset(values.text(member) or "" for member in found or ())
        named = [user for user in users if is_user(user)]
        pipe = source.client.pipeline(transaction=False)
        for index in (source.keys.jobs, *map(source.keys.user_jobs, named)):
            pipe.zcard(index)
        everything, *replies = (
            reply if isinstance(reply, int) else 0 for reply in pipe.execute(raise_on_error=False)
        )
        counts = Counter[str | None](dict(zip(named, replies, strict=True)))
        counts[None] = everything if source.users is None else counts.total()
        return counts

    def _allowed(self, command: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run a read command; None where the server refuses it (then `refusal` says why) or for another type."""
        try:
            return command(*arguments, **options)
        except (redis.ResponseError, TooLarge) as error:
            if not is_wrong_type(error):
                self.refusal = str(error)
            return None
