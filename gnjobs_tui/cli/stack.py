"""`gnjobs stack`: shows where in their code a job's processes are."""

import click

from gnjobs_tui.cli.session import Session, say, with_session


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--child", metavar="C", help="The processes of this child alone.")
@with_session
def stack(session: Session, id_: str, child: str | None) -> int:
    """Where each process of a job is in its code: its Python stack, else what the kernel tells.

    Nothing is stopped for it. Python stacks need py-spy where they are taken: pip install 'gnjobs[stack]'.
    """
    from gnjobs.control.stack import job_stacks

    store, job_id = session.find(id_)
    for line in job_stacks(store, job_id, child, actor=session.actor).splitlines():
        say(line)
    return 0
