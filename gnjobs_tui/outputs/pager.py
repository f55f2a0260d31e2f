"""The position in an output: current line, lines in memory, rows on screen. It knows no terminal and no Redis."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple

from rich.cells import chop_cells

from gnjobs.outputs.lines import Hole
from gnjobs_tui.outputs.seen import Item, see_partial

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
        return self._items[0].first if self._items else 1

    @property
    def last(self) -> int:
        """The number of the last whole line in memory."""
        return self._items[-1].last if self._items else 0

    def index_of(self, number: int) -> int | None:
        """The position of the item that stands for a line, None where it is not in memory."""
        if not len(self) or not self.first <= number <= self[len(self) - 1].last:
            return None
        found = bisect_right(self._items, number, key=lambda item: item.first) - 1
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
        if items and self._items and items[0].first != self.last + 1:
            return False
        self._items.extend(items)
        del self._items[: max(0, len(self._items) - self._most)]
        return True

    def room_for(self, count: int, spare: int) -> bool:
        """Whether so many more fit when no more than `spare` are forgotten at the beginning."""
        return len(self._items) + count - self._most <= max(0, spare)

    def prepend(self, items: Sequence[Item]) -> bool:
        """Take what precedes; forgets the other end beyond the bound. False where it does not precede."""
        if items and self._items and items[-1].last != self.first - 1:
            return False
        self._items[:0] = items
        if len(self._items) > self._most:
            del self._items[self._most :]
            self._partial = ""
        return True

    def set_partial(self, text: str) -> None:
        """Show a line that has not ended behind the last one; the empty text: there is none."""
        self._partial = text


# When fewer items than this are left in memory on a side, more are asked for.
MARGIN = 500

Direction = Literal["around", "before", "after"]


class Row(NamedTuple):
    """One row on screen: which item it belongs to, and which of the item's rows it is."""

    item: Item
    part: int


class Need(NamedTuple):
    """Lines that are to be read: those around, before or after a number."""

    direction: Direction
    number: int


class Pager:
    """The position in an output; lines are named by number, so that it holds whatever is loaded or dropped."""

    def __init__(self) -> None:
        self.window = LineWindow()
        self.first = 1
        self.last = 0
        self.height = 1
        self.wrap_width = 0
        self.cursor = 0
        self._top = 0
        self._top_part = 0
        self._goal: int | None = None

    def parts_of(self, item: Item) -> list[str]:
        """The texts of an item's rows."""
        if isinstance(item, Hole) or not self.wrap_width:
            return ["" if isinstance(item, Hole) else item.text]
        return chop_cells(item.text, self.wrap_width) or [""]

    def _rows_of(self, index: int) -> int:
        return len(self.parts_of(self.window[index])) if self.wrap_width else 1

    def rows(self) -> list[Row]:
        """The rows on screen, from the top."""
        found: list[Row] = []
        index, part = self._top_index(), self._top_part
        while index < len(self.window) and len(found) < self.height:
            item = self.window[index]
            found += [Row(item, each) for each in range(part, self._rows_of(index))]
            index, part = index + 1, 0
        return found[: self.height]

    def _top_index(self) -> int:
        return self.window.index_of(self._top) or 0

    @property
    def position(self) -> tuple[int, int]:
        """What is at the top of the screen: line and row of it."""
        return self._top, self._top_part

    @property
    def current(self) -> Item | None:
        """The item of the current line."""
        index = self.window.index_of(self.cursor)
        return None if index is None else self.window[index]

    @property
    def is_at_end(self) -> bool:
        """Whether the current line is the last one."""
        return self.cursor >= self.last

    def _set_top(self, index: int, part: int = 0) -> None:
        self._top, self._top_part = self.window[index].first, part

    def _set_cursor(self, index: int) -> None:
        self.cursor = self.window[index].first

    def _clamped(self, index: int) -> int:
        return max(0, min(index, len(self.window) - 1))

    def _cursor_index(self) -> int:
        return self._clamped(self.window.index_of(self.cursor) or 0)

    def move(self, lines: int) -> None:
        """Move the current line by so many, as far as lines are in memory."""
        if not len(self.window):
            return
        if abs(lines) == 1 and self._is_cut(lines):
            self.scroll(lines)
            return
        self._set_cursor(self._clamped(self._cursor_index() + lines))
        self.show_cursor()

    def _is_cut(self, direction: int) -> bool:
        """Whether the current line goes on beyond the screen's edge in a direction."""
        on_screen = [row.part for row in self.rows() if row.item.first == self.cursor]
        if not on_screen:
            return False
        return on_screen[-1] < self._rows_of(self._cursor_index()) - 1 if direction > 0 else on_screen[0] > 0

    def show_cursor(self) -> None:
        """Scroll no further than needed to have the current line on screen."""
        cursor = self._cursor_index()
        top = self._top_index()
        if cursor < top or (cursor == top and self._top_part):
            self._set_top(cursor)
        else:
            is_taller = self._rows_of(cursor) > self.height
            lowest = (cursor, 0) if is_taller else self._top_for_bottom(cursor)
            if lowest > (top, self._top_part):
                self._set_top(*lowest)

    def _top_for_bottom(self, index: int) -> tuple[int, int]:
        """What must be at the top for an item's last row to be at the bottom."""
        rows = self._rows_of(index)
        while index > 0 and rows < self.height:
            index -= 1
            rows += self._rows_of(index)
        return index, max(0, rows - self.height)

    def scroll(self, rows: int) -> None:
        """Move the screen by so many rows; the current line goes along where it would leave the screen."""
        if not len(self.window):
            return
        index, part = self._top_index(), self._top_part + rows
        while part < 0 and index > 0:
            index -= 1
            part += self._rows_of(index)
        while index < len(self.window) - 1 and part >= self._rows_of(index):
            part -= self._rows_of(index)
            index += 1
        wanted = (index, max(0, min(part, self._rows_of(index) - 1)))
        self._set_top(*min(wanted, self._top_for_bottom(len(self.window) - 1)))
        self._keep_cursor_on_screen()

    def _keep_cursor_on_screen(self) -> None:
        on_screen = [row.item.first for row in self.rows()]
        if on_screen:
            self.cursor = max(on_screen[0], min(self.cursor, on_screen[-1]))

    def page(self, rows: int) -> None:
        """Move the screen by so many rows, and the current line with it; at the ends only the line moves."""
        if not len(self.window):
            return
        before = self._top_index(), self._top_part
        offset = self._cursor_index() - before[0]
        self.scroll(rows)
        after = self._top_index(), self._top_part
        if after == before:
            self._set_cursor(0 if rows < 0 else len(self.window) - 1)
        elif not self.wrap_width:
            self._set_cursor(self._clamped(after[0] + offset))
        self.show_cursor()

    def go_to(self, number: int) -> None:
        """Make a line the current one, now or as soon as it is loaded."""
        number = max(1, min(number, self.last))
        index = self.window.index_of(number)
        if index is None:
            self._goal = number
            return
        self._goal = None
        self._set_cursor(index)
        if all(row.item.first != self.cursor for row in self.rows()):
            self._set_top(index)
            self.scroll(-(self.height // 3))
            self._set_cursor(index)
        self.show_cursor()

    def go_to_end(self) -> None:
        """Make the last line the current one, with the bottom of the screen behind it."""
        if not self.window.covers(self.last):
            self._goal = self.last
            return
        self._goal = None
        last = len(self.window) - 1
        if last >= 0:
            self._set_cursor(last)
            self._set_top(*self._top_for_bottom(last))

    def need(self) -> Need | None:
        """What should be read now, the most urgent first; None where enough is in memory."""
        if self._goal is not None:
            return Need("around", self._goal)
        if not len(self.window):
            return Need("around", self.last) if self.last else None
        top = self._top_index()
        if top < MARGIN and self.window.first > 1:
            return Need("before", self.window.first)
        if len(self.window) - (top + self.height) < MARGIN and self.window.last < self.last:
            return Need("after", self.window.last)
        return None

    def take(self, need: Need, items: list[Item]) -> None:
        """Take in what was read for a need."""
        if need.direction == "before":
            if items and self.window.first == need.number:
                self.window.prepend(items)
        elif need.direction == "after":
            if items and self.window.last == need.number:
                self.window.append(items)
        elif items:
            self.window.replace(items)
            self._go_to_goal()
        if items:
            self.last = max(self.last, items[-1].last)

    def _go_to_goal(self) -> None:
        goal, self._goal = self._goal, None
        if goal is None:
            return
        if goal >= self.last:
            self.go_to_end()
        else:
            self.go_to(goal)
        self._goal = None

    def arrive(self, last: int, items: list[Item], *, follow: bool) -> None:
        """The output has grown to `last`; `items` are its newest lines, taken where nothing on screen is lost by it."""
        was_at_end = self.window.last >= self.last
        self.last = max(self.last, last)
        if items and follow:
            if not self.window.append(items):
                self.window.replace(items)
        elif items and was_at_end and self.window.room_for(len(items), self._top_index() - MARGIN):
            self.window.append(items)
        if follow:
            self.go_to_end()

    def set_partial(self, text: str, *, follow: bool) -> None:
        """Show the line that has not ended behind the last one, where that is in memory; the empty text: none."""
        self.window.set_partial(text if self.window.last == self.last else "")
        if follow:
            self.go_to_end()

    def begin_anew(self) -> None:
        """Forget everything: the output is another one now."""
        self.window.replace([])
        self.last = self.cursor = self._top = self._top_part = 0
        self._goal = None
