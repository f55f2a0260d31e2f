"""Which jobs a command acts on: those whose ids it is given, or with `--filter` all that match, once confirmed."""

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gnjobs.errors import FilterError, GnjobsError
from gnjobs.text import plural, safe_line
from gnjobs_tui.cli.completion import complete_job
from gnjobs_tui.cli.exits import DONE, exit_code
from gnjobs_tui.cli.session import Session, complain, searching

if TYPE_CHECKING:
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore
    from gnjobs_tui.cli.matching import Found

Command = TypeVar("Command", bound=Callable[..., Any])
Target = tuple["JobStore", "Job"]
FILTER_HELP = "Words, state:, user:, type:, age>2h, as on the dashboard; see `gnjobs man`."
_MOST_SHOWN = 20


class Declined(GnjobsError):
    """Whoever was asked did not confirm."""


def selecting(*, asks: bool) -> Callable[[Command], Command]:
    """Give a command the arguments that `select` takes: ids, `--filter`, and `--yes` where it `asks` before it acts."""
    options = [
        click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=complete_job),
        click.option("--filter", "query", metavar="Q", help=f"All jobs that match, in place of ids. {FILTER_HELP}"),
    ]  # fmt: skip
    if asks:
        options.append(click.option("--yes", is_flag=True, help="With --filter: do not ask first."))

    def wrap(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return wrap


def select(
    session: Session,
    ids: Sequence[str],
    query: str | None,
    *,
    ended: bool,
    verb: str | None = None,
    yes: bool = False,
) -> list[Target]:
    """Find the jobs to act on: those of the ids, or those that match a filter and have (not) `ended`.

    What a filter found is listed, and its number asked for, where a `verb` says what is done to it: unless `yes`.
    """
    if bool(ids) == (query is not None):
        raise click.UsageError("give ids, or --filter")
    if query is None:
        if yes:
            raise click.UsageError("--yes goes with --filter")
        return [session.find_job(beginning) for beginning in dict.fromkeys(ids)]
    found = _found(session, query, ended=ended)
    if not found:
        complain(f"no job that has {'' if ended else 'not '}ended matches {query}")
    elif verb is not None and not yes:
        _confirm(found, verb)
        found = _still_the_same(found)
    return [(store, job) for store, job, _ in found]


def _found(session: Session, query: str, *, ended: bool) -> "list[Found]":
    from gnjobs.watch.filters import parse_filter
    from gnjobs_tui.cli.matching import matching_jobs

    if not parse_filter(query):
        raise FilterError("an empty filter means no job here; state:all means every job")
    with searching() as looked:
        found = matching_jobs(session, query=query, unfinished=not ended, looked=looked)
        return [each for each in found if each[1].is_final == ended]


def _confirm(found: "list[Found]", verb: str) -> None:
    """Have a person type the number of jobs; raises `Declined`, or `UsageError` where nobody can be asked."""
    count = len(found)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"{plural(count, 'job')} would be {verb}: add --yes where nobody can be asked")
    from rich.cells import set_cell_size

    from gnjobs.health.states import display_state

    width = shutil.get_terminal_size().columns  # what wraps would look like one more job
    for _, job, health in found[:_MOST_SHOWN]:
        words = (
            job.id[:8],
            f"{display_state(job, health).word:<8}",
            job.user or "",
            job.host or "",
            job.name,
        )
        click.echo(set_cell_size(safe_line("  ".join(["", *words])), width).rstrip(), err=True)
    if count > _MOST_SHOWN:
        click.echo(f"  and {count - _MOST_SHOWN} more", err=True)
    question = f"Type {count} to have {'it' if count == 1 else f'all {count}'} {verb}"
    said = click.prompt(question, default="", show_default=False, err=True)
    if said.strip() != str(count):
        raise Declined(f"nothing was {verb}")


def _still_the_same(found: "list[Found]") -> "list[Found]":
    """Leave out jobs whose id is another's by now: the answer may have taken long."""
    made: dict[tuple[JobStore, str], float | None] = {}
    for store in {each[0] for each in found}:
        jobs = store.many([job.id for other, job, _ in found if other is store])
        made |= {(store, job.id): job.created for job in jobs if job is not None}
    changed = {(s, job.id) for s, job, _ in found if made.get((s, job.id), job.created) != job.created}
    for _, job_id in changed:
        complain(f"{job_id} is another job by now, and is left out")
    return [each for each in found if (each[0], each[1].id) not in changed]


def try_each(targets: Sequence[Target], act: Callable[["JobStore", "Job"], int]) -> int:
    """Act on each job, whatever becomes of the others; returns the worst exit code."""
    worst = DONE
    for store, job in targets:
        try:
            code = act(store, job)
        except GnjobsError as error:
            complain(str(error))
            code = exit_code(error)
        worst = max(worst, code)
    return worst
