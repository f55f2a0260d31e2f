"""One line of an output as a sentence for a person; what can't be understood is given as it was stored."""

from typing import Any

from gnjobs.outputs.faults import read_fault, sentence
from gnjobs.outputs.lines import Line
from gnjobs.records import values


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
