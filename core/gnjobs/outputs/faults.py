"""Faults in data: what a quality check found wrong in which cell, as a person would say it."""

from collections.abc import Iterable, Iterator
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


def read_fault(line: Line) -> Fault | None:
    """Read a line as a fault: our own kind, or an error object of gn-uploader's; None for any other line."""
    if line.kind == "fault":
        found = _decode(line.text)
        return fault_from(found) if isinstance(found, dict) else Fault(message=line.text)
    if line.kind == "out" and line.text.startswith("{"):
        found = _decode(line.text)
        if isinstance(found, dict) and not _FOREIGN_MARKS.isdisjoint(found):
            return fault_from(found)
    return None


def _decode(text: str) -> Any:
    return values.json(text, object)


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
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def sentence(fault: Fault) -> str:
    """Say a fault: `row 1204 "BXD12", column 7 "BXD32": found "12.3", needs exactly 3 decimals`."""
    where = ", ".join(
        part
        for part in (
            _place("row", fault.row, fault.row_title),
            _place("column", fault.column, fault.column_title),
        )
        if part
    )
    what = _complaint(fault)
    return f"{where}: {what}" if where else what


def _place(name: str, number: int | None, title: str | None) -> str:
    words = [name] + ([count_text(number)] if number is not None else []) + ([f'"{title}"'] if title else [])
    return " ".join(words) if len(words) > 1 else ""


def _complaint(fault: Fault) -> str:
    is_empty = fault.value == "" and not fault.message
    found = "empty cell" if is_empty else f'found "{fault.value}"' if fault.value is not None else ""
    expected = (fault.expected or "").removeprefix("needs ")
    needs = f"needs {expected}" if expected else fault.message or ""
    return ", ".join(part for part in (found, needs) if part) or fault.what


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
    found = values.json(line.text, object)
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
