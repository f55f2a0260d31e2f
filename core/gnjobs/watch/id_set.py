"""A set of very many names that takes about 16 bytes for each, since it keeps nothing but their hashes."""

from array import array
from typing import Final

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
