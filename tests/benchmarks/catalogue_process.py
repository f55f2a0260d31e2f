"""A process of its own that loads everything, by a watcher or by raw HMGET: `catalogue_process.py watcher|raw URL`."""

import queue
import sys
import time

import msgspec
import psutil

from gnjobs.catalogue import Catalogue
from gnjobs.changes import Change
from gnjobs.connections import connect
from gnjobs.filters import parse_filter
from gnjobs.judging import Judge
from gnjobs.keys import Keys
from gnjobs.row_reader import ROW_FIELDS
from gnjobs.watching import Watcher

_CHUNK = 500


class Loaded(msgspec.Struct):
    """What a load took: seconds, bytes of the whole process, and the longest that the screen's thread was kept."""

    jobs: int
    seconds: float
    first_rows: float = 0.0
    rss: int = 0
    longest_apply: float = 0.0
    filter_seconds: float = 0.0
    longest_step: float = 0.0


def load_raw(url: str) -> Loaded:
    """Read the same fields of the same jobs, and do nothing with them."""
    start = time.perf_counter()
    with connect(url) as client:
        keys = Keys()
        ids = [member.decode() for member in client.zrevrange(keys.jobs, 0, -1)]
        for first in range(0, len(ids), _CHUNK):
            pipe = client.pipeline(transaction=False)
            for job_id in ids[first : first + _CHUNK]:
                pipe.hmget(keys.job(job_id), ROW_FIELDS)
            pipe.execute()
    return Loaded(len(ids), time.perf_counter() - start)


def load_by_watcher(url: str) -> Loaded:
    """Load into a catalogue as the dashboard does, then filter all of it."""
    changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
    watcher = Watcher(url, changes.put)
    catalogue = Catalogue(Judge(), watcher.now)
    start = time.perf_counter()
    watcher.start()
    progress, first_rows, longest = 0.0, 0.0, 0.0
    while progress < 1.0:
        change = changes.get()
        began = time.perf_counter()
        catalogue.apply(change)
        longest = max(longest, time.perf_counter() - began)
        first_rows = first_rows or (time.perf_counter() - start if change.rows else 0.0)
        progress = change.progress if change.progress is not None else progress
    seconds = time.perf_counter() - start
    rss = psutil.Process().memory_info().rss
    filter_seconds, longest_step = _filter(catalogue)
    watcher.stop()
    return Loaded(len(catalogue), seconds, first_rows, rss, longest, filter_seconds, longest_step)


def _filter(catalogue: Catalogue) -> tuple[float, float]:
    start, longest = time.perf_counter(), 0.0
    catalogue.listing(filter=parse_filter("file 7 -state:killed"))
    more = True
    while more:
        began = time.perf_counter()
        more = catalogue.work(0.005)
        longest = max(longest, time.perf_counter() - began)
    return time.perf_counter() - start, longest


if __name__ == "__main__":
    load = load_raw if sys.argv[1] == "raw" else load_by_watcher
    sys.stdout.write(msgspec.json.encode(load(sys.argv[2])).decode())
