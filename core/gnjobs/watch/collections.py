"""Rows in the order of a key that is never kept, so that sorting a million of them costs a pointer for each."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, chain
from typing import Any, Final

from gnjobs.watch.rows import JobRow

Key = Callable[[JobRow], Any]

LONGEST_PART: Final = 500


class KeyedRows:
    """Rows in short lists, one after the other; no two rows may have the same key.

    A change computes the keys of about ten rows and moves the pointers of one short list. It has what is used of a
    `SortedKeyList`, which keeps a key for each row: more memory than the rows that it sorts.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._parts: list[list[JobRow]] = []
        self._last_keys: list[Any] = []
        self._ends: list[int] | None = None
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[JobRow]:
        return chain.from_iterable(self._parts)

    def __reversed__(self) -> Iterator[JobRow]:
        return chain.from_iterable(map(reversed, reversed(self._parts)))

    def add(self, row: JobRow) -> None:
        """Put a row where it belongs."""
        key = self._key(row)
        at = bisect_left(self._last_keys, key)
        if at < len(self._parts):
            part = self._parts[at]
            part.insert(bisect_left(part, key, key=self._key), row)
        elif self._parts:
            at -= 1
            self._parts[at].append(row)
            self._last_keys[at] = key
        else:
            self._parts.append([row])
            self._last_keys.append(key)
        self._split_if_long(at)
        self._length += 1
        self._ends = None

    def _split_if_long(self, at: int) -> None:
        part = self._parts[at]
        if len(part) > LONGEST_PART:
            half = len(part) // 2
            self._parts[at : at + 1] = [part[:half], part[half:]]
            self._last_keys.insert(at, self._key(part[half - 1]))

    def discard(self, row: JobRow) -> None:
        """Take out exactly this row, if it is there."""
        at, index = self._place(row)
        if at == len(self._parts) or self._parts[at][index] is not row:
            return
        part = self._parts[at]
        del part[index]
        if not part:
            del self._parts[at], self._last_keys[at]
        elif index == len(part):
            self._last_keys[at] = self._key(part[-1])
        self._length -= 1
        self._ends = None

    def _place(self, row: JobRow) -> tuple[int, int]:
        """Where a row is, or would be: the number of the list, and the index in it."""
        key = self._key(row)
        at = bisect_left(self._last_keys, key)
        return at, bisect_left(self._parts[at], key, key=self._key) if at < len(self._parts) else 0

    def bisect_left(self, row: JobRow) -> int:
        """The position of a row, or the one that it would have."""
        at, index = self._place(row)
        return self._begin(at) + index

    def _begin(self, at: int) -> int:
        return self._positions()[at - 1] if at else 0

    def _positions(self) -> list[int]:
        """How many rows there are up to the end of each list."""
        if self._ends is None:
            self._ends = list(accumulate(map(len, self._parts)))
        return self._ends

    def __getitem__(self, index: int) -> JobRow:
        index = index + self._length if index < 0 else index
        if not 0 <= index < self._length:
            raise IndexError(index)
        at = bisect_right(self._positions(), index)
        return self._parts[at][index - self._begin(at)]

    def islice(self, start: int, stop: int, reverse: bool = False) -> Iterator[JobRow]:
        """The rows from one position up to before another; the last of them first where `reverse` says so."""
        positions = range(start, min(stop, self._length))
        return map(self.__getitem__, reversed(positions) if reverse else positions)


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

    def add(self, name: str) -> bool:
        """Add a name; False where it was there already."""
        value = _hash(name)
        at = self._slot_of(value)
        if self._slots[at]:
            return False
        self._slots[at] = value
        self._used += 1
        if 2 * self._used > len(self._slots):
            self._grow()
        return True

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
