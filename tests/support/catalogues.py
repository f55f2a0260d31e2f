"""Catalogues whose judge and clock a test holds, and rows for them."""

from collections.abc import Mapping
from typing import Any

from gnjobs.records.fields import Job
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.listing import Listing
from gnjobs.watch.rows import JobRow, row_of
from tests.support.clock import Clock


class SilenceJudge:
    """Stuck 100 s after the heartbeat."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.learnt: dict[str, Any] = {}
        self.judged = 0

    def judge(self, row: JobRow, now: float) -> tuple[str, float | None]:
        self.judged += 1
        if row.key in self.learnt:
            return "dead", None
        if row.heartbeat is None:
            return "ok", None
        limit = row.heartbeat + 100
        return ("stuck", None) if now >= limit else ("ok", limit)

    def forget(self, row: JobRow) -> None:
        self.forgotten.append(row.key)

    def listen(self, *, hears: bool) -> None:
        pass

    def learn(self, presences: Mapping[str, Any]) -> None:
        self.learnt.update(presences)


def make() -> tuple[Catalogue, SilenceJudge, Clock]:
    judge, clock = SilenceJudge(), Clock(1000.0)
    return Catalogue(judge, clock), judge, clock


def finish(catalogue: Catalogue) -> None:
    while catalogue.work():
        pass


def job(number: int, status: str = "success", **fields: Any) -> JobRow:
    fields = {"created": float(number), "label": f"job {number}", "user": "tux"} | fields
    return row_of(Job(id=f"j{number}", status=status, **fields))


def shown(listing: Listing) -> list[str]:
    return [row.key for row in listing.visible(0, len(listing))]
