"""Writes faults as a CSV table that is safe to open in a spreadsheet, for the command line and the dashboard."""

import csv
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from gnjobs.text import safe_line

if TYPE_CHECKING:
    from gnjobs.outputs.faults import Fault

# Full-width signs begin a formula in some spreadsheets, and so does a sign after blanks that an import trims.
_FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_FORMULA_BLANKS = ("\t", "\r", "\n")
_INNER_FORMULA = re.compile(rf"([;\t\r\n]\s*)(?=[{re.escape(''.join(_FORMULA_SIGNS))}])")
_COLUMNS = ("file", "row", "row_title", "column", "column_title", "value", "expected")


def write_faults(file: TextIO, faults: "Iterable[Fault]") -> None:
    """Write a heading and a line for each fault; on a terminal nothing in them acts."""
    shown = safe_line if file.isatty() else str
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([spreadsheet_cell(shown(cell)) for cell in _row(fault)] for fault in faults)


def spreadsheet_cell(value: str) -> str:
    """Make a cell that a spreadsheet shows and does not run: a leading `=`, `+`, `-`, `@` is quoted.

    So is one behind `;` and a tab, which separate cells in many countries. Plain numbers stay numbers.
    """
    text = _INNER_FORMULA.sub(r"\1'", value)
    if not text.startswith(_FORMULA_BLANKS) and not text.lstrip().startswith(_FORMULA_SIGNS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _row(fault: "Fault") -> list[str]:
    """What is expected is in a fault of gn-uploader's part of its message."""
    row = {name: getattr(fault, name) for name in _COLUMNS}
    cells = (row | {"expected": fault.expected or fault.message}).values()
    return ["" if cell is None else str(cell) for cell in cells]
