"""A catalogue kept by a watcher, as a dashboard has it: batches are queued by one thread and applied by the test's."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from gnjobs.records.keys import DEFAULT_PREFIX, Keys
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.judge import Judge
from gnjobs.watch.reading import make_sources
from gnjobs.watch.rows import Change, FeedState, JobRow
from gnjobs.watch.watcher import Watcher
from tests.support.stored_records import KEYS, put_job
from tests.support.waiting import wait_for


class Mirror:
    """Applies what a watcher tells."""

    def __init__(self, url: str, **options: Any) -> None:
        self._queue: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self.watcher = Watcher(url, self._queue.put, **options)
        self.judge = Judge()
        self.catalogue = Catalogue(self.judge, self.watcher.now)
        self.states: list[FeedState] = []
        self.changes: list[Change] = []
        self.progress = 0.0

    def apply(self) -> None:
        """Apply what has arrived."""
        while not self._queue.empty():
            change = self._queue.get()
            self.changes.append(change)
            self.catalogue.apply(change)
            self.watcher.look_at(self.judge.take_unlooked())
            if change.state is not None:
                self.states.append(change.state)
            if change.progress is not None:
                self.progress = change.progress
        while self.catalogue.work():
            pass

    def __contains__(self, key: str) -> bool:
        self.apply()
        return self.catalogue.get(key) is not None

    def row(self, key: str) -> JobRow | None:
        """The row as it is now."""
        self.apply()
        return self.catalogue.get(key)

    def touched(self) -> set[tuple[str, str | None]]:
        """Everything that was told as touched."""
        self.apply()
        return {each for change in self.changes for each in change.touched}

    @property
    def state(self) -> str:
        """How changes arrive."""
        self.apply()
        return self.states[-1].kind if self.states else ""

    def wait_until_loaded(self) -> None:
        """Wait until everything has been told."""

        def loaded() -> bool:
            self.apply()
            return self.progress == 1.0

        wait_for(loaded, what="loaded")

    def rows(self) -> dict[str, JobRow]:
        """All rows, without what only time tells."""
        self.apply()
        listing = self.catalogue.listing()
        found = {row.key: _stored(row) for row in listing.visible(0, len(listing))}
        self.catalogue.close(listing)
        return found


def _stored(row: JobRow) -> JobRow:
    return row.judged("ok")


def rows_in(client: redis.Redis, prefix: str = DEFAULT_PREFIX) -> dict[str, JobRow]:
    """What a fresh and plain read finds in Redis."""
    (source,) = make_sources(client, [prefix])
    found = list(client.scan_iter(source.keys.scan_pattern()))
    source.uncounted.note_all(found)
    source.uncounted.has_all = True
    names = [source.keys.parse(name.decode()) for name in found]
    ids = [name.job_id for name in names if name is not None and name.kind == "record"]
    return {row.key: row for row in source.read(ids).rows}


@contextmanager
def mirror(url: str, **options: Any) -> Iterator[Mirror]:
    """A mirror for the time of a with block."""
    made = Mirror(url, **options)
    made.watcher.start()
    try:
        yield made
    finally:
        made.watcher.stop(5)


@contextmanager
def loaded_mirror(url: str, **options: Any) -> Iterator[Mirror]:
    """A mirror that has been told everything."""
    with mirror(url, **options) as made:
        made.wait_until_loaded()
        yield made


def add_job(
    client: redis.Redis, job_id: str, *, indexed: bool = True, keys: Keys = KEYS, **fields: Any
) -> str:
    """Write a record as a foreign client would; returns its key."""
    stored = {"status": "success", "created": 1700000000.0, "label": job_id} | fields
    put_job(client, keys, job_id, stored, indexed=indexed)
    return keys.job(job_id)
