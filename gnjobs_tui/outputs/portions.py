"""Reads portions of an output around a line, bounded in lines and in bytes, with every hole whole."""

from collections.abc import Iterator

from gnjobs.outputs.lines import Hole, Line
from gnjobs.outputs.reader import OutputReader
from gnjobs_tui.outputs.pager import Need
from gnjobs_tui.outputs.seen import Item, first_of, last_of, see

# Lines may be a megabyte long: few are asked for until it is known that they are short.
FIRST_ASKED = 16
MOST_ASKED = 5000
LARGEST_PORTION = 8_000_000


def read_after(reader: OutputReader, after: int, count: int) -> list[Item]:
    """Read about `count` lines that follow a line, fewer where they are very long."""
    found: list[Item] = []
    ask, size = FIRST_ASKED, 0
    while len(found) < count and size < LARGEST_PORTION:
        stored = reader.read(after + 1, min(ask, count - len(found)))
        if not stored:
            break
        found += [see(item) for item in stored]
        size += _size(stored)
        after, ask = last_of(found[-1]), ask * 8
    return found


def read_before(reader: OutputReader, before: int, count: int) -> list[Item]:
    """Read about `count` lines that precede a line, in their order, fewer where they are very long."""
    found: list[Item] = []
    ask, size = FIRST_ASKED, 0
    while len(found) < count and size < LARGEST_PORTION and before > 1:
        start = max(1, before - min(ask, count - len(found)))
        stored = _until(reader.read(start, before - start), before)
        if not stored:
            break
        stored = _whole_first_hole(reader, stored, start)
        found = [see(item) for item in stored] + found
        size += _size(stored)
        before, ask = first_of(found[0]), ask * 8
    return found


def read_around(reader: OutputReader, number: int, count: int) -> list[Item]:
    """Read about `count` lines, half of them before line `number`."""
    after = read_after(reader, number - 1, count - count // 2)
    if after and isinstance(after[0], Hole):
        after[0] = Hole(_begin_of(reader, number), after[0].last)
    return read_before(reader, first_of(after[0]) if after else number, count // 2) + after


def read_need(reader: OutputReader, need: Need, count: int) -> list[Item]:
    """Read what a pager needs."""
    read = {"before": read_before, "after": read_after, "around": read_around}[need.direction]
    return read(reader, need.number, count)


def all_after(reader: OutputReader, first: int, last: int) -> Iterator[list[Line | Hole]]:
    """Go through the stored lines from `first` to `last`, in portions of a bounded size."""
    ask = FIRST_ASKED
    while first <= last:
        stored = _until(reader.read(first, min(ask, last - first + 1)), last + 1)
        if not stored:
            return
        yield stored
        first, ask = _number_after(stored[-1]), _next_ask(stored)


def _number_after(item: Line | Hole) -> int:
    return (item.last if isinstance(item, Hole) else item.number) + 1


def _next_ask(items: list[Line | Hole]) -> int:
    average = _size(items) // max(1, len(items)) + 1
    return max(1, min(MOST_ASKED, LARGEST_PORTION // average))


def _until(items: list[Line | Hole], before: int) -> list[Line | Hole]:
    """Leave out what does not precede a line; holes are not counted in what is read."""
    kept: list[Line | Hole] = []
    for item in items:
        if isinstance(item, Hole):
            kept.append(Hole(item.first, min(item.last, before - 1)))
            if item.last >= before - 1:
                break
        elif item.number >= before:
            break
        else:
            kept.append(item)
    return kept


def _whole_first_hole(reader: OutputReader, items: list[Line | Hole], start: int) -> list[Line | Hole]:
    first = items[0]
    if not isinstance(first, Hole) or start <= 1:
        return items
    return [Hole(_begin_of(reader, start), first.last), *items[1:]]


def _begin_of(reader: OutputReader, inside: int) -> int:
    """Find where a hole begins that is known from its line `inside` on, by halving."""
    low, high = 1, inside
    while low < high:
        middle = (low + high) // 2
        found = reader.read(middle, 1)
        if found and isinstance(found[0], Hole) and found[0].last >= inside:
            high = middle
        else:
            low = middle + 1
    return low


def _size(items: list[Line | Hole]) -> int:
    return sum(len(item.text) for item in items if isinstance(item, Line))
