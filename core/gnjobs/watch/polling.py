"""Watching without being told of changes: what is unfinished, new or on screen is read again and again."""

import time
from collections.abc import Callable, Collection
from typing import Any

from gnjobs.records import values
from gnjobs.records.keys import is_id
from gnjobs.watch.reading import Found, Source

POLL_EVERY = 2.0
RELOAD_EVERY = 60.0
# About this share of the time goes into reading at most, yet a server that answers no more is to be noticed in 12 s.
BUSY_SHARE = 0.1
LONGEST_POLL = 9.5
NEWEST = 50
MOST_UNFINISHED = 10_000


class Poll:
    """Rereads at an interval, which grows when reading takes long; `why` says what makes it necessary."""

    def __init__(
        self, sources: list[Source], why: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.why = why
        self._sources = sources
        self._monotonic = monotonic
        self._due = self._load_began = monotonic()
        self._reload_due = float("inf")

    def due_in(self) -> float:
        """Seconds until the next look."""
        return self._due - self._monotonic()

    @property
    def reload_is_due(self) -> bool:
        """Whether it is time to load everything, which alone finds what was removed or is in no index."""
        if self._monotonic() < self._reload_due:
            return False
        self._load_began = self._monotonic()
        return True

    def loaded(self) -> None:
        """Everything has been loaded: the next load is due later, the longer it took the later."""
        now = self._monotonic()
        self._reload_due = now + max(RELOAD_EVERY, (now - self._load_began) / BUSY_SHARE)

    def read(self, wanted: Collection[str]) -> Found:
        """Read the unfinished, the newest and the wanted rows (keys of the catalogue)."""
        began = self._monotonic()
        read = [source.read(self._ids(source, wanted)) for source in self._sources]
        now = self._monotonic()
        self._due = now + min(LONGEST_POLL, max(POLL_EVERY, (now - began) / BUSY_SHARE))
        return Found(
            [row for found in read for row in found.rows], [key for found in read for key in found.gone]
        )

    def _ids(self, source: Source, wanted: Collection[str]) -> list[str]:
        pipe = source.client.pipeline(transaction=False)
        pipe.zrevrange(source.keys.unfinished, 0, MOST_UNFINISHED - 1)
        pipe.zrevrange(source.keys.jobs, 0, NEWEST - 1)
        replies: list[Any] = pipe.execute(raise_on_error=False)
        listed = [
            values.text(member) or "" for reply in replies if isinstance(reply, list) for member in reply
        ]
        named = [job_id for key in wanted if (job_id := source.id_of(key)) is not None]
        return [job_id for job_id in dict.fromkeys(listed + named) if is_id(job_id)]
