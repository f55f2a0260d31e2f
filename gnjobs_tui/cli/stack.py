"""`gnjobs stack`: shows where in their code a job's processes are."""

import click

from gnjobs_tui.cli.completion import complete_child, complete_job
from gnjobs_tui.cli.session import Session, find_child, say, with_session


@click.command()
@click.argument("id_", metavar="ID", shell_complete=complete_job)
@click.option("--child", metavar="C", shell_complete=complete_child, help="Only the processes of this child.")
@click.option("--files", is_flag=True, help="Show which files they have open, and how far they are, instead.")
@with_session
def stack(session: Session, id_: str, child: str | None, files: bool) -> int:
    """Show where in its code each process of a job is: its Python stack, or else what the kernel reports.

    It stops no process. Python stacks need py-spy on the job's host: pip install 'gnjobs[stack]'.
    """
    from gnjobs.control.looks import job_stacks

    store, job_id = session.find(id_)
    child = find_child(store, job_id, child) if child else None
    kind = "files" if files else "stack"
    for line in job_stacks(store, job_id, child, actor=session.actor, kind=kind).splitlines():
        say(line)
    return 0
