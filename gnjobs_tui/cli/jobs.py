"""Commands that start, remove and repeat jobs: `gnjobs run`, `rm`, `rerun`."""

import os
from functools import partial
from typing import TYPE_CHECKING

import click

from gnjobs.errors import NoSuchJob
from gnjobs.records.statuses import SUCCESS
from gnjobs.text import mask_secrets
from gnjobs_tui.cli.completion import complete_job, complete_user
from gnjobs_tui.cli.exits import DONE, FAILED
from gnjobs_tui.cli.selection import select, selecting, try_each
from gnjobs_tui.cli.session import Duration, Session, complain, on_terminal, say, with_session

if TYPE_CHECKING:
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore
    from gnjobs.supervisor.launch import Via

_VIAS = ("detach", "systemd", "agent", "slurm")

_READ_WITHIN = 10.0


@click.command()
@click.option(
    "--type",
    "job_type",
    default="generic",
    metavar="T",
    help="Job type; it selects how the output is processed.",
)
@click.option("--user", metavar="U", shell_complete=complete_user, help="Owner of the job.")
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
@click.option(
    "--via",
    type=click.Choice(_VIAS),
    default="detach",
    show_default=True,
    help="Who starts it: this host, systemd, the agent of a host, or a Slurm cluster.",
)
@click.option("--host", metavar="H", help="Have the agent of this host start it.")
@click.option(
    "--sbatch",
    "options",
    multiple=True,
    metavar="OPTION",
    help="With --via slurm: such as --sbatch=--mem=16G.",
)
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
    via: "Via",
    host: str | None,
    options: tuple[str, ...],
    command: tuple[str, ...],
) -> int:
    """Create a job of COMMAND (after --) and run it; its id is printed first.

    Waits for the end and exits as the command did, unless --detach is given. Where the job ends as an error though
    its command exits with 0, as when a child of it fails, it says why and exits 1. Ctrl-C kills the job.
    """
    from gnjobs.supervisor.launch import launch, run_and_wait

    if host is not None and via not in ("detach", "agent"):
        raise click.UsageError("--host goes with --via agent")
    if options and via != "slurm":
        raise click.UsageError("--sbatch goes with --via slurm")
    via = "agent" if host is not None else via
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
    if via == "detach" and not detach:
        code = run_and_wait(job, session.store)
        return code or _after_success(session.store, job)
    launch(job, via, session.store, options=options, host=host)
    return DONE if detach else _wait_elsewhere(session, job)


def _wait_elsewhere(session: Session, job: "Job") -> int:
    """Print what a job prints that runs somewhere else, until it ends; returns its exit code as a shell says it."""
    from gnjobs_tui.cli.kill import HowToKill, kill_one
    from gnjobs_tui.cli.logs import follow_to_end

    try:
        follow_to_end(session.store, job)
    except KeyboardInterrupt:
        kill_one(session.store, job, HowToKill(session.actor, None, "ctrl-c"))
    ended = session.store.again(job)
    code = 128 + ended.signal if ended.signal is not None else ended.exit_code or DONE
    return code or _after_success(session.store, job)


def _after_success(store: "JobStore", job: "Job") -> int:
    """The exit code for a command that exited with 0: its job may have ended otherwise."""
    from gnjobs.records.connection import patiently

    try:
        job = patiently(partial(store.again, job), _READ_WITHIN)
    except NoSuchJob:
        return DONE  # removed: what the command said is all that is known
    if job.status == SUCCESS:
        return DONE
    by = f" by {job.stop_by}" if job.stop_by else ""
    complain(f"the job ended as {job.status}{by}" + (f": {job.error}" if job.error else ""))
    return FAILED


def _working_directory() -> str | None:
    """Where we are, unless that was removed; `rerun` names it."""
    try:
        return os.getcwd()
    except OSError:
        return None


@click.command()
@selecting(asks=True)
@with_session
def rm(session: Session, ids: tuple[str, ...], query: str | None, yes: bool) -> int:
    """Remove jobs that have ended, with all their outputs.

    With --filter, it lists the jobs on a terminal and asks for their number.
    """

    def remove(store: "JobStore", job: "Job") -> int:
        store.remove(job.id, session.actor, created=job.created)
        say(f"{job.id}  removed")
        return DONE

    if query is not None:
        session.actor.check("remove")
    return try_each(select(session, ids, query, ended=True, verb="removed", yes=yes), remove)


@click.command()
@click.argument("id_", metavar="ID", shell_complete=complete_job)
@with_session
def rerun(session: Session, id_: str) -> int:
    """Print the command that runs the job again. It runs nothing itself."""
    store, job_id = session.find(id_)
    line = store.rerun_line(job_id)
    if on_terminal():
        say(line)
        if mask_secrets(line) != line:
            complain("read what *** stands for before you run it: behind a pipe the command is whole")
    else:
        # Whole, since it is to be run, and the very bytes of the record, whatever the encoding here.
        click.echo(line.encode("utf-8", "surrogateescape"))
    return 0
