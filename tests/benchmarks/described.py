"""Jobs of other programs beside ten times as many of gnjobs: what they cost a start, with and without them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import redis

from gnjobs.records.connection import connect
from gnjobs.records.keys import Keys
from tests.benchmarks.measure import Measurement, percentile, spread, times_of
from tests.benchmarks.screen import A_MILLION, PRESSES, Screen
from tests.benchmarks.startup import (
    COLUMNS,
    FEWEST_LOADING,
    KEY_LOADING,
    ROWS,
    keys_while_loading,
    seconds_until,
)
from tests.support import genenetwork_double as double
from tests.support.command import environment
from tests.support.population import populate
from tests.support.recording import Recording
from tests.support.servers import running_server
from tests.support.terminal import gnjobs

PREFIXES = ("gn-uploader", "gn2", "cmd", "GN_AUTH::JOBS")
SHARE = 10
KEY_PRESS = "key press shown, p99"
MEMORY = "memory (GB)"
_CHUNK = 1000
_RUNS = 3


def populate_described(client: redis.Redis, count: int) -> None:
    """Write so many jobs of GN2, commands of GN3 and jobs of gn-auth, most of which have ended."""
    for start in range(0, count, _CHUNK):
        pipe = client.pipeline(transaction=False)
        for number in range(start, min(count, start + _CHUNK)):
            if number % 3 == 0:
                double.gn2_ended(pipe, number % 2, "{}")
            elif number % 3 == 1:
                double.gn3_command(pipe, f"gemma -g {number}", "jane@uthsc.edu", status="success", result="x")
            else:
                double.json_job(pipe, "GN_AUTH::JOBS", status="completed")
        pipe.execute()


def loaded(url: str, variables: dict[str, str], jobs: int) -> dict[str, list[float]]:
    """Start the dashboard: when all jobs are there, how long keys take then, how much memory and CPU it has used.

    CPU is what can be compared on a machine that does other things, too.
    """
    start = time.perf_counter()
    with Recording(gnjobs(), COLUMNS, ROWS, variables) as terminal, connect(url) as client:
        terminal.wait_for(lambda text: f"all {jobs}" in text and "loading" not in text, 600)
        taken = time.perf_counter() - start
        screen = Screen(terminal, client, url)
        used = screen.cpu_seconds()
        terminal.wait_until_quiet()
        own = min(PRESSES, client.zcard(Keys().unfinished) - 1)  # below them described ones come first
        return {
            "all jobs on screen": [taken],
            "CPU until then": [used],
            KEY_PRESS: [percentile(screen.key_presses(own), 99)],
            MEMORY: [screen.process.memory_info().rss / 1e9],
        }


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """Starting, listing, loading and keys, with and without described jobs beside."""
    with running_server(directory) as server:
        newest = populate(server, jobs)
        variables = environment(server.url) | {"GNJOBS_PREFIX": " ".join(PREFIXES)}
        listing = gnjobs("ls", "--limit", "50")

        def taken(total: int) -> dict[str, list[float]]:
            found = {
                "newest jobs on screen": [seconds_until(gnjobs(), variables, newest) for _ in range(_RUNS)],
                "gnjobs ls": times_of(
                    lambda: subprocess.run(listing, env=variables, stdout=subprocess.DEVNULL, check=True),
                    _RUNS,
                ),
            } | loaded(server.url, variables, total)
            if jobs >= FEWEST_LOADING:
                found[KEY_LOADING] = [keys_while_loading(server.url, variables, newest)]
            return found

        without = taken(jobs)
        populate_described(server.client(), jobs // SHARE)
        # What a described job says has to be translated; what is felt has a budget of its own, whatever is beside.
        budgets = dict.fromkeys(("all jobs on screen", "CPU until then"), 1.0 + 3 / SHARE)
        felt = {KEY_PRESS: 0.05, KEY_LOADING: 0.05} | ({MEMORY: 0.6} if jobs >= A_MILLION else {})
        for name in felt.keys() & without.keys() - {MEMORY}:
            yield Measurement(name=f"{name}, N = {jobs}", value=median(without[name]), unit="s", budget=0.05)
        for name, found in taken(jobs + jobs // SHARE).items():
            yield Measurement(
                name=f"{name}, N = {jobs} and {jobs // SHARE} described",
                value=median(found),
                unit="s",
                spread=spread(found),
                reference_name="without the described",
                reference=None if name in felt else median(without[name]),
                budget=felt.get(name) or budgets.get(name, 1.1),
            )
