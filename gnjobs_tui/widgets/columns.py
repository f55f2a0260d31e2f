"""Columns of a table, and which of them a width has room for."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

GAP = 1


class Column(NamedTuple):
    """One column; the lowest `worth` goes first where room is short, `grows` takes the room that is left.

    Below `from_width` it is left out in any case; `stands_for` names a column in whose absence this one is shown.
    """

    id: str
    title: str
    width: int
    worth: int
    align: Literal["left", "right"] = "left"
    grows: bool = False
    stands_for: str | None = None
    from_width: int = 0


class Placed(NamedTuple):
    """A column with its place on the line."""

    column: Column
    x: int
    width: int


def place(columns: Sequence[Column], width: int, indent: int = 0) -> list[Placed]:
    """Choose the columns that fit a width, and place them; one that stands for another is shown in its stead."""
    out = {column.id for column in columns if width < column.from_width}
    kept = [c for c in columns if c.id not in out and (c.stands_for is None or c.stands_for in out)]
    while len(kept) > 1 and indent + sum(column.width + GAP for column in kept) - GAP > width:
        least = min(kept, key=lambda column: column.worth)
        stand_in = next((column for column in columns if column.stands_for == least.id), None)
        kept = [stand_in if column is least else column for column in kept if column is not least or stand_in]  # type: ignore[misc]
    spare = max(0, width - indent - sum(column.width + GAP for column in kept) + GAP)
    growing = [column for column in kept if column.grows]
    placed, x = [], indent
    for column in kept:
        extra = spare // len(growing) if column.grows else 0
        placed.append(Placed(column, x, column.width + extra))
        x += column.width + extra + GAP
    return placed
