"""Commands that list: `gnjobs ls` and `gnjobs users`."""

import gc
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click
import msgspec

from gnjobs_tui.cli.completion import complete_user
from gnjobs_tui.cli.json_output import ENDED_FIELDS, JOB_COLUMNS, job_object, print_json
from gnjobs_tui.cli.matching import PAGE, matching_jobs, newest_first
from gnjobs_tui.cli.selection import FILTER_HELP
from gnjobs_tui.cli.session import (
    Session,
    field_line,
    json_option,
    on_terminal,
    print_fields,
    say,
    searching,
    with_session,
)

if TYPE_CHECKING:
    from gnjobs.health.hosts import HostHealth
    from gnjobs_tui.cli.matching import Found

TERMINAL_JOBS = 50
MOST_LISTED = 10**9
_COUNTED_SECONDS = 1.0
# So many more objects than have gone are looked through for garbage: of those listed none is, and there are many.
_COLLECTED_AFTER = 100_000
# The fields of a job that are printed for programs, without their names.
_PRINTED = ("status", "label", "user-id", "percent", "faults")


@click.command()
@click.option("--user", metavar="U", shell_complete=complete_user, help="Only this user's jobs.")
@click.option("--filter", "query", metavar="Q", help=FILTER_HELP)
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), metavar="N",
              help=f"At most N jobs.  [default: all; on a terminal {TERMINAL_JOBS}]")  # fmt: skip
@json_option
@click.option(
    "--tsv", "as_tsv", is_flag=True, help="The same columns as --json, separated by tabs, after a heading."
)
@with_session
def ls(
    session: Session, user: str | None, query: str | None, limit: int | None, as_json: bool, as_tsv: bool
) -> int:
    """List jobs, newest first. Jobs that no index lists, such as gn-uploader's own, come last."""
    session.only_look()
    if as_json and as_tsv:
        raise click.UsageError("--json and --tsv exclude each other")
    is_drawn = on_terminal() and not (as_json or as_tsv)
    most = limit or (TERMINAL_JOBS if is_drawn else MOST_LISTED)
    count = PAGE if query else min(most, PAGE)
    with searching() as looked:
        fields = None if is_drawn else ENDED_FIELDS if as_json or as_tsv else _PRINTED
        found = matching_jobs(session, user=user, query=query, count=count, fields=fields, looked=looked)
        listed: Iterable[Found] = islice(found, most)
        if on_terminal():  # where what is said of the search would stand between the lines
            listed = list(listed)
            more = _more(session, user, query, found, len(listed)) if len(listed) == most else ""
    if not is_drawn:
        _print(listed, as_json=as_json, as_tsv=as_tsv)
        return 0
    from gnjobs_tui.cli.drawing import draw_jobs

    whose = f" of {user}" if user else ""
    under = ", ".join(session.config.prefixes)
    nothing = f"no job{whose} matches {query}" if query else f"no jobs{whose} under {under}"
    draw_jobs(((job, health) for _, job, health in listed), session.store.now(), nothing)
    if more:
        say(more)
    return 0


def _more(session: Session, user: str | None, query: str | None, found: "Iterator[Found]", shown: int) -> str:
    """Say how many jobs there are besides those shown; of a filter's, as many as are found in a second."""
    if query is None:
        users: Sequence[str | None] = [user] if user else session.actor.own_users or [None]
        total = sum(store.count(each) for store in session.stores for each in users)
        more, at_least = total - shown, ""
    else:
        until = time.monotonic() + _COUNTED_SECONDS
        more, at_least = 0, ""
        for _ in found:
            more += 1
            if time.monotonic() > until:
                at_least = "at least "
                break
    return f"and {at_least}{more} more; --limit N lists them" if more > 0 else ""


def _print(found: "Iterable[Found]", *, as_json: bool, as_tsv: bool) -> None:
    """Print jobs for programs, each as it is found."""
    is_drawn = on_terminal()
    gc.set_threshold(_COLLECTED_AFTER)
    if as_tsv:
        print_fields(*JOB_COLUMNS)
    for _, job, health in found:
        if as_json:
            print_json(job_object(job, health), flush=False)
            continue
        if as_tsv:
            cells = [_cell(value) for value in job_object(job, health).values()]
        else:
            faults = "?" if job.is_uncounted else job.faults
            cells = [job.id, job.status, health.verdict, job.label, job.user, job.percent, faults]
        print(field_line(cells, is_drawn=is_drawn))


def _cell(value: object) -> object:
    return "; ".join(value) if isinstance(value, list) else value


def hosts_now(session: Session) -> "list[HostHealth]":
    """Every host with an agent or with jobs at work that may be seen."""
    from gnjobs.health.hosts import judge_hosts
    from gnjobs.records.hosts import read_beats

    beats = [beat for store in session.stores for beat in read_beats(store.client, store.keys)]
    found = (each for store in session.stores for each in newest_first(store, unfinished=True))
    jobs = (job for _, job in found if session.actor.may("see", job))
    return judge_hosts(beats, jobs, session.store.now())


@click.command()
@json_option
@with_session
def hosts(session: Session, as_json: bool) -> int:
    """List hosts: whether the agent answers, load, memory, and jobs at work; the troubled ones first."""
    session.only_look()
    found, now = hosts_now(session), session.store.now()
    if as_json:
        for host in found:
            print_json(msgspec.to_builtins(host) | {"agent": host.agent_words(now)})
    elif on_terminal():
        from gnjobs_tui.cli.drawing import draw_hosts

        draw_hosts(found, now)
    else:
        for host in found:
            load = host.load.load if host.load is not None else None
            print_fields(host.host, host.agent_words(now), host.running, host.silent, load)
    return 0


@click.command()
@json_option
@with_session
def users(session: Session, as_json: bool) -> int:
    """List users with counts of their jobs by status; the user with the newest job is first."""
    session.only_look()
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
