"""Faults in data: what a quality check found wrong in which cell, as a person would say it."""

from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import msgspec

from gnjobs.outputs.lines import Hole, Line
from gnjobs.records import values
from gnjobs.text import count_text

# gn-uploader's error objects have titles but no numbers, and none are invented.
_ALIASES = {
    "filename": "file",
    "rowtitle": "row_title",
    "coltitle": "column_title",
    "cellvalue": "value",
    "message": "message",
}
# No spreadsheet is wider than this: the last column is XFD.
WIDEST_SPREADSHEET = 16_384
_FOREIGN_MARKS = frozenset({"cellvalue", "rowtitle", "coltitle"})


class Fault(msgspec.Struct, frozen=True):
    """One wrong cell; `row` and `column` are counted from 1, the header's row and the titles' column included.

    `expected` completes "needs …"; `message` is said as it is. None: the check did not say.
    """

    file: str | None = None
    row: int | None = None
    row_title: str | None = None
    column: int | None = None
    column_title: str | None = None
    value: str | None = None
    expected: str | None = None
    message: str | None = None
    kind: str | None = None

    @property
    def what(self) -> str:
        """What is wrong, the same for equal faults: a message is taken without the value that it quotes."""
        message = self.message
        if message and self.value:
            message = message.replace(self.value, "…")
        return self.kind or self.expected or message or "fault"


def check_fault(fault: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a fault that an author gives; raises `ValueError` where its row or column counts from 0."""
    for name in ("row", "column"):
        number = fault.get(name)
        if isinstance(number, Real) and number < 1:
            raise ValueError(
                f"{name} {number} in a fault: rows and columns count from 1, as in a spreadsheet, the row of the "
                "header and the column of the titles included"
            )
    return fault


def read_fault(line: Line) -> Fault | None:
    """Read a line as a fault: our own kind, or an error object of gn-uploader's; None for any other line."""
    if line.kind == "fault":
        found = values.any_json(line.text)
        return fault_from(found) if isinstance(found, dict) else Fault(message=line.text)
    if line.kind == "out" and line.text.startswith("{"):
        found = values.any_json(line.text)
        if isinstance(found, dict) and not _FOREIGN_MARKS.isdisjoint(found):
            return fault_from(found)
    return None


def fault_from(found: dict[str, Any]) -> Fault:
    """Make a fault from an object, whatever it holds."""
    named = {_ALIASES.get(name, name): value for name, value in found.items()}
    return Fault(
        file=_text(named.get("file")),
        row=_number(named.get("row")),
        row_title=_text(named.get("row_title")),
        column=_number(named.get("column")),
        column_title=_text(named.get("column_title")),
        value=_text(named.get("value")),
        expected=_text(named.get("expected")),
        message=_text(named.get("message")),
        kind=_text(named.get("kind")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else str(value)


def _number(value: Any) -> int | None:
    """A whole number that any table can show."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > values.LARGEST_COUNT:
        return None
    return value


def sentence(fault: Fault) -> str:
    """Say a fault: `row 1204 "BXD12", column 7 (G) "BXD32": found "12.3", needs exactly 3 decimals`."""
    places = (("row", row_words(fault)), ("column", column_words(fault)))
    where = ", ".join(f"{name} {words}" for name, words in places if words)
    what = _complaint(fault)
    return f"{where}: {what}" if where else what


def row_words(fault: Fault) -> str:
    """Which row it is in: `1204 "BXD12"`."""
    return _place("" if fault.row is None else count_text(fault.row), fault.row_title)


def column_words(fault: Fault) -> str:
    """Which column it is in, by its number and the letter that a spreadsheet gives it: `41 (AO) "BXD9"`."""
    if fault.column is None:
        return _place("", fault.column_title)
    letters = column_letters(fault.column)
    return _place(count_text(fault.column) + (f" ({letters})" if letters else ""), fault.column_title)


def column_letters(number: int | None) -> str:
    """The letters of a spreadsheet's column, counted from 1; empty for a column that no spreadsheet has."""
    letters, rest = "", number if number is not None and 0 < number <= WIDEST_SPREADSHEET else 0
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _place(number: str, title: str | None) -> str:
    return " ".join(filter(None, (number, f'"{title}"' if title else "")))


def found_words(fault: Fault) -> str:
    """What stands in the cell."""
    if fault.value is None:
        return ""
    return "empty cell" if not fault.value and not fault.message else f'"{fault.value}"'


def needs_words(fault: Fault) -> str:
    """What the cell should hold; else the message; else, if nothing else is known, the kind of fault."""
    return _expected(fault) or fault.message or (fault.what if fault.value is None else "")


def _expected(fault: Fault) -> str:
    return (fault.expected or "").removeprefix("needs ")


def _complaint(fault: Fault) -> str:
    found, needs = found_words(fault), needs_words(fault)
    found = f"found {found}" if found.startswith('"') else found
    needs = f"needs {needs}" if _expected(fault) else needs
    return ", ".join(filter(None, (found, needs)))


def all_faults(lines: Iterable[Line | Hole], file: str | None = None) -> Iterator[Fault]:
    """Every fault among lines; those that name no file are about `file`."""
    for line in lines:
        if isinstance(line, Line) and (fault := read_fault(line)) is not None:
            yield fault if fault.file is not None else msgspec.structs.replace(fault, file=file)


def line_sentence(line: Line) -> str:
    """Say a line: a log line with its level and logger, a fault as a sentence, a record as `name=value`."""
    fault = read_fault(line)
    if fault is not None:
        return sentence(fault)
    if line.kind not in ("log", "record", "result"):
        return line.text
    found = values.any_json(line.text)
    if found is None:
        return line.text
    if line.kind == "log":
        return _log(found, line.text)
    said = _pairs(found) if isinstance(found, dict) else str(found)
    return f"result {said}" if line.kind == "result" else said


def _log(found: Any, stored: str) -> str:
    if not isinstance(found, dict) or "message" not in found:
        return stored
    level, logger = found.get("level") or "INFO", found.get("logger")
    return f"{level} {logger}: {found['message']}" if logger else f"{level} {found['message']}"


def _pairs(found: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in found.items())
