"""Prepares stored lines for drawing: made safe, shortened where very long, and given a colour by kind."""

from typing import NamedTuple

from gnjobs.outputs.faults import line_sentence
from gnjobs.outputs.lines import Hole, Line
from gnjobs.text import plural
from gnjobs_tui.style import GLYPHS, safe

LONGEST_SEEN = 10_000
_LEVEL_TOKENS = {"WARNING": "warning", "WARN": "warning", "ERROR": "error", "CRITICAL": "error-bold"}
_KIND_TOKENS = {"fault": "warning", "result": "success"}


class SeenLine(NamedTuple):
    """A line made ready for drawing; `at` in unix seconds.

    `is_partial`: it has not ended yet, so its number is the one that it will get.
    """

    number: int
    at: float | None
    token: str
    text: str
    is_partial: bool = False

    @property
    def first(self) -> int:
        """Its number, as a hole has it."""
        return self.number

    @property
    def last(self) -> int:
        """Its number, as a hole has it."""
        return self.number


Item = SeenLine | Hole


def see(item: Line | Hole) -> Item:
    """Make a stored line ready for drawing; a hole stays one."""
    if isinstance(item, Hole):
        return item
    sentence = line_sentence(item)
    return SeenLine(item.number, item.at, _token(item, sentence), _cut(sentence))


def see_partial(number: int, text: str) -> SeenLine:
    """Make a line that has not ended ready for drawing."""
    return SeenLine(number, None, "dim", _cut(text), is_partial=True)


def _cut(text: str) -> str:
    more = max(0, len(text) - LONGEST_SEEN)
    seen = safe(text[:LONGEST_SEEN], LONGEST_SEEN)
    return f"{seen}{GLYPHS.cut} and {plural(more, 'more character')}" if more else seen


def _token(line: Line, sentence: str) -> str:
    if line.kind == "log":
        return _LEVEL_TOKENS.get(sentence.partition(" ")[0].upper(), "plain")
    return _KIND_TOKENS.get(line.kind, "plain")
