"""gn-uploader's jobs, which no index lists, beside millions of other keys: how soon they are seen, at what cost."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.benchmarks.measure import Measurement, median, spread
from tests.benchmarks.startup import COLUMNS, ROWS
from tests.support.command import environment
from tests.support.servers import Server, running_server
from tests.support.terminal import Terminal, gnjobs
from tests.support.uploader_double.web import create_job

JOBS = 40
FIRST_WITHIN = 2.0
LONGEST_COMMAND_MS = 20.0
FOREIGN_PER_JOB = 5
RUNS = 5
SLOW_KEPT = 100_000
_CHUNK = 5000


def populate_foreign(client: redis.Redis, count: int) -> None:
    """Write so many keys of other programs, of the kinds that share GeneNetwork's Redis."""
    for start in range(0, count, _CHUNK):
        client.mset(
            {f"session:{number:09x}:flask": "x" for number in range(start, min(count, start + _CHUNK))}
        )


def _slowest(client: redis.Redis) -> tuple[float, str]:
    """The longest command's milliseconds, and its name."""
    taken = (
        (entry["duration"] / 1000, entry["command"].split()[0].decode())
        for entry in client.slowlog_get(SLOW_KEPT)
    )
    return max(taken, default=(0.0, "none"))


def _watch_slow(client: redis.Redis) -> None:
    client.config_set("slowlog-log-slower-than", 100)
    client.config_set("slowlog-max-len", SLOW_KEPT)
    client.slowlog_reset()


def _first_seen(server: Server, label: str) -> tuple[float, float]:
    start = time.perf_counter()
    with Terminal(gnjobs(), COLUMNS, ROWS, environment(server.url)) as terminal:
        terminal.wait_for(label, 120)
        first = time.perf_counter() - start
        terminal.wait_for(lambda text: f"1 all {JOBS} " in text and "loading" not in text, 300)
        return first, time.perf_counter() - start


def _list(server: Server) -> float:
    start = time.perf_counter()
    subprocess.run(gnjobs("ls"), env=environment(server.url), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """Watch gn-uploader's jobs beside five foreign keys for each of `jobs`: 5 000 000 at a million."""
    foreign = jobs * FOREIGN_PER_JOB
    with running_server(directory) as server, server.client() as client:
        populate_foreign(client, foreign)
        for _ in range(JOBS):
            create_job(client, ["python3", "-m", "scripts.qc"], "qc-rqtl2-bundle", filename="bundle.zip")
        beside = f"beside {foreign} other keys"
        _watch_slow(client)
        seen = [_first_seen(server, "· waiting") for _ in range(RUNS)]
        for name, seconds, budget in (
            (f"first of {JOBS} uploader jobs on screen", [first for first, _ in seen], FIRST_WITHIN),
            ("all of them on screen", [whole for _, whole in seen], None),
            ("gnjobs ls", [_list(server) for _ in range(RUNS)], None),
        ):
            middle, width = median(seconds), spread(seconds)
            yield Measurement(name=f"{name} {beside}", value=middle, unit="s", spread=width, budget=budget)
        longest, command = _slowest(client)
        yield Measurement(
            name=f"longest command to Redis ({command}) {beside}",
            value=longest,
            unit="ms",
            budget=LONGEST_COMMAND_MS,
        )
