"""Quality control of tab-separated files, one process a file: `python -m gnjobs_tui.demo.jobs.qc FILE…`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnjobs import ChildResult, ThisChild, current_job
from gnjobs_tui.demo.files import STRAINS, FileKind, kind_of

_NUMBER = re.compile(r"-?[0-9]+(?:\.([0-9]+))?")
_KNOWN = frozenset(STRAINS)
_ROWS_BETWEEN_REPORTS = 2000


def cell_fault(cell: str, kind: FileKind) -> str | None:
    """Say what a cell needs that it does not have, or None for a good one."""
    if not cell:
        return "a value"
    number = _NUMBER.fullmatch(cell)
    if number is None:
        return "a digit left of the point" if cell.startswith(".") else "a number"
    decimals = len(number.group(1) or "")
    if kind.is_exact and decimals != kind.decimals:
        return f"exactly {kind.decimals} decimals"
    if not kind.is_exact and decimals < kind.decimals:
        return f"{kind.decimals} decimals or more"
    return None


def header_faults(header: list[str]) -> Iterator[dict[str, Any]]:
    """Find strains that nobody knows; rows and columns count from 1, as a spreadsheet's do."""
    for column, strain in enumerate(header[1:], start=2):
        if strain not in _KNOWN:
            yield {
                "row": 1,
                "column": column,
                "value": strain,
                "expected": "a known strain",
                "kind": "unknown strain",
            }


def row_faults(number: int, cells: list[str], header: list[str], kind: FileKind) -> Iterator[dict[str, Any]]:
    """Find the cells of a row that are not as they should be."""
    if len(cells) != len(header):
        place = {"row": number, "row_title": cells[0], "value": f"{len(cells)} columns"}
        yield {**place, "expected": f"{len(header)} columns", "kind": "number of columns"}
        return
    for column, cell in enumerate(cells[1:], start=2):
        expected = cell_fault(cell, kind)
        if expected is not None:
            place = {
                "row": number,
                "row_title": cells[0],
                "column": column,
                "column_title": header[column - 1],
            }
            yield {**place, "value": cell, "expected": expected, "kind": expected}


def check_file(path: str, child: ThisChild) -> int:
    """Check one file; returns how many faults it has."""
    kind, name = kind_of(Path(path)), Path(path).name
    faults = 0
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        total = sum(1 for _ in file)
        file.seek(0)
        header: list[str] = []
        for number, line in enumerate(file, start=1):
            cells = line.rstrip("\n").split("\t")
            header = header or cells
            found = header_faults(header) if number == 1 else row_faults(number, cells, header, kind)
            for fault in found:
                child.fault({"file": name, **fault})
                faults += 1
            if number % _ROWS_BETWEEN_REPORTS == 0:
                child.progress(number, total, unit="rows")
        child.progress(total, total, unit="rows")
    child.log(f"checked {total} rows of {kind.name} values, found {faults} faults", logger="gn.qc")
    return faults


def main(paths: list[str]) -> None:
    """Check files in processes of their own."""
    with current_job() as job:
        job.message(f"checking {len(paths)} files")
        outcomes = job.run_children(check_file, paths)
        done = sum(isinstance(outcome, ChildResult) for outcome in outcomes)
        job.message(f"{done} of {len(paths)} files checked")
        if done < len(paths):
            raise SystemExit(f"{len(paths) - done} of {len(paths)} files could not be checked")


if __name__ == "__main__":
    main(sys.argv[1:])
