"""Rows in the order of a key, against a plain sorted list, over the ends and splits of the lists they are kept in."""

import random
import tracemalloc

import pytest

from gnjobs.records.fields import Job
from gnjobs.watch import collections
from gnjobs.watch.collections import LONGEST_PART, KeyedRows
from gnjobs.watch.rows import JobRow, row_of

Key = tuple[float, str]


def row(number: int) -> JobRow:
    return row_of(Job(id=f"j{number}", status="success", created=float(number % 7)))


def key(of: JobRow) -> Key:
    return of.created, of.key


@pytest.mark.parametrize("seed", range(3))
def test_it_is_a_sorted_list_whatever_comes_and_goes(seed: int) -> None:
    chance = random.Random(seed)
    rows, model = KeyedRows(key), []
    # Growing beyond several lists, then shrinking to nothing, and growing again.
    for share in (0.9, 0.1, 0.6):
        for number in range(4 * LONGEST_PART):
            if chance.random() < share or not model:
                first = 10 * number + 1_000_000 * int(10 * share)
                new = [row(each) for each in range(first, first + chance.choice((1, 1, 1, 10)))]
                rows.update(new)
                model += new
            else:
                old = model.pop(chance.randrange(len(model)))
                rows.discard(old)
        model.sort(key=key)
        assert len(rows) == len(model)
        assert list(rows) == model
        assert list(reversed(rows)) == model[::-1]
        assert [rows[index] for index in range(len(model))] == model
        assert [rows.bisect_left(each) for each in model] == list(range(len(model)))
        for each in chance.sample(model, min(3, len(model))):
            assert list(rows.before(key(each))) == model[: model.index(each)][::-1]
        for start, stop in (
            (0, 3),
            (len(model) // 3, len(model) // 2),
            (max(0, len(model) - 2), len(model) + 9),
        ):
            assert list(rows.islice(start, stop)) == model[start:stop]
            assert list(rows.islice(start, stop, reverse=True)) == model[start:stop][::-1]
        chance.shuffle(model)
    for each in model:
        rows.discard(each)
    assert (len(rows), list(rows)) == (0, [])


def test_only_exactly_the_same_row_is_taken_out() -> None:
    rows = KeyedRows(key)
    rows.discard(row(1))
    rows.add(row(1))
    rows.discard(row(1))
    rows.discard(row(9))
    assert len(rows) == 1
    with pytest.raises(IndexError):
        rows[1]
    assert rows[-1] == rows[0]


def test_a_row_costs_little_more_than_a_pointer() -> None:
    every = [row(number) for number in range(20_000)]
    random.Random(1).shuffle(every)
    tracemalloc.start()
    try:
        rows = KeyedRows(key)
        for each in every:
            rows.add(each)
        here = tracemalloc.Filter(True, collections.__file__)  # other tests' threads may be at work, too
        kept = tracemalloc.take_snapshot().filter_traces([here]).statistics("filename")
        assert sum(each.size for each in kept) / len(rows) < 12
    finally:
        tracemalloc.stop()
