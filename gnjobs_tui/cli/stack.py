"""`gnjobs stack`: shows where in their code a job's processes are."""

import click

from gnjobs_tui.cli.session import Session, say, with_session


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--child", metavar="C", help="Only the processes of this child.")
@with_session
def stack(session: Session, id_: str, child: str | None) -> int:
    """Show where in its code each process of a job is: its Python stack, or else what the kernel reports.

    It stops no process. Python stacks need py-spy on the job's host: pip install 'gnjobs[stack]'.
    """
    from gnjobs.control.stack import job_stacks

    store, job_id = session.find(id_)
    for line in job_stacks(store, job_id, child, actor=session.actor).splitlines():
        say(line)
    return 0
