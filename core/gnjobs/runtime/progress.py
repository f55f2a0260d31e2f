"""How far a job's children are, told in its record while `run_children` goes."""

import threading

from gnjobs.records.scripts import Value
from gnjobs.runtime.context import JobContext

_LOOK_EVERY = 5.0
_SHORTEST_PAUSE = 0.25


class ChildrenProgress:
    """Counts children that are done and that failed, and every few seconds looks how far those at work are.

    At most `workers` are at work at once. Within a with block; what it says last is stored when the block ends well. Of
    children of a child nothing is told.
    """

    def __init__(self, job: JobContext, total: int, workers: int) -> None:
        self._job = job
        self._total = total
        self._workers = workers
        self._is_told = total > 0 and job.child_id is None
        self._at_work: set[str] = set()
        self._done = 0
        self._failed = 0
        self._told: dict[str, Value] = {}
        self._lock = threading.Lock()
        self._has_news = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="children's progress", daemon=True)

    def __enter__(self) -> "ChildrenProgress":
        if self._is_told:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over.set()
        self._has_news.set()
        if self._is_told and kind is None:
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
            self._done += not failed
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
            at_work, done, failed = list(self._at_work), self._done, self._failed
        percent = 100 * (done + self._job.shares_done(at_work)) / self._total
        said: dict[str, Value] = {"percent": f"{percent:.2f}", "max-workers": self._workers}
        if done or failed:
            failures = f", {failed} failed" if failed else ""
            said |= {"message": f"{done} of {self._total} children done{failures}", "children-done": done}
        if said != self._told:
            self._job.set_fields(said)
            self._told = said
