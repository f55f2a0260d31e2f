"""The rows of a table by position: with keys of their own or numbered, as they come or sorted by a column."""

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from gnjobs_tui.ordering import in_order
from gnjobs_tui.style import Cell
from gnjobs_tui.widgets.columns import BLANK, Cells

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class DrawnRows(Generic[Item]):
    """Rows with keys, in order; the cells of one are made when it is drawn, however many there are."""

    def __init__(self, cells_of: Callable[[Item], Cells], rows: Iterable[tuple[str, Item]] = ()) -> None:
        self.items = dict(rows)
        self._cells_of = cells_of
        self._keys = list(self.items)
        self._places = {key: place for place, key in enumerate(self._keys)}

    def __len__(self) -> int:
        return len(self._keys)

    def key_at(self, index: int) -> str:
        """The key of the row at a position."""
        return self._keys[index]

    def index_of(self, key: str) -> int | None:
        """Where a key's row is."""
        return self._places.get(key)

    def cells_at(self, index: int) -> Cells:
        """The cells of the row at a position."""
        return self._cells_of(self.items[self._keys[index]])


class RowList(DrawnRows[Cells]):
    """Rows whose cells are made already."""

    def __init__(self, rows: Iterable[tuple[str, Cells]]) -> None:
        super().__init__(lambda cells: cells, rows)


class Items(Protocol[Item_co]):
    """What has positions, such as a list."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> Item_co:
        """What stands at a position."""


class NumberedRows(Generic[Item]):
    """Rows whose keys are their positions; the cells of one are made when it is drawn, however many there are."""

    def __init__(self, cells_of: Callable[[Item], Cells], items: Items[Item] = ()) -> None:
        self.items = items
        self._cells_of = cells_of

    def __len__(self) -> int:
        return len(self.items)

    def key_at(self, index: int) -> str:
        """The number of a row."""
        return str(index)

    def index_of(self, key: str) -> int | None:
        """Where a row is."""
        return int(key) if int(key) < len(self.items) else None

    def cells_at(self, index: int) -> Cells:
        """The cells of the row at a position."""
        return self._cells_of(self.items[index])


class TableSource(Protocol):
    """Rows by position, each with a key that stays its own."""

    def __len__(self) -> int:
        """How many rows there are."""

    def key_at(self, index: int) -> str:
        """The key of the row at a position."""

    def index_of(self, key: str) -> int | None:
        """Where the row of a key is now."""

    def cells_at(self, index: int) -> Cells:
        """The cells of the row at a position, by column."""


class SortedSource:
    """The rows of a source by what they have in one column; the first ones, so many as are pinned, stay first."""

    def __init__(self, source: TableSource, column: str, *, descending: bool, pinned: int) -> None:
        self.source = source
        rows = range(pinned, len(source))
        values = [_value(source.cells_at(index).get(column, BLANK)) for index in rows]
        found = in_order(values, descending=descending)
        self._indices = [*range(min(pinned, len(source))), *(rows[place] for place in found)]
        self._places = {index: place for place, index in enumerate(self._indices)}

    def __len__(self) -> int:
        return len(self._indices)

    def key_at(self, index: int) -> str:
        """The key of the row at a position."""
        return self.source.key_at(self._indices[index])

    def index_of(self, key: str) -> int | None:
        """Where the row of a key is now."""
        found = self.source.index_of(key)
        return None if found is None else self._places.get(found)

    def cells_at(self, index: int) -> Cells:
        """The cells of the row at a position."""
        return self.source.cells_at(self._indices[index])


def _value(cell: Cell) -> tuple[bool, float | str] | None:
    if cell.value is not None:
        return False, cell.value
    return (True, cell.text.casefold()) if cell.text else None
