"""`gnjobs logs`: the output of a job or child; as stored into a pipe, as readable sentences on a terminal."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from gnjobs_tui.cli.json_output import print_json
from gnjobs_tui.cli.session import Session, complain, on_terminal, with_session

if TYPE_CHECKING:
    from gnjobs.outputs.lines import Hole, Line
    from gnjobs.outputs.reader import OutputReader
    from gnjobs.store import JobStore

TERMINAL_LINES = 50
LAST_LINE = 10**12


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--child", metavar="C", help="Show the output of this child instead.")
@click.option(
    "-f", "--follow", is_flag=True, help="Show new lines as they arrive, until the job or child ends."
)
@click.option("-n", "--lines", "count", type=click.IntRange(0, LAST_LINE), metavar="N",
              help=f"The last N lines.  [default: all; on a terminal {TERMINAL_LINES}]")  # fmt: skip
@click.option(
    "--from", "first", type=click.IntRange(1, LAST_LINE), metavar="LINE", help="Start at this line number."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_session
def logs(
    session: Session,
    id_: str,
    child: str | None,
    follow: bool,
    count: int | None,
    first: int | None,
    as_json: bool,
) -> int:
    """The output of a job, or of one of its children."""
    if count is not None and first is not None:
        raise click.UsageError("-n and --from exclude each other")
    store, job_id = session.find(id_)
    reader = store.output(job_id, child)
    if count is None and first is None and on_terminal() and not as_json:
        count = TERMINAL_LINES
    start = first or 1 if count is None else max(1, reader.extent().last - count + 1)
    last = _print_lines(reader.iterate(first=start), as_json, last=start - 1)
    if follow:
        _print_lines(_followed(store, job_id, reader, last), as_json, last)
    return 0


def _followed(store: "JobStore", job_id: str, reader: "OutputReader", after: int) -> "Iterator[Line | Hole]":
    while True:
        ended = store.get(job_id).is_final
        sys.stdout.flush()  # a pipe's reader sees what came, not only whole blocks of it
        lines = reader.follow(after, block_seconds=1.0)
        yield from lines
        if lines:
            after = max(_last_number(line) for line in lines)
        elif ended:
            return


def _last_number(line: "Line | Hole") -> int:
    from gnjobs.outputs.lines import Hole

    return line.last if isinstance(line, Hole) else line.number


def _print_lines(lines: "Iterable[Line | Hole]", as_json: bool, last: int) -> int:
    from gnjobs.outputs.lines import Hole

    drawn = on_terminal() and not as_json
    for line in lines:
        last = _last_number(line)
        if isinstance(line, Hole):
            complain(f"lines {line.first} to {line.last} are missing")
        elif as_json:
            print_json({"number": line.number, "at": line.at, "kind": line.kind, "text": line.text})
        elif drawn:
            from gnjobs_tui.cli.drawing import draw_line

            draw_line(line)
        else:
            print(line.text)
    return last
