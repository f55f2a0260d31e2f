"""How far the children of one call are together, told to the job's record while they work."""

import contextlib
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

import redis

from gnjobs.records import values

if TYPE_CHECKING:
    from gnjobs.runtime.job import CurrentJob

_LOOK_EVERY = 5.0
_SHORTEST_PAUSE = 0.25


class ChildrenProgress:
    """Counts children that have ended, and every few seconds looks how far those at work are.

    Within a with block; what it says last is stored when the block ends well. Of children of a child nothing is told.
    """

    def __init__(self, job: "CurrentJob", total: int) -> None:
        self._job = job
        self._total = total
        self._is_told = total > 0 and job.child_id is None
        self._at_work: set[str] = set()
        self._ended = 0
        self._failed = 0
        self._told: tuple[float, str | None] = (0.0, None)
        self._lock = threading.Lock()
        self._has_news = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="children's progress", daemon=True)

    def __enter__(self) -> "ChildrenProgress":
        if self._is_told:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._has_news.set()
        if self._is_told and error is None:
            self._thread.join()
            self._tell()

    def started(self, child_id: str) -> None:
        """Take note of a child that begins."""
        with self._lock:
            self._at_work.add(child_id)

    def ended(self, child_id: str, *, failed: bool) -> None:
        """Take note of a child that has ended, or never begun."""
        with self._lock:
            self._at_work.discard(child_id)
            self._ended += 1
            self._failed += failed
        self._has_news.set()

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._has_news.wait(_LOOK_EVERY)
            self._has_news.clear()
            if not self._is_over.is_set():
                self._tell()
                self._is_over.wait(_SHORTEST_PAUSE)

    def _tell(self) -> None:
        with self._lock:
            at_work, ended, failed = list(self._at_work), self._ended, self._failed
        percent = round(100 * (ended + self._shares(at_work)) / self._total, 2)
        message = f"{ended} of {self._total} children done" + (f", {failed} failed" if failed else "")
        said = (percent, message if ended else None)
        if said != self._told:
            self._job.children_progress(*said)
            self._told = said

    def _shares(self, at_work: list[str]) -> float:
        """How much of their work the children at work have done, each counted from 0 to 1."""
        found: list[Any] = []
        with contextlib.suppress(redis.RedisError):
            pipe = self._job.client.pipeline(transaction=False)
            for child_id in at_work:
                pipe.hget(self._job.keys.child(self._job.id, child_id), "percent")
            found = pipe.execute()
        return sum(values.percentage(share) or 0.0 for share in found) / 100
