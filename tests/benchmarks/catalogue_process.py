"""A process of its own that loads everything, by a watcher or by raw HMGET: `catalogue_process.py watcher|raw URL`."""

import queue
import resource
import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec
import psutil

from gnjobs.records.connection import connect
from gnjobs.records.keys import Keys
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.filters import parse_filter
from gnjobs.watch.judge import Judge
from gnjobs.watch.listing import Sort
from gnjobs.watch.rows import Change
from gnjobs.watch.watcher import Watcher

_CHUNK = 500
# The floor: ten fields of a list.
_TEN_FIELDS = (
    "status", "job-type", "user-id", "label", "created", "started", "finished", "percent", "host", "message",
)  # fmt: skip
# One whose values come in no order, one that every row has to compute, one of few values.
_SORTS = (Sort("id"), Sort("run", descending=True), Sort("user"))


class Loaded(msgspec.Struct):
    """What a load took: seconds, bytes of the whole process, and the longest that the screen's thread was kept.

    `peak` is the most memory that the process ever had, after sorting by columns and reading everything anew.
    """

    jobs: int
    seconds: float
    first_rows: float = 0.0
    rss: int = 0
    longest_apply: float = 0.0
    filter_seconds: float = 0.0
    longest_step: float = 0.0
    sort_seconds: float = 0.0
    peak: int = 0


def load_raw(url: str) -> Loaded:
    """Read ten fields of the same jobs, by commands put together before, and do nothing with the replies."""
    with connect(url) as client:
        connection = client.connection_pool.get_connection()
        commands = [
            connection.pack_command("HMGET", Keys().job(member.decode()), *_TEN_FIELDS)
            for member in client.zrevrange(Keys().jobs, 0, -1)
        ]
        portions = [
            b"".join(chain.from_iterable(commands[first : first + _CHUNK]))
            for first in range(0, len(commands), _CHUNK)
        ]
        start = time.perf_counter()
        for first, portion in enumerate(portions):
            connection.send_packed_command([portion], check_health=False)
            for _ in commands[first * _CHUNK : (first + 1) * _CHUNK]:
                connection.read_response()
        return Loaded(len(commands), time.perf_counter() - start)


def load_by_watcher(url: str) -> Loaded:
    """Load into a catalogue as the dashboard does, then filter all of it."""
    changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
    watcher = Watcher(url, changes.put)
    catalogue = Catalogue(Judge(), watcher.now)
    start = time.perf_counter()
    watcher.start()
    first_rows, longest = 0.0, 0.0
    for change in _until_loaded(changes):
        began = time.perf_counter()
        catalogue.apply(change)
        longest = max(longest, time.perf_counter() - began)
        first_rows = first_rows or (time.perf_counter() - start if change.rows else 0.0)
    seconds = time.perf_counter() - start
    rss = psutil.Process().memory_info().rss
    filter_seconds, longest_step = _fill(catalogue, filter=parse_filter("file 7 -state:killed"))
    sort_seconds = max(_fill(catalogue, sort=sort)[0] for sort in _SORTS)
    _reload(watcher, catalogue, changes)
    watcher.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Loaded(
        jobs=len(catalogue),
        seconds=seconds,
        first_rows=first_rows,
        rss=rss,
        longest_apply=longest,
        filter_seconds=filter_seconds,
        longest_step=longest_step,
        sort_seconds=sort_seconds,
        peak=peak,
    )


def _until_loaded(changes: "queue.SimpleQueue[Change]") -> Iterator[Change]:
    progress = 0.0
    while progress < 1.0:
        change = changes.get()
        yield change
        progress = change.progress if change.progress is not None else progress


def _reload(watcher: Watcher, catalogue: Catalogue, changes: "queue.SimpleQueue[Change]") -> None:
    """Read everything anew while a sorted list is open."""
    catalogue.listing(sort=_SORTS[0])
    while catalogue.work(1.0):
        pass
    watcher.refresh()
    for change in _until_loaded(changes):
        catalogue.apply(change)
    while catalogue.work(1.0):
        pass


def _fill(catalogue: Catalogue, **options: Any) -> tuple[float, float]:
    """Seconds to fill a list, and the longest that one slice of it took."""
    start, longest = time.perf_counter(), 0.0
    listing = catalogue.listing(**options)
    more = True
    while more:
        began = time.perf_counter()
        more = catalogue.work(0.005)
        longest = max(longest, time.perf_counter() - began)
    catalogue.close(listing)
    return time.perf_counter() - start, longest


if __name__ == "__main__":
    load = load_raw if sys.argv[1] == "raw" else load_by_watcher
    sys.stdout.write(msgspec.json.encode(load(sys.argv[2])).decode())
