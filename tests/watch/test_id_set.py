"""A set of names that keeps only their hashes."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from gnjobs.watch import collections
from gnjobs.watch.collections import IdSet


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)), st.integers(0, 5000))
def test_it_holds_what_was_added_and_nothing_else(added: list[str], asked: list[str], expected: int) -> None:
    names, model = IdSet(expected), set[str]()
    for portion in (added[::2], added[1::2]):
        assert names.add_all(portion) == [name for name in dict.fromkeys(portion) if name not in model]
        model.update(portion)
    assert len(names) == len(model)
    assert [name in names for name in added + asked] == [name in model for name in added + asked]


def test_it_grows_and_stays_small() -> None:
    number = 20_000
    tracemalloc.start()
    try:
        names = IdSet()
        assert len(names.add_all(f"job-{each}" for each in range(number))) == number
        here = tracemalloc.Filter(True, collections.__file__)  # other tests' threads may be at work, too
        kept = tracemalloc.take_snapshot().filter_traces([here]).statistics("filename")
        assert sum(each.size for each in kept) / number < 33
    finally:
        tracemalloc.stop()
    assert len(names) == number
    assert all(f"job-{each}" in names for each in range(number))
    assert not any(f"no-{each}" in names for each in range(number))
