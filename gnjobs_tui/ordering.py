"""Puts rows into the order of what they hold in one column, however many they are."""

from collections.abc import Sequence
from heapq import merge
from typing import Any

_CHUNK = 5000


def in_order(values: Sequence[Any], *, descending: bool) -> list[int]:
    """The positions of values that can be compared; None comes last, and equal ones stay as they are.

    They are sorted a few at a time, so that other threads get their turn meanwhile.
    """
    known = [place for place, value in enumerate(values) if value is not None]
    of = values.__getitem__
    chunks = [
        sorted(known[start : start + _CHUNK], key=of, reverse=descending)
        for start in range(0, len(known), _CHUNK)
    ]
    found = chunks[0] if len(chunks) == 1 else merge(*chunks, key=of, reverse=descending)
    return [*found, *(place for place, value in enumerate(values) if value is None)]
