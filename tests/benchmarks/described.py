"""Jobs of other programs beside ten times as many of gnjobs: what they cost a start, with and without them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import redis

from tests.benchmarks.measure import Measurement, spread, times_of
from tests.benchmarks.startup import seconds_until
from tests.support import genenetwork_double as double
from tests.support.command import environment
from tests.support.population import populate
from tests.support.servers import running_server
from tests.support.terminal import gnjobs

PREFIXES = ("gn-uploader", "gn2", "cmd", "GN_AUTH::JOBS")
SHARE = 10
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


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """The newest jobs on screen, and `gnjobs ls --limit 50`, with and without described jobs beside them."""
    with running_server(directory) as server:
        newest = populate(server, jobs)
        variables = environment(server.url) | {"GNJOBS_PREFIX": " ".join(PREFIXES)}
        listing = gnjobs("ls", "--limit", "50")

        def taken() -> dict[str, list[float]]:
            return {
                "newest jobs on screen": [seconds_until(gnjobs(), variables, newest) for _ in range(_RUNS)],
                "gnjobs ls": times_of(
                    lambda: subprocess.run(listing, env=variables, stdout=subprocess.DEVNULL, check=True),
                    _RUNS,
                ),
            }

        without = taken()
        populate_described(server.client(), jobs // SHARE)
        for name, found in taken().items():
            yield Measurement(
                name=f"{name}, N = {jobs} and {jobs // SHARE} described",
                value=median(found),
                unit="s",
                spread=spread(found),
                reference_name="without the described",
                reference=median(without[name]),
                budget=1.1,
            )
