"""What one table shows of the catalogue: its rows that pass a filter, in an order, kept right by every change."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from gnjobs.health.states import ALL, group_of
from gnjobs.records import values
from gnjobs.records.fields import ROW_FIELDS, Field, run_seconds
from gnjobs.watch.collections import KeyedRows
from gnjobs.watch.filters import Filter
from gnjobs.watch.rows import JobRow, default_order

Value = Callable[[JobRow], Any]


class Sort(NamedTuple):
    """By which column, and whether the largest comes first; without a column the default order."""

    column: str | None = None
    descending: bool = False


DEFAULT_SORT: Final = Sort()


def _folded(text: str | None) -> str | None:
    return text.casefold() if text else None


def _run(row: JobRow) -> float | None:
    return run_seconds(row, row.heartbeat or 0.0 if row.job else 0.0)


def _silence(row: JobRow) -> float | None:
    # The order of silences, which all grow alike, without a clock that would have to sort them again.
    return None if row.silence is None or row.silent_since is None else -row.silent_since


def _children(row: JobRow) -> float | None:
    return None if not row.children else (row.children_done or 0) / row.children


def _listed(field: Field) -> Value:
    read = attrgetter(field.attribute)
    return (lambda row: _folded(read(row))) if field.kind.read is values.text else read


# Every listed field sorts by its value, unless something else is meant by its name.
SORT_COLUMNS: Final[dict[str, Value]] = {field.attribute: _listed(field) for field in ROW_FIELDS.values()} | {
    "state": lambda row: (-row.rank, row.state),
    "label": lambda row: row.label.casefold(),
    "id": lambda row: row.id,
    "says": lambda row: _folded(row.says),
    "progress": lambda row: row.percent,
    "children": _children,
    "cpu": lambda row: row.cpu,
    "memory": lambda row: row.rss,
    "silent": _silence,
    "run": _run,
    "created": lambda row: row.created or None,
    "faults": lambda row: row.faults or 0,
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
    """Rows in one order; what comes first is kept last unless a column ascends."""

    def __init__(self, sort: Sort = DEFAULT_SORT) -> None:
        self._backwards = sort.column is None or sort.descending
        self._rows = KeyedRows(
            default_order if sort.column is None else _sort_key(sort.column, sort.descending)
        )

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: JobRow) -> None:
        """Insert a row at its place."""
        self._rows.add(row)

    def update(self, rows: Iterable[JobRow]) -> None:
        """Insert many rows at their places."""
        self._rows.update(rows)

    def discard(self, row: JobRow) -> bool:
        """Remove exactly this row; returns whether it was there."""
        return self._rows.discard(row)

    def row_at(self, index: int) -> JobRow:
        """The row at a position; raises `IndexError`."""
        if not 0 <= index < len(self._rows):
            raise IndexError(index)
        return self._rows[-1 - index if self._backwards else index]

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
        found = self._rows.bisect_left(row)
        if found >= len(self._rows) or self._rows[found] is not row:
            return None
        return len(self._rows) - 1 - found if self._backwards else found

    def after(self, key: Any) -> Iterator[JobRow]:
        """The rows of the default order that come after this key (None: all); must not be changed meanwhile."""
        return reversed(self._rows) if key is None else self._rows.before(key)

    def __iter__(self) -> Iterator[JobRow]:
        return reversed(self._rows) if self._backwards else iter(self._rows)


ROWS_A_STEP = 250
REFRESH_SECONDS = 10.0
REFRESHED_A_SECOND = 20_000


class _Filling:
    """Rows that are being collected from the catalogue's order, from its top, a few at a time.

    `passed` is the key of the last row looked at: what lies above is changed at once, what lies below is still to come.
    """

    def __init__(self, sort: Sort) -> None:
        self.rows = SortedRows(sort)
        self.passed: Any = None

    def covers(self, row: JobRow) -> bool:
        return self.passed is not None and default_order(row) >= self.passed


class Listing:
    """A filtered and sorted list over the catalogue's rows; made by `Catalogue.listing` and filled by its `work`.

    `refresh_at` is when a filter by age is to be applied anew; infinity for other filters.
    """

    def __init__(
        self,
        source: SortedRows,
        find: Callable[[str], JobRow | None],
        clock: Callable[[], float],
        *,
        filter: Filter | None = None,  # noqa: A002 - the word of the command line
        group: str = ALL,
        users: Collection[str] | None = None,
        sort: Sort = DEFAULT_SORT,
    ) -> None:
        self.filter, self.group, self.sort = filter, group, sort
        self.users = None if users is None else frozenset(users)
        self.version = 0
        self._source = source
        self._find = find
        self._clock = clock
        self.refresh_at = float("inf")
        self._filling: _Filling | None = None
        if self.shows_everything and sort == DEFAULT_SORT:
            self._rows = source
        else:
            self._filling = _Filling(sort)
            self._rows = self._filling.rows

    @property
    def shows_everything(self) -> bool:
        """Whether no row is left out."""
        return not self.filter and self.group == ALL and self.users is None

    @property
    def ready(self) -> bool:
        """Whether every row of the catalogue has been looked at once."""
        return self._filling is None or self._filling.rows is not self._rows

    @property
    def filling(self) -> bool:
        """Whether there is work to do."""
        return self._filling is not None

    def passes(self, row: JobRow) -> bool:
        """Tell whether a row belongs here now."""
        if self.users is not None and row.user not in self.users:
            return False
        if self.group != ALL and group_of(row.state) != self.group:
            return False
        return not self.filter or self.filter.matches(row, self._clock())

    def replace(self, old: JobRow | None, new: JobRow | None) -> None:
        """Follow a change of the catalogue, made or about to be made: `old` is gone, `new` is there instead."""
        if self._rows is self._source:
            self.version += 1
            return
        passes = new is not None and self.passes(new)
        if self.ready:
            self._exchange(self._rows, old, new if passes else None)
        if self._filling is not None:
            covered = new if passes and new is not None and self._filling.covers(new) else None
            self._exchange(self._filling.rows, old, covered)

    def extend(self, rows: Sequence[JobRow]) -> None:
        """Follow rows that come new into the catalogue."""
        if self._rows is not self._source:
            rows = [row for row in rows if self.passes(row)]
            if self.ready:
                self._rows.update(rows)
            if self._filling is not None:
                self._filling.rows.update(row for row in rows if self._filling.covers(row))
        self.version += 1

    def _exchange(self, rows: SortedRows, old: JobRow | None, new: JobRow | None) -> None:
        changed = old is not None and rows.discard(old)
        if new is not None:
            rows.add(new)
            changed = True
        if changed and rows is self._rows:
            self.version += 1

    def fill_step(self) -> bool:
        """Look at a few more rows of the catalogue; returns whether there are more."""
        filling = self._filling
        if filling is None:
            return False
        looked = list(islice(self._source.after(filling.passed), ROWS_A_STEP))
        added = [row for row in looked if self.passes(row)]
        filling.rows.update(added)
        if looked:
            filling.passed = default_order(looked[-1])
        if len(looked) < ROWS_A_STEP:
            self._finish()
        elif added and filling.rows is self._rows:
            self.version += 1
        return self._filling is not None

    def _finish(self) -> None:
        if self._filling is not None:
            self._rows, self._filling = self._filling.rows, None
            self.version += 1
        if self.filter is not None and self.filter.timed:
            self.refresh_at = self._clock() + max(REFRESH_SECONDS, len(self._source) / REFRESHED_A_SECOND)

    def refresh(self) -> None:
        """Collect the rows anew beside those shown, which stay until `work` is done."""
        if self._rows is not self._source and self._filling is None:
            self.refresh_at = float("inf")
            self._filling = _Filling(self.sort)

    def __len__(self) -> int:
        return len(self._rows)

    def row_at(self, index: int) -> JobRow:
        """The row at a position; raises `IndexError`."""
        return self._rows.row_at(index)

    def visible(self, start: int, stop: int) -> list[JobRow]:
        """The rows from one position up to before another."""
        return self._rows.between(start, stop)

    def index_of(self, key: str) -> int | None:
        """The position of a job, or None where it is not shown."""
        row = self._find(key)
        return None if row is None else self._rows.index_of(row)

    def keys(self) -> Iterator[str]:
        """The keys of all rows shown, in order."""
        return (row.key for row in self._rows)
