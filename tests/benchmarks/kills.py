"""Kill latency: from the request until a willing process is verified gone and the status is written."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gnjobs import JobStore, kill_job, launch
from gnjobs.records.actor import Actor
from tests.benchmarks.measure import Measurement, median, percentile, spread
from tests.support.servers import running_server
from tests.support.waiting import wait_for

KILLS = 40


def _kill_one(store: JobStore) -> float:
    job = store.create([sys.executable, "-c", "import time; time.sleep(1000)"])
    launch(job, store=store)
    wait_for(lambda: store.get(job.id).pid, 20)
    start = time.perf_counter()
    steps = list(kill_job(store, job.id, actor=Actor.admin("benchmark")))
    taken = time.perf_counter() - start
    assert steps[-1].verified, steps
    return taken


def measure(directory: Path) -> Iterator[Measurement]:
    """Kill a willing process many times."""
    with running_server(directory) as server:
        store = JobStore.from_url(server.url)
        taken = [_kill_one(store) for _ in range(KILLS)]
    yield Measurement(
        name="kill of a willing process, p50", value=median(taken), unit="s", spread=spread(taken)
    )
    yield Measurement(
        name="kill of a willing process, p99", value=percentile(taken, 99), unit="s", budget=0.05
    )
