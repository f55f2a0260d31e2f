"""Rows that are simply a list, for tables that are not the catalogue's."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gnjobs_tui.widgets.table_drawing import Cells

Item = TypeVar("Item")


class RowList:
    """Rows with keys, in order."""

    def __init__(self, rows: Sequence[tuple[str, Cells]]) -> None:
        self._rows = rows
        self._places = {key: place for place, (key, _) in enumerate(rows)}

    def __len__(self) -> int:
        return len(self._rows)

    def key_at(self, index: int) -> str:
        """The key of the row at a position."""
        return self._rows[index][0]

    def index_of(self, key: str) -> int | None:
        """Where a key's row is."""
        return self._places.get(key)

    def cells_at(self, index: int) -> Cells:
        """The cells of the row at a position."""
        return self._rows[index][1]


class NumberedRows(Generic[Item]):
    """Rows whose keys are their positions; the cells of one are made when it is drawn, however many there are."""

    def __init__(self, cells_of: Callable[[Item], Cells]) -> None:
        self.items: list[Item] = []
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
