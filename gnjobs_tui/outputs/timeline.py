"""When the children of a job waited, ran and ended, drawn as bars over the time of the job."""

from bisect import bisect_right
from collections.abc import Sequence

from gnjobs.records.fields import Child, Job
from gnjobs.text import count_text
from gnjobs_tui.style import GLYPHS

_HEIGHTS = " .:-=+*#@" if GLYPHS.is_ascii else " ▁▂▃▄▅▆▇█"
WAITS = "." if GLYPHS.is_ascii else "·"


class Timeline:
    """The children in the order in which they began, those that wait last; times in unix seconds.

    A job that has ended ends the time that is drawn, else `now` does.
    """

    def __init__(self, job: Job, children: Sequence[Child], now: float) -> None:
        began = [child.started for child in children if child.started is not None]
        self.job = job
        self.begin = min([*began, *([job.began] if job.began is not None else [])], default=now)
        self.end = max(self.begin + 1.0, (job.finished or now) if job.is_final else now)
        self.children = sorted(children, key=lambda child: (child.started is None, child.started or 0.0))
        self._begins = sorted(began)
        self._ends = sorted(self.end_of(child) for child in children if child.started is not None)

    def end_of(self, child: Child) -> float:
        """When a child that has begun ended, as far as is known; the end of all where it is at work."""
        known = child.finished or (child.last_output if child.is_final else None)
        return min(self.end, max(child.started or 0.0, known or self.end))

    def waited(self, child: Child) -> float | None:
        """How long a child waited for its turn; None where it ended without one."""
        if child.started is None:
            return None if child.is_final else self.end - self.begin
        return child.started - self.begin

    def bar(self, child: Child, width: int) -> str:
        """A line of so many cells in which a child waited and ran."""
        if child.started is None:
            return "" if child.is_final else WAITS * width
        begin = min(width - 1, self._cell(child.started, width))
        end = max(begin + 1, self._cell(self.end_of(child), width))
        return WAITS * begin + GLYPHS.full * (end - begin)

    def _cell(self, at: float, width: int) -> int:
        return round((at - self.begin) / (self.end - self.begin) * width)

    def at_work(self, at: float) -> int:
        """How many were at work at a time."""
        return bisect_right(self._begins, at) - bisect_right(self._ends, at)

    def use(self, width: int) -> str:
        """A line of so many cells, each as high as the share of workers that were at work in its middle."""
        step = (self.end - self.begin) / max(1, width)
        counts = [self.at_work(self.begin + (cell + 0.5) * step) for cell in range(width)]
        most = max(self.job.max_workers or 0, max(counts, default=0), 1)
        last = len(_HEIGHTS) - 1
        return "".join(_HEIGHTS[min(last, -(-count * last // most))] for count in counts)

    def summary(self) -> str:
        """How many children ended, are at work and wait, and how much of the workers was used."""
        ended = sum(child.is_final for child in self.children)
        waiting = sum(child.started is None and not child.is_final for child in self.children)
        at_work = len(self.children) - ended - waiting
        said = [f"{count_text(ended)} ended, {count_text(at_work)} at work, {count_text(waiting)} waiting"]
        busy = sum(self._ends) - sum(self._begins)
        mean = busy / (self.end - self.begin)
        workers = self.job.max_workers
        used = f" of {workers} workers at work on average, {100 * mean / workers:.0f} %" if workers else ""
        return ", ".join(said) + (f"; {mean:.1f}{used or ' at work on average'}" if self._begins else "")
