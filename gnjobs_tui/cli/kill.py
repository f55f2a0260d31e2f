"""`gnjobs kill`: prints each step, and exits 0 only when no process is left."""

import math
from typing import TYPE_CHECKING, Any

import click

from gnjobs_tui.cli.session import Session, say, with_session

if TYPE_CHECKING:
    from gnjobs.control.kill import KillStep
    from gnjobs.store import JobStore

DEFAULT_GRACE, LONGEST_GRACE = 10.0, 3600.0


class Grace(click.FloatRange):
    """Seconds within a range, in which NaN is not, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return found


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--child", metavar="C", help="Kill only this child; its siblings continue.")
@click.option("--grace", type=Grace(0.0, LONGEST_GRACE), default=DEFAULT_GRACE, show_default=True,
              metavar="S", help="Seconds between SIGTERM and SIGKILL.")  # fmt: skip
@click.option("--force", is_flag=True, help="Send SIGKILL at once.")
@click.option("--reason", default="", metavar="R", help="Reason, kept with the job.")
@click.option("--no-wait", is_flag=True, help="Request the kill and return immediately.")
@with_session
def kill(
    session: Session,
    ids: tuple[str, ...],
    child: str | None,
    grace: float,
    force: bool,
    reason: str,
    no_wait: bool,
) -> int:
    """Kill jobs with all their processes, and print each step.

    Exits 0 only when every process is verified gone, with --no-wait once the kill is requested.
    """
    if child and len(ids) > 1:
        raise click.UsageError("--child goes with one job")
    targets = [session.find(beginning) for beginning in ids]
    ended = [
        _kill_one(session, store, job_id, child, reason=reason, grace=grace, force=force, wait=not no_wait)
        for store, job_id in targets
    ]
    return 0 if all(ended) else 1


def _kill_one(
    session: Session,
    store: "JobStore",
    job_id: str,
    child: str | None,
    *,
    reason: str,
    grace: float,
    force: bool,
    wait: bool,
) -> bool:
    from gnjobs.control.kill import kill_job

    steps = kill_job(store, job_id, child, actor=session.actor, reason=reason, grace=grace, force=force)
    for step in steps:
        _say_step(job_id, step)
        if step.final:
            return step.verified
        if not wait and step.kind == "asked":
            return True
    return False


def _say_step(job_id: str, step: "KillStep") -> None:
    from datetime import datetime

    say(f"{job_id[:8]}  {datetime.fromtimestamp(step.at):%H:%M:%S}  {step.text}")
