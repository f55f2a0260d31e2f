"""Commands that start, wait for, remove and repeat jobs: `gnjobs run`, `wait`, `rm`, `rerun`."""

import os
import time
from typing import TYPE_CHECKING

import click

from gnjobs.records.statuses import SUCCESS
from gnjobs.text import parse_duration
from gnjobs_tui.cli.session import Session, say, with_session

if TYPE_CHECKING:
    from gnjobs.store import JobStore

_LOOK_AGAIN_AFTER = 0.5


class Duration(click.ParamType[float]):
    """A length of time such as `90s`, `15m`, `2h`, `7d`; the value is seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it, or fail with one line."""
        try:
            return value if isinstance(value, float) else parse_duration(value)
        except ValueError:
            self.fail(f"{value!r:.80} is not a length of time such as 90s, 15m, 2h or 7d", param, ctx)


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": True})
@click.option(
    "--type",
    "job_type",
    default="generic",
    metavar="T",
    help="Job type; it selects how the output is processed.",
)
@click.option("--user", metavar="U", help="Owner of the job.")
@click.option("--label", metavar="L", help="Name of the job for people.")
@click.option("--id", "job_id", metavar="ID", help="Id of the job, by default a new UUID.")
@click.option(
    "--keep", type=Duration(), metavar="D", help="How long to keep it after its end.  [default: 7d]"
)
@click.option(
    "--stuck-after",
    type=Duration(),
    metavar="D",
    help="How long it may be silent and idle before it counts as stuck.  [default: 15m]",
)
@click.option("--detach", is_flag=True, help="Return at once instead of waiting for its end.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@with_session
def run(
    session: Session,
    job_type: str,
    user: str | None,
    label: str | None,
    job_id: str | None,
    keep: float | None,
    stuck_after: float | None,
    detach: bool,
    command: tuple[str, ...],
) -> int:
    """Create a job of COMMAND (after --) and run it; its id is printed first.

    Waits for the end and exits as the command did, unless --detach is given.
    """
    from gnjobs.supervisor.launch import launch, run_and_wait

    session.actor.check("run")
    job = session.store.create(
        list(command),
        job_type=job_type,
        user_id=session.actor.owner(user),
        label=label,
        job_id=job_id,
        keep=keep,
        stuck_after=stuck_after,
        cwd=_working_directory(),
    )
    click.echo(job.id)
    if detach:
        launch(job, store=session.store)
        return 0
    return run_and_wait(job, session.store)


def _working_directory() -> str | None:
    """Where we are, unless that was removed; `rerun` names it."""
    try:
        return os.getcwd()
    except OSError:
        return None


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@with_session
def wait(session: Session, ids: tuple[str, ...]) -> int:
    """Wait until the jobs have ended; exits 0 only when all of them succeeded."""
    waiting = [session.find(beginning) for beginning in ids]
    statuses = [_final_status(store, job_id) for store, job_id in waiting]
    return 0 if all(status == SUCCESS for status in statuses) else 1


def _final_status(store: "JobStore", job_id: str) -> str:
    while not (job := store.get(job_id)).is_final:
        time.sleep(_LOOK_AGAIN_AFTER)
    say(f"{job_id}  {job.status}" + (f"  {job.error}" if job.error else ""))
    return job.status or ""


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@with_session
def rm(session: Session, ids: tuple[str, ...]) -> int:
    """Remove jobs that have ended, with all their outputs."""
    for store, job_id in [session.find(beginning) for beginning in ids]:
        store.remove(job_id, session.actor)
        say(f"{job_id}  removed")
    return 0


@click.command()
@click.argument("id_", metavar="ID")
@with_session
def rerun(session: Session, id_: str) -> int:
    """Print the command that runs the job again. It runs nothing itself."""
    store, job_id = session.find(id_)
    say(store.rerun_line(job_id))
    return 0
