"""The jobs that a filter, or a user's name, selects, each with the verdict on it: what `ls` lists and others act on."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from gnjobs_tui.cli.session import Session

if TYPE_CHECKING:
    from gnjobs.health.verdict import Health
    from gnjobs.processes.seen import Presence
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore

Judged = tuple["Job", "Health"]
Found = tuple["JobStore", "Job", "Health"]
PAGE = 2000


def matching_jobs(
    session: Session,
    *,
    user: str | None = None,
    query: str | None = None,
    unfinished: bool = False,
    indexed_only: bool = False,
    count: int = PAGE,
    fields: Collection[str] | None = None,
    looked: Callable[[int], None] = lambda _: None,
) -> Iterator[Found]:
    """Find jobs, newest first, read `count` at a time; then, unless `indexed_only`, those that no index lists.

    `unfinished` leaves out, and does not read, those that have ended; of these, only `fields` (names in Redis) are read
    where they are given and nothing is filtered. `looked` is told how many keys were searched.
    Raises `FilterError`.
    """
    from heapq import merge
    from itertools import chain

    from gnjobs.health.assess import assess
    from gnjobs.processes.presence import Looks, look_well

    stores = session.stores
    if fields is not None and query is None:
        stores = tuple(store.brief(fields) for store in stores)
    own = session.actor.own_users
    wanted = [user] if user or own is None else own
    found = merge(
        *(_newest_first(store, each, count, unfinished) for store in stores for each in wanted),
        key=lambda listed: listed[1].created or 0.0,
        reverse=True,
    )
    now = session.store.now()
    unindexed = (
        (store, job)
        for store in (() if indexed_only else stores)
        for each in wanted
        for job in store.unindexed(each, looked)
        if not (unfinished and job.is_final)
    )
    matches = None if query is None else _matcher(query, now)
    looks, limits = Looks(), session.config.limits

    def look(job: "Job") -> "Presence":
        return look_well(job, looks, lambda: (store.processes(job.id) for store in session.stores))

    for store, job in chain(found, unindexed):
        if own is None or session.actor.may("see", job):
            health = assess(job, now=now, limits=limits, look=look)
            if matches is None or matches(job, health):
                yield store, job, health


def _matcher(query: str, now: float) -> "Callable[[Job, Health], bool]":
    from gnjobs.watch.filters import matcher

    return matcher(query, now=now)


def _newest_first(
    store: "JobStore", user: str | None, count: int, unfinished: bool
) -> "Iterator[tuple[JobStore, Job]]":
    page = store.page(user=user, unfinished=unfinished, count=count)
    while True:
        for job in page.jobs:
            yield store, job
        if page.next is None:
            return
        page = store.page(user=user, unfinished=unfinished, before=page.next, count=count)
