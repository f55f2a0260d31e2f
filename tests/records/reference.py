"""Writes the tables of fields into the library's README: `python -m tests.records.reference`."""

from collections.abc import Mapping
from pathlib import Path

from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS, Field

README = Path(__file__).parents[2] / "core" / "README.md"
BEGIN = "<!-- The tables below are made by `python -m tests.records.reference`. -->\n"
END = "<!-- End of the tables. -->\n"


def table(fields: Mapping[str, Field]) -> str:
    """One Markdown row for each field."""
    rows = ["| field | type | unit | who writes it, when | what it is |", "| --- | --- | --- | --- | --- |"]
    for name, field in fields.items():
        also = f" (also read: `{field.stored.alias}`)" if field.stored.alias else ""
        cells = (f"`{name}`", field.kind.type, field.unit, field.stored.by, field.stored.about + also)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def reference() -> str:
    """Both tables with their headings."""
    return f"### A job's record\n\n{table(JOB_FIELDS)}\n### A child's hash\n\n{table(CHILD_FIELDS)}"


def with_reference(text: str) -> str:
    """The README with the tables as they are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_reference(README.read_text()))
