"""The faults of a job as they are listed: those that pass a filter, and equal ones counted as one."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, NamedTuple

from gnjobs.outputs.faults import Fault, column_letters, found_words, needs_words
from gnjobs.watch.filters import Filter, Measure, Term, Vocabulary, Words, contains, plain_number
from gnjobs.watch.listing import DEFAULT_SORT, Sort
from gnjobs_tui.ordering import in_order

HINT: Final = "words  file:  row:1204  column:AO  found:  needs:  row>1000  -not     enter keep  esc clear"


def _cell(read: Callable[[Fault], tuple[str, ...]], title: Callable[[Fault], str | None]) -> Words:
    """Make the test of a row or a column that is named by its number or letters, or whose title contains a word."""

    def make(alternatives: Sequence[str]) -> Term:
        wanted = frozenset(word.casefold() for word in alternatives)
        in_title = contains(title)(alternatives).test
        return Term(lambda fault, now: not wanted.isdisjoint(read(fault)) or in_title(fault, now))

    return make


def _row_names(fault: Fault) -> tuple[str, ...]:
    return (str(fault.row),)


def _column_names(fault: Fault) -> tuple[str, ...]:
    return (str(fault.column), column_letters(fault.column).casefold())


FAULTS: Final = Vocabulary(
    texts=lambda fault: (
        fault.file,
        fault.row_title,
        fault.column_title,
        fault.value,
        fault.expected,
        fault.message,
        fault.kind,
    ),
    words={
        "file": contains(lambda fault: fault.file),
        "row": _cell(_row_names, lambda fault: fault.row_title),
        "column": _cell(_column_names, lambda fault: fault.column_title),
        "found": contains(lambda fault: fault.value),
        "needs": contains(needs_words),
        "kind": contains(lambda fault: fault.what),
    },
    measures={
        "row": Measure(lambda fault, _: fault.row, plain_number),
        "column": Measure(lambda fault, _: fault.column, plain_number),
    },
)


# How often a fault occurs, where equal ones are counted as one.
TIMES: Final = "times"
# What the columns sort by, None where a fault says nothing of it; what has a number comes before what has a title.
SORTS: Final[dict[str, Callable[[Fault], Any]]] = {
    "file": lambda fault: fault.file.casefold() if fault.file else None,
    "row": lambda fault: _numbered(fault.row, fault.row_title),
    "column": lambda fault: _numbered(fault.column, fault.column_title),
    "found": lambda fault: found_words(fault).casefold() or None,
    "needs": lambda fault: needs_words(fault).casefold() or None,
}


def _numbered(number: int | None, title: str | None) -> tuple[float, str] | None:
    return None if number is None and title is None else (inf if number is None else number, title or "")


class Row(NamedTuple):
    """A listed fault, how many equal ones there are, and whether it is one of those that are looked for among all."""

    fault: Fault
    times: int
    is_match: bool


class Choice(NamedTuple):
    """Which faults are listed: those that pass a filter, equal ones as one, or all with the matches among them."""

    wanted: Filter | None = None
    is_grouped: bool = False
    shows_all: bool = False
    sort: Sort = DEFAULT_SORT

    @property
    def order(self) -> Sort:
        """The order of the list; where nobody sorts it, the most frequent of equal ones come first."""
        is_sorted = self.sort.column is not None and (self.is_grouped or self.sort.column != TIMES)
        usual = Sort(TIMES, descending=True) if self.is_grouped else DEFAULT_SORT
        return self.sort if is_sorted else usual


class FaultList:
    """The listed faults; `take` may be called in another thread than that which reads.

    Where all are listed, `matches` tells where those are that pass the filter. Those in an order are listed as of the
    last `arrange`.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._is_sorted = choice.order != DEFAULT_SORT
        self.taken = 0
        self.faults: list[Fault] = []
        self.counts: list[int] = []
        self._matches: list[int] = []
        self.matches = self._matches
        self.matching = 0
        self._groups: dict[tuple[str | None, str], int] = {}
        self._order: list[int] = []

    def take(self, faults: Sequence[Fault]) -> None:
        """List more faults."""
        wanted, is_grouped, shows_all, _ = self.choice
        for fault in faults:
            is_match = wanted is None or wanted.matches(fault)
            self.matching += is_match
            if is_match and is_grouped:
                self._count(fault)
            elif is_match or shows_all:
                if shows_all and is_match:
                    self._matches.append(len(self.faults))
                self.faults.append(fault)
        self.taken += len(faults)

    def _count(self, fault: Fault) -> None:
        place = self._groups.setdefault((fault.file, fault.what), len(self.faults))
        if place < len(self.faults):
            self.counts[place] += 1
        else:
            self.counts.append(1)
            self.faults.append(fault)

    def arrange(self) -> None:
        """Put what was taken in order."""
        column, descending = self.choice.order
        if column is not None:
            values = self.counts if column == TIMES else [SORTS[column](fault) for fault in self.faults]
            self._order = in_order(values, descending=descending)
            matches = set(self._matches)
            self.matches = [place for place, number in enumerate(self._order) if number in matches]

    def __len__(self) -> int:
        return len(self._order) if self._is_sorted else len(self.faults)

    def __getitem__(self, index: int) -> Row:
        place = self._order[index] if self._is_sorted else index
        if self.choice.is_grouped:
            return Row(self.faults[place], self.counts[place], is_match=False)
        at = bisect_left(self.matches, index)
        return Row(self.faults[place], 1, is_match=self.matches[at : at + 1] == [index])

    def match_beside(self, index: int, *, forward: bool) -> int | None:
        """Where the next or the previous match is, from the other end on where there is none."""
        found: Sequence[int] = self.matches if self.choice.shows_all else range(len(self))
        if not found:
            return None
        place = bisect_right(found, index) if forward else bisect_left(found, index) - 1
        return found[place % len(found)]

    def place_of(self, index: int, before: "FaultList") -> int:
        """Where the match is that was at a position of the list before; the top where that listed otherwise."""
        if self._is_sorted or before._is_sorted or self.choice.wanted is not before.choice.wanted:
            return 0
        if not self.choice.shows_all:
            return bisect_left(before.matches, index)
        return self.matches[index] if index < len(self.matches) else 0
