"""Printing for the one who reads: made safe on a terminal, as it was stored into a pipe."""

import sys

from gnjobs.text import safe_line
from gnjobs_tui.cli.session import on_terminal


def say(line: str) -> None:
    """Print one line; on a terminal nothing in it can act."""
    print(safe_line(line) if on_terminal() else line)


def complain(line: str) -> None:
    """Print one line, made safe, to stderr."""
    print(f"gnjobs: {safe_line(line)}", file=sys.stderr)


def print_fields(*fields: object) -> None:
    """Print one tab-separated line for programs; tabs, newlines and backslashes inside are escaped."""
    cells = ("" if field is None else str(field) for field in fields)
    print("\t".join(c.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n") for c in cells))
