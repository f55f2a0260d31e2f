"""Writes the tables of fields into the library's README: `python -m tests.records.reference`."""

from collections.abc import Mapping
from pathlib import Path

from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS, Field
from tests.support.generated import Generated, rows

README = Path(__file__).parents[2] / "core" / "README.md"
TABLES = Generated(
    "<!-- The tables below are made by `python -m tests.records.reference`. -->\n",
    "<!-- End of the tables. -->\n",
)


def table(fields: Mapping[str, Field]) -> str:
    """One Markdown row for each field."""
    cells = []
    for name, field in fields.items():
        also = f" (also read: `{field.stored.alias}`)" if field.stored.alias else ""
        cells.append((f"`{name}`", field.kind.type, field.unit, field.stored.by, field.stored.about + also))
    return rows(("field", "type", "unit", "who writes it, when", "what it is"), cells)


def with_reference(text: str) -> str:
    """The README with the tables as they are now."""
    tables = f"### A job's record\n\n{table(JOB_FIELDS)}\n### A child's hash\n\n{table(CHILD_FIELDS)}"
    return TABLES.put(text, tables)


if __name__ == "__main__":
    README.write_text(with_reference(README.read_text()))
