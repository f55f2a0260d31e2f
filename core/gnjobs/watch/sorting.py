"""The orders that a list of jobs can have: the default one, or by a column with what is unknown always last."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from sortedcontainers import SortedList

from gnjobs.watch.collections import KeyedRows
from gnjobs.watch.rows import JobRow

Value = Callable[[JobRow], Any]


class Sort(NamedTuple):
    """By which column, and whether the largest comes first; without a column the default order."""

    column: str | None = None
    descending: bool = False


DEFAULT_SORT: Final = Sort()


def _folded(text: str | None) -> str | None:
    return text.casefold() if text else None


def _run(row: JobRow) -> float | None:
    return row.run_seconds(row.heartbeat or 0.0 if row.job else 0.0)


def _silence(row: JobRow) -> float | None:
    # The order of silences, which all grow alike, without a clock that would have to sort them again.
    return None if row.silence is None or row.silent_since is None else -row.silent_since


def _children(row: JobRow) -> float | None:
    return None if not row.children else (row.children_done or 0) / row.children


SORT_COLUMNS: Final[dict[str, Value]] = {
    "state": lambda row: (-row.rank, row.state),
    "label": lambda row: row.label.casefold(),
    "user": lambda row: _folded(row.user),
    "type": lambda row: _folded(row.type),
    "host": lambda row: _folded(row.host),
    "id": lambda row: row.id,
    "says": lambda row: _folded(row.says),
    "progress": lambda row: row.percent,
    "children": _children,
    "cpu": lambda row: row.cpu,
    "memory": lambda row: row.rss,
    "silent": _silence,
    "run": _run,
    "created": lambda row: row.created or None,
    "started": lambda row: row.started,
    "finished": lambda row: row.finished,
    "faults": lambda row: row.faults,
}


def _sort_key(column: str, descending: bool) -> Value:
    read = SORT_COLUMNS[column]

    def ascending_key(row: JobRow) -> tuple[Any, ...]:
        value = read(row)
        return (1, -row.created, row.key) if value is None else (0, value, -row.created, row.key)

    def descending_key(row: JobRow) -> tuple[Any, ...]:
        value = read(row)
        return (0, row.created, row.key) if value is None else (1, value, row.created, row.key)

    return descending_key if descending else ascending_key


class SortedRows:
    """Rows in one order; every change and every look at a position costs O(log N).

    What comes first is kept last unless a column ascends, so that the default order is the rows' own and needs no keys.
    """

    def __init__(self, sort: Sort = DEFAULT_SORT) -> None:
        self._backwards = sort.column is None or sort.descending
        self._rows: Any = (
            SortedList() if sort.column is None else KeyedRows(_sort_key(sort.column, sort.descending))
        )

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: JobRow) -> None:
        """Put a row where it belongs."""
        self._rows.add(row)

    def discard(self, row: JobRow) -> bool:
        """Take out exactly this row; False where it is not there."""
        before = len(self._rows)
        self._rows.discard(row)
        return len(self._rows) != before

    def row_at(self, index: int) -> JobRow:
        """The row at a position; raises `IndexError`."""
        if not 0 <= index < len(self._rows):
            raise IndexError(index)
        row: JobRow = self._rows[-1 - index if self._backwards else index]
        return row

    def between(self, start: int, stop: int) -> list[JobRow]:
        """The rows from one position up to before another."""
        length = len(self._rows)
        start, stop = max(0, start), max(0, min(stop, length))
        if start >= stop:
            return []
        if self._backwards:
            return list(self._rows.islice(length - stop, length - start, reverse=True))
        return list(self._rows.islice(start, stop))

    def index_of(self, row: JobRow) -> int | None:
        """The position of exactly this row, or None."""
        found: int = self._rows.bisect_left(row)
        if found >= len(self._rows) or self._rows[found] is not row:
            return None
        return len(self._rows) - 1 - found if self._backwards else found

    def after(self, row: JobRow | None) -> Iterator[JobRow]:
        """The rows of the default order that come after this one; must not be changed meanwhile."""
        found: Iterator[JobRow] = self._rows.irange(maximum=row, inclusive=(True, False), reverse=True)
        return found

    def __iter__(self) -> Iterator[JobRow]:
        return reversed(self._rows) if self._backwards else iter(self._rows)
