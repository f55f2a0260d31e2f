"""`gnjobs logs`: the output of a job or child; as stored into a pipe, as readable sentences on a terminal."""

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click

from gnjobs.text import few, last_line, plural, safe_line
from gnjobs_tui.cli.completion import complete_child, complete_job
from gnjobs_tui.cli.json_output import print_json
from gnjobs_tui.cli.session import Session, complain, find_child, json_option, on_terminal, with_session

if TYPE_CHECKING:
    from gnjobs.outputs.lines import Hole, Line
    from gnjobs.outputs.reader import OutputReader
    from gnjobs.records.fields import Job
    from gnjobs.store import JobStore

TERMINAL_LINES = 50
_MOST_PLACES = 3
LAST_LINE = 10**12


@click.command()
@click.argument("id_", metavar="ID", shell_complete=complete_job)
@click.option("--child", metavar="C", shell_complete=complete_child,
              help="Show the output of this child instead: its id or its label.")  # fmt: skip
@click.option(
    "-f", "--follow", is_flag=True, help="Show new lines as they arrive, until the job or child ends."
)
@click.option("-n", "--lines", "count", type=click.IntRange(0, LAST_LINE), metavar="N",
              help=f"The last N lines.  [default: all; on a terminal {TERMINAL_LINES}]")  # fmt: skip
@click.option(
    "--from", "first", type=click.IntRange(1, LAST_LINE), metavar="LINE", help="Start at this line number."
)
@json_option
@click.option("--text", "as_text", is_flag=True, help="Sentences, as on a terminal, also into a pipe.")
@with_session
def logs(
    session: Session,
    id_: str,
    child: str | None,
    follow: bool,
    count: int | None,
    first: int | None,
    as_json: bool,
    as_text: bool,
) -> int:
    """Show the output of a job, or of one of its children.

    On a terminal, log lines, faults and records are sentences. Into a pipe, each line comes as it was stored.
    """
    if as_json and as_text:
        raise click.UsageError("--json and --text exclude each other")
    if count is not None and first is not None:
        raise click.UsageError("-n and --from exclude each other")
    store, job = session.find_job(id_)
    child_id = find_child(store, job.id, child) if child else None
    reader = store.output(job.id, child_id, whole=not on_terminal())
    if count is None and first is None and on_terminal() and not as_json:
        count = TERMINAL_LINES
    start = first or 1 if count is None else max(1, reader.extent().last - count + 1)
    show = _json_line if as_json else _drawn if on_terminal() else _sentence if as_text else _stored
    last = _print_lines(reader.iterate(first=start), show, last=start - 1)
    if last == 0 and child is None and not follow:
        _say_where(store, job.id)
    if follow:
        _print_lines(_followed(store, job, reader, last), show, last)
    return 0


def follow_to_end(store: "JobStore", job: "Job") -> None:
    """Print what a job prints until it has ended; say once on standard error why it waits."""
    from gnjobs.health.assess import queue_words

    job = store.again(job)
    if job.is_in_slurm:
        complain(queue_words(job, store.now()))
    _print_lines(_followed(store, job, store.output(job.id), 0), _drawn if on_terminal() else _stored, 0)


def _say_where(store: "JobStore", job_id: str) -> None:
    """Say where there is something of a job whose own output is empty."""
    from gnjobs.outputs.reader import line_counts

    children = store.all_children(job_id)
    counts = zip(children, line_counts(store, job_id, children), strict=True)
    places = [
        f"--child {shlex.quote(child.id)} ({plural(count, 'line')})" for child, count in counts if count
    ]
    job = store.get(job_id)
    error = f"; its error: {last_line(job.error)}" if job.error else ""
    where = f"; try {few(places, _MOST_PLACES)}" if places else ""
    complain(f"the job's own output is empty{where}{error}")


def _followed(store: "JobStore", job: "Job", reader: "OutputReader", after: int) -> "Iterator[Line | Hole]":
    while True:
        ended = store.again(job).is_final
        sys.stdout.flush()  # a pipe's reader sees what came, not only whole blocks of it
        lines = reader.follow(after, block_seconds=1.0)
        yield from lines
        if lines:
            after = lines[-1].last
        elif ended:
            return


def _print_lines(lines: "Iterable[Line | Hole]", show: "Callable[[Line], None]", last: int) -> int:
    from gnjobs.outputs.lines import Hole

    for line in lines:
        last = line.last
        if isinstance(line, Hole):
            complain(line.words)
        else:
            show(line)
    return last


def _json_line(line: "Line") -> None:
    print_json({"number": line.number, "at": line.at, "kind": line.kind, "text": line.text})


def _drawn(line: "Line") -> None:
    from gnjobs_tui.cli.drawing import draw_line

    draw_line(line)


def _sentence(line: "Line") -> None:
    # Safe also in a pipe: what JSON escaped would come to life as a sentence.
    from gnjobs.outputs.faults import line_sentence

    print(safe_line(line_sentence(line)))


def _stored(line: "Line") -> None:
    print(line.text)
