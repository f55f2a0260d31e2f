"""Searches a whole output in portions, so that a search can be stopped and its progress shown."""

from collections.abc import Iterator
from typing import NamedTuple

from gnjobs.outputs.faults import line_sentence
from gnjobs.outputs.lines import Entry, Line
from gnjobs.outputs.reader import OutputReader
from gnjobs.watch.patterns import Pattern

# Lines that are looked through at once: a search can be stopped between them.
MOST_SKIMMED = 20_000

REGULAR = "re:"
_STRUCTURED = frozenset({"log", "fault", "record", "result"})


class Query:
    """What is looked for: words, or after `re:` a regular expression; capitals count only where it has some.

    Raises `FilterError` where the regular expression is none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.pattern = Pattern(text[len(REGULAR) :]) if text.startswith(REGULAR) else None
        self._ignores_case = text == text.lower()

    @property
    def is_too_slow(self) -> bool:
        """Whether the regular expression took so long that it was given up."""
        return self.pattern is not None and self.pattern.is_spent

    def _folded(self, text: str) -> str:
        return text.lower() if self._ignores_case else text

    def _holds(self, text: str) -> bool:
        return self.text in self._folded(text) if self.pattern is None else self.pattern.is_in(text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the query stands in a text, as pairs of begin and end."""
        if self.pattern is not None:
            return self.pattern.spans(text)
        found, folded = [], self._folded(text)
        start = folded.find(self.text) if self.text and len(folded) == len(text) else -1
        while start >= 0:
            found.append((start, start + len(self.text)))
            start = folded.find(self.text, start + len(self.text))
        return found

    def may_be_in(self, entry: Entry) -> bool:
        """Whether some line of an entry may hold the query: many lines that don't are told at once."""
        data = entry.data
        if self.pattern or entry.kind in _STRUCTURED or data.startswith(b"{") or b"\n{" in data:
            return True
        return self.text in self._folded(data.decode("utf-8", "surrogateescape"))

    def is_in(self, line: Line) -> bool:
        """Whether the query stands in a line, as it is stored or as it is shown."""
        if self._holds(line.text):
            return True
        if line.kind in _STRUCTURED or line.text.startswith("{"):
            return self._holds(line_sentence(line))
        return False


class Progress(NamedTuple):
    """How far a search is: the line that it has come to, and whether it went on at the other end."""

    number: int
    is_around: bool
    is_found: bool = False


def search(
    reader: OutputReader, query: Query, start: int, *, forward: bool, last: int, portion: int = MOST_SKIMMED
) -> Iterator[Progress]:
    """Search from the line beside `start` to one end, then from the other end back to `start`.

    Yields how far it is after each portion of so many lines; the last one says whether something was found.
    """
    spans = [(start + 1, last), (1, start)] if forward else [(1, start - 1), (start, last)]
    matches = _matches_after if forward else _matches_before
    for is_around, (low, high) in enumerate(spans):
        for found, reached in matches(reader, query, low, high, portion):
            if found is not None:
                yield Progress(found, bool(is_around), is_found=True)
                return
            yield Progress(reached, bool(is_around))


def _matches_after(
    reader: OutputReader, query: Query, first: int, last: int, portion: int
) -> Iterator[tuple[int | None, int]]:
    """The first match in each portion from `first` on, or None, and the line that was reached."""
    while first <= last:
        found, following = _matches(reader, query, first, min(last, first + portion - 1))
        if following <= first:
            return
        yield (found[0] if found else None), following - 1
        first = following


def _matches_before(
    reader: OutputReader, query: Query, first: int, last: int, portion: int
) -> Iterator[tuple[int | None, int]]:
    """The last match in each portion from `last` back, or None, and the line that was reached."""
    while last >= first:
        start = at = max(first, last - portion + 1)
        match = None
        while at <= last:
            found, following = _matches(reader, query, at, last)
            match = found[-1] if found else match
            if following <= at:
                break
            at = following
        yield match, start
        last = start - 1


def _matches(reader: OutputReader, query: Query, first: int, last: int) -> tuple[list[int], int]:
    """The numbers of matching lines in a portion that begins at `first`, and where the next one begins."""
    lines, following = reader.skim(first, last - first + 1, query.may_be_in)
    numbers = [
        line.number for line in lines if isinstance(line, Line) and line.number <= last and query.is_in(line)
    ]
    return numbers, following
