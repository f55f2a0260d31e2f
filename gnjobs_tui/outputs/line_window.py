"""The lines that are in memory: consecutive ones around what is seen, never more than a bound."""

from bisect import bisect_right
from collections.abc import Sequence

from gnjobs_tui.outputs.seen import Item, first_of, last_of, see_partial

MOST_ITEMS = 4000


class LineWindow:
    """Consecutive items of an output, and behind the last line the one that has not ended."""

    def __init__(self, most: int = MOST_ITEMS) -> None:
        self._most = most
        self._items: list[Item] = []
        self._partial = ""

    def __len__(self) -> int:
        return len(self._items) + (1 if self._partial else 0)

    def __getitem__(self, index: int) -> Item:
        if index == len(self._items) and self._partial:
            return see_partial(self.last + 1, self._partial)
        return self._items[index]

    @property
    def first(self) -> int:
        """The number of the first line in memory."""
        return first_of(self._items[0]) if self._items else 1

    @property
    def last(self) -> int:
        """The number of the last whole line in memory."""
        return last_of(self._items[-1]) if self._items else 0

    def index_of(self, number: int) -> int | None:
        """The position of the item that stands for a line, None where it is not in memory."""
        if not len(self) or not self.first <= number <= last_of(self[len(self) - 1]):
            return None
        found = bisect_right(self._items, number, key=first_of) - 1
        if number > self.last:
            return len(self._items)
        return found

    def covers(self, number: int) -> bool:
        """Whether a line is in memory."""
        return self.index_of(number) is not None

    def replace(self, items: Sequence[Item]) -> None:
        """Hold these instead."""
        self._items = list(items)
        self._partial = ""

    def append(self, items: Sequence[Item]) -> bool:
        """Take what follows; forgets the other end beyond the bound. False where it does not follow."""
        if items and self._items and first_of(items[0]) != self.last + 1:
            return False
        self._items.extend(items)
        del self._items[: max(0, len(self._items) - self._most)]
        return True

    def room_for(self, count: int, spare: int) -> bool:
        """Whether so many more fit when no more than `spare` are forgotten at the beginning."""
        return len(self._items) + count - self._most <= max(0, spare)

    def prepend(self, items: Sequence[Item]) -> bool:
        """Take what precedes; forgets the other end beyond the bound. False where it does not precede."""
        if items and self._items and last_of(items[-1]) != self.first - 1:
            return False
        self._items[:0] = items
        if len(self._items) > self._most:
            del self._items[self._most :]
            self._partial = ""
        return True

    def set_partial(self, text: str) -> None:
        """Show a line that has not ended behind the last one; the empty text: there is none."""
        self._partial = text
