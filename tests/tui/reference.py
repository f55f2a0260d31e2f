"""Writes what programs are given into the README of the command line: `python -m tests.tui.reference`."""

from collections.abc import Mapping
from pathlib import Path

from gnjobs_tui.cli.json_output import CHILD_COLUMNS, JOB_COLUMNS, SHOWN_COLUMNS, Column
from gnjobs_tui.cli.metrics import METRICS
from tests.support.generated import Generated, rows

README = Path(__file__).parents[2] / "gnjobs_tui" / "README.md"
TABLES = Generated("<!-- Made by `python -m tests.tui.reference`. -->\n", "<!-- End of what is made. -->\n")


def table(columns: Mapping[str, Column]) -> str:
    """One Markdown row for each name in an object."""
    cells = [(f"`{name}`", each.type, each.unit, each.about) for name, each in columns.items()]
    return rows(("name", "type", "unit", "what it is"), cells)


def metrics() -> str:
    """One Markdown row for each metric."""
    named = METRICS.items()
    return rows(
        ("metric", "labels", "what it is"),
        [(f"`{name}`", ", ".join(labels), about) for name, (labels, about) in named],
    )


def with_reference(text: str) -> str:
    """The README with everything as it is now."""
    parts = (
        f"`ls --json` prints these names of each job, and `ls --tsv` has them as columns:\n\n{table(JOB_COLUMNS)}",
        f"`show --json` prints the same, with\n\n{table(SHOWN_COLUMNS)}",
        f"of which each child has\n\n{table(CHILD_COLUMNS)}",
        f"`metrics` prints\n\n{metrics()}",
    )
    return TABLES.put(text, "\n".join(parts))


if __name__ == "__main__":
    README.write_text(with_reference(README.read_text()))
