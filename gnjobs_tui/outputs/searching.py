"""Searches a whole output for a text, portion by portion, so that it can be stopped and its progress shown."""

from collections.abc import Iterator
from typing import NamedTuple

from gnjobs.line_text import line_sentence
from gnjobs.lines import Line
from gnjobs.output_reader import OutputReader
from gnjobs_tui.outputs.portions import all_after, all_before

_STRUCTURED = frozenset({"log", "fault", "record", "result"})


class Query:
    """What is looked for; capitals count only where the query has some."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._ignores_case = text == text.lower()

    def folded(self, text: str) -> str:
        """A text as it is compared."""
        return text.lower() if self._ignores_case else text

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the query stands in a text, as pairs of begin and end."""
        found, folded = [], self.folded(text)
        start = folded.find(self.text) if self.text and len(folded) == len(text) else -1
        while start >= 0:
            found.append((start, start + len(self.text)))
            start = folded.find(self.text, start + len(self.text))
        return found

    def is_in(self, line: Line) -> bool:
        """Whether the query stands in a line, as it is stored or as it is shown."""
        if self.text in self.folded(line.text):
            return True
        if line.kind in _STRUCTURED or line.text.startswith("{"):
            return self.text in self.folded(line_sentence(line))
        return False


class Progress(NamedTuple):
    """How far a search is: the line that it has come to, and whether it went on at the other end."""

    number: int
    is_around: bool
    is_found: bool = False


def search(reader: OutputReader, query: Query, start: int, *, forward: bool, last: int) -> Iterator[Progress]:
    """Search from the line beside `start` to one end, then from the other end back to `start`.

    Yields how far it is after each portion; the last one says whether something was found.
    """
    spans = [(start + 1, last), (1, start)] if forward else [(1, start - 1), (start, last)]
    portions, step = (all_after, 1) if forward else (all_before, -1)
    for is_around, (low, high) in enumerate(spans):
        for stored in portions(reader, low, high):
            lines = [item for item in stored if isinstance(item, Line)][::step]
            for line in lines:
                if query.is_in(line):
                    yield Progress(line.number, bool(is_around), is_found=True)
                    return
            if lines:
                yield Progress(lines[-1].number, bool(is_around))
