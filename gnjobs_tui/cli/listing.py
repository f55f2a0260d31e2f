"""Commands that list: `gnjobs ls` and `gnjobs users`."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from gnjobs_tui.cli.json_output import job_object, print_json
from gnjobs_tui.cli.session import Session, on_terminal, print_fields, searching, with_session

if TYPE_CHECKING:
    from gnjobs.health.verdict import Health
    from gnjobs.processes.seen import Presence
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore

DEFAULT_LIMIT = 50
MOST_LISTED = 10**9
_PAGE = 500

Judged = tuple["Job", "Health"]


@click.command()
@click.option("--user", metavar="U", help="Only this user's jobs.")
@click.option(
    "--filter", "query", metavar="Q", help="As on the dashboard: words, state:, user:, type:, age>2h."
)
@click.option(
    "--limit", type=click.IntRange(1, MOST_LISTED), default=DEFAULT_LIMIT, show_default=True, metavar="N"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_session
def ls(session: Session, user: str | None, query: str | None, limit: int, as_json: bool) -> int:
    """List jobs, newest first. Jobs that no index lists, such as gn-uploader's own, come last."""
    with searching() as looked:
        listed = list(islice(_matching(session, user, query, limit, looked), limit))
    if as_json:
        for job, health in listed:
            print_json(job_object(job, health))
    elif on_terminal():
        from gnjobs_tui.cli.drawing import draw_jobs

        draw_jobs(listed, session.store.now())
    else:
        for job, health in listed:
            print_fields(job.id, job.status, health.verdict, job.label, job.user, job.percent, job.faults)
    return 0


def _matching(
    session: Session, user: str | None, query: str | None, limit: int, looked: Callable[[int], None]
) -> Iterator[Judged]:
    from heapq import merge
    from itertools import chain

    from gnjobs.health.assess import assess_listed
    from gnjobs.processes.presence import Looks, look_well

    own = session.actor.own_users
    wanted = [user] if user or own is None else own
    count = limit if query is None else _PAGE
    found = merge(
        *(_newest_first(store, each, count) for store in session.stores for each in wanted),
        key=lambda listed: listed[1].created or 0.0,
        reverse=True,
    )
    now = session.store.now()
    unindexed = (job for store in session.stores for each in wanted for job in store.unindexed(each, looked))
    jobs = chain((job for _, job in found), unindexed)
    looks, limits = Looks(), session.config.limits

    def look(job: "Job") -> "Presence":
        return look_well(job, looks, lambda: (store.processes(job.id) for store in session.stores))

    judged = ((job, assess_listed(job, now=now, limits=limits, look=look)) for job in jobs)
    visible = ((job, health) for job, health in judged if session.actor.may("see", job))
    if query is None:
        yield from visible
        return
    from gnjobs.watch.filters import matcher

    matches = matcher(query, now=now)
    yield from (listed for listed in visible if matches(*listed))


def _newest_first(store: "JobStore", user: str | None, count: int) -> "Iterator[tuple[JobStore, Job]]":
    page = store.page(user=user, count=count)
    while True:
        for job in page.jobs:
            yield store, job
        if page.next is None:
            return
        page = store.page(user=user, before=page.next, count=count)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_session
def users(session: Session, as_json: bool) -> int:
    """List users with counts of their jobs by status; the user with the newest job is first."""
    found = [
        user for store in session.stores for user in store.users() if session.actor.may_see_owner(user.user)
    ]
    found.sort(key=lambda user: user.newest or 0.0, reverse=True)
    if as_json:
        for user in found:
            print_json(
                {
                    "user": user.user,
                    "name": session.config.name_of(user.user),
                    "newest": user.newest,
                    **user.counts,
                }
            )
    elif on_terminal():
        from gnjobs_tui.cli.drawing import draw_users

        draw_users(found, session.config)
    else:
        for user in found:
            print_fields(
                user.user, user.newest, *(f"{status}={count}" for status, count in user.counts.items())
            )
    return 0
