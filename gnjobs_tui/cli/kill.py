"""`gnjobs kill`: prints each step, or of many jobs one line each, and exits 0 only when no process is left."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gnjobs.errors import GnjobsError
from gnjobs.records.requests import DEFAULT_GRACE, LONGEST_GRACE
from gnjobs_tui.cli.completion import complete_child
from gnjobs_tui.cli.exits import DONE, FAILED, exit_code
from gnjobs_tui.cli.selection import Target, select, selecting, try_each
from gnjobs_tui.cli.session import Session, find_child, say_done, with_session

if TYPE_CHECKING:
    from gnjobs.records.actor import Actor
    from gnjobs.records.fields import Job
    from gnjobs.records.requests import KillStep
    from gnjobs.store import JobStore

_AT_ONCE = 16


class Grace(click.FloatRange):
    """Seconds within a range, in which NaN is not, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return found


class HowToKill(NamedTuple):
    """How to kill each of the jobs."""

    actor: "Actor"
    child: str | None
    reason: str
    grace: float = DEFAULT_GRACE
    force: bool = False
    is_awaited: bool = True

    def steps(self, store: "JobStore", job: "Job") -> "Iterator[KillStep]":
        """Kill this one, and no other that has its id by then; the steps up to the last that is waited for."""
        from gnjobs.control.kill import kill_job

        steps = kill_job(
            store, job.id, self.child, actor=self.actor, created=job.created,
            reason=self.reason, grace=self.grace, force=self.force,
        )  # fmt: skip
        for step in steps:
            yield step
            if not self.is_awaited and step.kind == "asked":
                return

    def code(self, last: "KillStep") -> int:
        """The exit code after this last step."""
        is_done = last.verified if last.final else not self.is_awaited
        return DONE if is_done else FAILED


@click.command()
@selecting(asks=True)
@click.option("--child", metavar="C", shell_complete=complete_child,
              help="Kill only this child; its siblings continue.")  # fmt: skip
@click.option("--grace", type=Grace(0.0, LONGEST_GRACE), default=DEFAULT_GRACE, show_default=True,
              metavar="S", help="Seconds between SIGTERM and SIGKILL.")  # fmt: skip
@click.option("--force", is_flag=True, help="Send SIGKILL at once.")
@click.option("--reason", default="", metavar="R", help="Reason, kept with the job.")
@click.option("--no-wait", is_flag=True, help="Request the kill and return immediately.")
@with_session
def kill(
    session: Session,
    ids: tuple[str, ...],
    query: str | None,
    yes: bool,
    child: str | None,
    grace: float,
    force: bool,
    reason: str,
    no_wait: bool,
) -> int:
    """Kill jobs with all their processes, and print each step; with --filter one line a job.

    Exits 0 only when every process is verified gone, with --no-wait once the kill is requested. With --filter, it
    lists the jobs on a terminal and asks for their number.
    """
    if child and (query is not None or len(ids) > 1):
        raise click.UsageError("--child goes with one job")
    if query is not None:
        session.actor.check("kill")
    targets = select(session, ids, query, ended=False, verb="killed", yes=yes)
    if child:
        store, job = targets[0]
        child = find_child(store, job.id, child)
    how = HowToKill(session.actor, child, reason, grace, force, not no_wait)
    if query is not None:
        return _kill_many(targets, how)
    return try_each(targets, lambda store, job: kill_one(store, job, how))


def kill_one(store: "JobStore", job: "Job", how: HowToKill) -> int:
    """Kill one job or child, and print each step; returns an exit code."""
    code = FAILED
    for step in how.steps(store, job):
        say_done(f"{job.id[:8]}  {datetime.fromtimestamp(step.at):%H:%M:%S}  {step.text}")
        code = how.code(step)
    return code


def _kill_many(targets: Sequence[Target], how: HowToKill) -> int:
    """Kill many side by side; prints what became of each, and returns the worst exit code."""

    def kill_it(target: Target) -> tuple[str, str, int]:
        store, job = target
        try:
            *_, last = how.steps(store, job)
        except GnjobsError as error:
            return job.id, str(error), exit_code(error)
        return job.id, last.text, how.code(last)

    worst = DONE
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for job_id, text, code in pool.map(kill_it, targets):
                say_done(f"{job_id}  {text}")
                worst = max(worst, code)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return worst
