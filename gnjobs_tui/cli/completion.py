"""Completion on the shell's command line: `gnjobs completion SHELL`, and the ids, children and users in Redis."""

import contextlib
import signal
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from gnjobs_tui.cli.session import Session

if TYPE_CHECKING:
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore

_SECONDS = 1.0  # whoever pressed tab waits no longer for Redis
_NEWEST = 200
_MOST = 50
_SHELLS = ("bash", "fish", "zsh")
# Commands that take jobs in one state alone.
_ENDED_ONLY, _UNFINISHED_ONLY = frozenset({"rm"}), frozenset({"kill", "stack", "wait"})


def complete_job(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of jobs that begin so, the unfinished and the newest, with their status and label."""
    return _quietly(_jobs(context, incomplete))


def complete_child(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the children of the job that the line names."""
    return _quietly(_children(context, incomplete))


def complete_user(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of users who have jobs."""
    return _quietly(_users(context, incomplete))


def _quietly(found: Iterable[CompletionItem]) -> list[CompletionItem]:
    """As many as help, until the time is over or anything goes wrong, since nobody could read what it is.

    Bash puts what is offered unquoted on the line, so only what a shell takes as it stands is: any valid id.
    """
    from gnjobs.records.keys import is_user

    items: list[CompletionItem] = []
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    # A traceback would land in the middle of somebody's command line.
    with contextlib.suppress(Exception):
        try:
            items.extend(islice((item for item in found if is_user(item.value)), _MOST))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    return items


class _OutOfTime(Exception):
    pass


def _give_up(*_: object) -> None:
    raise _OutOfTime


def _session(context: click.Context) -> Session:
    """The session that the words before the cursor make: their global options count."""
    session = Session()
    chain = [context]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    for each in reversed(chain):
        given = each.params
        session.add(given.get("redis_url"), given.get("prefix") or (), given.get("config"))
    return session


def _stores(session: Session) -> "Iterator[JobStore]":
    from gnjobs.records.connection import connect
    from gnjobs.records.keys import Keys
    from gnjobs.store import JobStore

    client = connect(session.config.url, reply_timeout=_SECONDS, retries=0, socket_connect_timeout=_SECONDS)
    for prefix in session.config.prefixes:
        yield JobStore(client, Keys(prefix, session.config.layouts.get(prefix)), session.config.url)


def _listed(context: click.Context) -> "Iterator[tuple[JobStore, Job]]":
    """The jobs that may be meant: unfinished ones, then the newest, as far as the command takes them."""
    session = _session(context)
    command = context.info_name
    for store in _stores(session):
        for user in session.actor.own_users or (None,):
            if user is None and command not in _ENDED_ONLY:
                yield from ((store, job) for job in store.page(unfinished=True, count=_NEWEST).jobs)
            for job in store.page(user=user, count=_NEWEST).jobs:
                if _takes(command, job):
                    yield store, job


def _takes(command: str | None, job: "Job") -> bool:
    return job.is_final if command in _ENDED_ONLY else not (job.is_final and command in _UNFINISHED_ONLY)


def _jobs(context: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    from gnjobs.text import safe_line

    seen = set(context.params.get("ids") or ())
    for _, job in _listed(context):
        if job.id.startswith(incomplete) and job.id not in seen:
            seen.add(job.id)
            yield CompletionItem(job.id, help=safe_line(f"{job.status}: {job.name}")[:60])


def _children(context: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    from gnjobs.text import safe_line

    # While an option has no value yet, what stood before it is in `args`.
    given = [context.params.get("id_"), *(context.params.get("ids") or ()), *context.args]
    beginning = next((word for word in given if word), None)
    if beginning is None:
        return
    store, job_id = _session(context).find(beginning)
    for child in store.children(job_id):
        if child.id.startswith(incomplete):
            yield CompletionItem(child.id, help=safe_line(f"{child.status}: {child.label or ''}")[:60])


def _users(context: click.Context, incomplete: str) -> Iterator[CompletionItem]:
    session = _session(context)
    found = {job.user for _, job in _listed(context) if job.user and session.actor.may_see_owner(job.user)}
    for user in sorted(found):
        if user.startswith(incomplete):
            yield CompletionItem(user)


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> int:
    """Print the script that lets SHELL complete commands, options, job ids and children.

    bash: echo 'eval "$(gnjobs completion bash)"' >> ~/.bashrc
    """
    from gnjobs_tui.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "gnjobs", "_GNJOBS_COMPLETE").source())
    return 0
