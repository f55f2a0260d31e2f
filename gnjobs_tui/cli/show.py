"""`gnjobs show`: one job with its record, health, children and report, or all faults in its data."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from gnjobs_tui.cli.completion import complete_job
from gnjobs_tui.cli.json_output import print_json, status_object
from gnjobs_tui.cli.session import Session, json_option, say, with_session

if TYPE_CHECKING:
    from gnjobs.health.verdict import Limits
    from gnjobs.outputs.faults import Fault
    from gnjobs.processing.view import JobStatus
    from gnjobs.store import JobStore


@click.command()
@click.argument("id_", metavar="ID", shell_complete=complete_job)
@click.option("--faults", is_flag=True, help="Show all faults in the job's data instead.")
@json_option
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="With --faults: print a table that is safe to open in a spreadsheet.",
)
@with_session
def show(session: Session, id_: str, faults: bool, as_json: bool, as_csv: bool) -> int:
    """Show one job: record, health with evidence, children and report, or all faults in its data."""
    session.only_look()
    if as_csv and (as_json or not faults):
        raise click.UsageError("--csv goes with --faults and without --json")
    store, job_id = session.find(id_)
    if faults:
        _print_faults(_faults(store, job_id), as_json=as_json, as_csv=as_csv)
        return 0
    from gnjobs.outputs.reader import line_counts

    view = store.view(job_id, limits=session.config.limits, isolated=True)
    status = view.status()
    view.close()
    counts = line_counts(store, job_id, status.children)
    if as_json:
        print_json(status_object(status, counts))
        return 0
    from gnjobs_tui.cli.drawing import draw_status

    verdicts = _verdicts(store, status, session.config.limits)
    draw_status(status, verdicts, counts, store.now())
    return 0


def _verdicts(store: "JobStore", status: "JobStatus", limits: "Limits") -> list[str]:
    """The verdict on each child."""
    from gnjobs.health.silence import ChildJudge

    judge = ChildJudge(status.job, store.processes(status.job.id), limits).judge
    return [judge(child).verdict for child in status.children]


def _faults(store: "JobStore", job_id: str) -> "Iterator[Fault]":
    from gnjobs.outputs.faults import all_faults

    for part, lines in store.all_lines(job_id):
        yield from all_faults(lines, part)


def _print_faults(faults: "Iterator[Fault]", *, as_json: bool, as_csv: bool) -> None:
    if as_csv:
        from gnjobs_tui.outputs.spreadsheet import write_faults

        write_faults(sys.stdout, faults)
    elif as_json:
        for fault in faults:
            print_json(msgspec.to_builtins(fault))
    else:
        from gnjobs.outputs.faults import sentence

        for fault in faults:
            say(f"{fault.file or '?'}  {sentence(fault)}")
