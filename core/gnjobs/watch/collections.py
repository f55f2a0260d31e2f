"""Rows kept in sorted order, so compactly that a million of them can be sorted by any column."""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, chain
from operator import add
from typing import Any, Final

from gnjobs.watch.rows import JobRow

Key = Callable[[JobRow], Any]

LONGEST_PART: Final = 1000
# So many times more rows than come in between them: then each finds its place by itself.
_MANY: Final = 8


class KeyedRows:
    """Rows in short lists, one after the other; no two rows may have the same key.

    What comes into a list is put in its place when somebody looks there, or when the list is to be split. A change
    computes the keys of few rows and moves the pointers of one short list. It has what is used of a
    `SortedKeyList`, which keeps a key for each row: more memory than the rows that it sorts.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._parts: list[list[JobRow]] = []
        self._loose: list[list[JobRow]] = []
        self._last_keys: list[Any] = []
        self._ends: list[int] | None = None
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[JobRow]:
        return chain.from_iterable(map(self._part, range(len(self._parts))))

    def __reversed__(self) -> Iterator[JobRow]:
        return chain.from_iterable(map(reversed, map(self._part, reversed(range(len(self._parts))))))

    def _part(self, at: int) -> list[JobRow]:
        """One of the lists, in order."""
        part, loose = self._parts[at], self._loose[at]
        if not loose:
            return part
        if _MANY * len(loose) < len(part):
            for row in loose:
                insort(part, row, key=self._key)
        else:
            part = self._parts[at] = sorted(part + loose, key=self._key)
        self._loose[at] = []
        return part

    def add(self, row: JobRow) -> None:
        """Insert a row at its place."""
        self.update((row,))

    def update(self, rows: Iterable[JobRow]) -> None:
        """Insert rows at their places; quick for many that are neighbours."""
        run = sorted(rows, key=self._key)
        self._length += len(run)
        self._ends = None
        start = 0
        while start < len(run):
            last = len(self._parts) - 1
            at = max(0, min(last, bisect_left(self._last_keys, self._key(run[start]))))
            fits = at < last
            stop = bisect_right(run, self._last_keys[at], start, key=self._key) if fits else len(run)
            self._put(at, run[start:stop])
            start = stop

    def _put(self, at: int, rows: list[JobRow]) -> None:
        """Add rows, in order, to a list; keys beyond all that are there go to the last one alone."""
        if not self._parts:
            self._parts, self._loose, self._last_keys = [[]], [[]], [self._key(rows[-1])]
        self._loose[at] += rows
        self._last_keys[at] = max(self._last_keys[at], self._key(rows[-1]))
        if len(self._parts[at]) + len(self._loose[at]) > 2 * LONGEST_PART:
            self._split(at)

    def _split(self, at: int) -> None:
        part = self._part(at)
        size = -(-len(part) // (len(part) // LONGEST_PART))
        parts = [part[start : start + size] for start in range(0, len(part), size)]
        self._parts[at : at + 1] = parts
        self._loose[at : at + 1] = [[] for _ in parts]
        self._last_keys[at : at + 1] = [self._key(each[-1]) for each in parts]

    def discard(self, row: JobRow) -> bool:
        """Remove exactly this row; returns whether it was there."""
        at, index = self._place(row)
        if at == len(self._parts) or self._parts[at][index] is not row:
            return False
        part = self._parts[at]
        del part[index]
        if not part:
            del self._parts[at], self._loose[at], self._last_keys[at]
        elif index == len(part):
            self._last_keys[at] = self._key(part[-1])
        self._length -= 1
        self._ends = None
        return True

    def _place(self, row: JobRow) -> tuple[int, int]:
        """Where a row is, or would be: the number of the list, and the index in it."""
        key = self._key(row)
        at = bisect_left(self._last_keys, key)
        return at, bisect_left(self._part(at), key, key=self._key) if at < len(self._parts) else 0

    def bisect_left(self, row: JobRow) -> int:
        """The position of a row, or the one that it would have."""
        at, index = self._place(row)
        return self._begin(at) + index

    def _begin(self, at: int) -> int:
        return self._positions()[at - 1] if at else 0

    def _positions(self) -> list[int]:
        """How many rows there are up to the end of each list."""
        if self._ends is None:
            loose = map(len, self._loose)
            self._ends = list(accumulate(map(add, map(len, self._parts), loose)))
        return self._ends

    def __getitem__(self, index: int) -> JobRow:
        index = index + self._length if index < 0 else index
        if not 0 <= index < self._length:
            raise IndexError(index)
        at = bisect_right(self._positions(), index)
        return self._part(at)[index - self._begin(at)]

    def islice(self, start: int, stop: int, reverse: bool = False) -> Iterator[JobRow]:
        """The rows from one position up to before another; the last of them first where `reverse` says so."""
        positions = range(start, min(stop, self._length))
        return map(self.__getitem__, reversed(positions) if reverse else positions)

    def before(self, key: Any) -> Iterator[JobRow]:
        """The rows whose keys are less than this one, the last of them first; must not be changed meanwhile."""
        at = bisect_left(self._last_keys, key)
        if at < len(self._parts):
            part = self._part(at)
            yield from reversed(part[: bisect_left(part, key, key=self._key)])
        for each in reversed(range(at)):
            yield from reversed(self._part(each))


_HASH_MASK: Final = (1 << 64) - 1
_FEWEST_SLOTS: Final = 1024


class IdSet:
    """Names that can be added and asked for; with room for `expected` ones it need not grow, which takes long.

    Two names of one hash are taken for the same: among a million that happens once in 40 million sets.
    """

    def __init__(self, expected: int = 0) -> None:
        self._slots = _free_slots(max(_FEWEST_SLOTS, 1 << (2 * expected).bit_length()))
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def __contains__(self, name: str) -> bool:
        value = _hash(name)
        return self._slots[self._slot_of(value)] == value

    def add_all(self, names: Iterable[str]) -> list[str]:
        """Add names; return those that were not there."""
        slots, mask, new = self._slots, len(self._slots) - 1, []
        for name in names:
            value = hash(name) & _HASH_MASK or 1
            at = value & mask
            while (found := slots[at]) and found != value:
                at = (at + 1) & mask
            if not found:
                slots[at] = value
                new.append(name)
                if 2 * (self._used + len(new)) > len(slots):
                    self._grow()
                    slots, mask = self._slots, len(self._slots) - 1
        self._used += len(new)
        return new

    def _slot_of(self, value: int) -> int:
        """The slot that holds a hash, or the free one where it belongs."""
        slots, mask = self._slots, len(self._slots) - 1
        at = value & mask
        while slots[at] and slots[at] != value:
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        before, self._slots = self._slots, _free_slots(2 * len(self._slots))
        for value in before:
            if value:
                self._slots[self._slot_of(value)] = value


def _free_slots(number: int) -> "array[int]":
    return array("Q", [0]) * number


def _hash(name: str) -> int:
    return hash(name) & _HASH_MASK or 1  # 0 is a free slot
