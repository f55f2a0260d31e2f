"""The jobs that a filter, or a user's name, selects, each with the verdict on it: what `ls` lists and others act on."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache, partial
from heapq import merge
from itertools import chain
from typing import TYPE_CHECKING

from gnjobs_tui.cli.session import Session

if TYPE_CHECKING:
    from gnjobs.health.verdict import Health
    from gnjobs.processes.presence import Looks
    from gnjobs.processes.seen import Presence
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore

Listed = tuple["JobStore", "Job"]
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
    look_seconds: float = math.inf,
) -> Iterator[Found]:
    """Find jobs, newest first, read `count` at a time; then, unless `indexed_only`, those that no index lists.

    `unfinished` leaves out, and does not read, those that have ended; of these, only `fields` (names in Redis) are read
    where they are given and nothing is filtered. `looked` is told how many keys were searched. Processes are looked for
    no longer than `look_seconds`. Raises `FilterError`.
    """
    from gnjobs.health.assess import assess

    stores = session.stores
    if fields is not None and query is None:
        stores = tuple(store.brief(fields) for store in stores)
    own = session.actor.own_users
    wanted = [user] if user or own is None else own
    found = _newest(stores, wanted, count, unfinished)
    now = session.store.now()
    unindexed = () if indexed_only else _unindexed(stores, wanted, unfinished, looked)
    matches = None
    if query is not None:
        from gnjobs.watch.filters import matcher

        matches = matcher(query, now=now)
    look, limits = _looker(look_seconds), session.config.limits
    listed = chain(found, unindexed)
    for store, job in _each_once(listed) if unfinished else listed:
        if own is None or session.actor.may("see", job):
            health = assess(job, now=now, limits=limits, look=partial(look, store))
            if matches is None or matches(job, health):
                yield store, job, health


def _each_once(listed: "Iterable[Listed]") -> "Iterator[Listed]":
    """Leave out what the index of all jobs lacks, and that of the unfinished has."""
    told: set[tuple[JobStore, str]] = set()
    for store, job in listed:
        if (store, job.id) not in told:
            told.add((store, job.id))
            yield store, job


def _looker(seconds: float) -> "Callable[[JobStore, Job], Presence]":
    """Looks for processes for so long in all, with what that takes imported only once a job's verdict needs it."""
    spent = 0.0

    @cache
    def looks() -> "Looks":
        from gnjobs.processes.presence import Looks

        return Looks()

    def look(store: "JobStore", job: "Job") -> "Presence":
        from gnjobs.processes.presence import look_well
        from gnjobs.processes.seen import Presence

        nonlocal spent
        if spent > seconds:
            return Presence("elsewhere", "its processes were not looked at")
        began = time.monotonic()
        presence = look_well(job, looks(), partial(store.processes, job.id))
        spent += time.monotonic() - began
        return presence

    return look


def _newest(
    stores: "Iterable[JobStore]", users: Collection[str | None], count: int, unfinished: bool
) -> "Iterator[Listed]":
    """The indexed jobs of all stores, newest first."""
    return merge(
        *(
            newest_first(store, user, unfinished=unfinished, count=count)
            for store in stores
            for user in users
        ),
        key=lambda listed: listed[1].created or 0.0,
        reverse=True,
    )


def _unindexed(
    stores: "Iterable[JobStore]",
    users: Collection[str | None],
    unfinished: bool,
    looked: Callable[[int], None],
) -> "Iterator[Listed]":
    """The jobs that no index lists, in the order in which they are found."""
    for store in stores:
        for user in users:
            for job in store.unindexed(user, looked):
                if not (unfinished and job.is_final):
                    yield store, job


def newest_first(
    store: "JobStore", user: str | None = None, *, unfinished: bool, count: int = PAGE
) -> "Iterator[Listed]":
    """The indexed jobs of a store, or of one of its users, newest first, read `count` at a time."""
    page = store.page(user=user, unfinished=unfinished, count=count)
    while True:
        for job in page.jobs:
            yield store, job
        if page.next is None:
            return
        page = store.page(user=user, unfinished=unfinished, before=page.next, count=count)
