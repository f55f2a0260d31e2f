"""Many jobs sent to a Slurm cluster at once: `python -m tests.end_to_end.slurm_many --jobs 500`.

Slurm runs what fits, records and dashboard say of the others why they wait, and all end as success, on the screen too;
else it exits with 1.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from gnjobs import JobStore, launch
from tests.support.agents import agent_at_work
from tests.support.command import environment
from tests.support.servers import running_server
from tests.support.slurm import running_cluster, why_no_slurm
from tests.support.terminal import Terminal, gnjobs


def main() -> int:
    """Run it; returns an exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--limit", type=float, default=1800.0)
    options = parser.parse_args()
    if missing := why_no_slurm():
        sys.exit(missing)
    with (
        tempfile.TemporaryDirectory() as place,
        running_server(Path(place)) as server,
        running_cluster() as cluster,
    ):
        os.environ.update(cluster.environment)
        store = JobStore.from_url(server.url)
        with agent_at_work(store), Terminal(gnjobs(), 160, 50, environment(server.url)) as terminal:
            return _run(store, terminal, options.jobs, options.limit)


def found_ids(store: JobStore, count: int) -> list[str]:
    """The ids of all jobs in Slurm."""
    return [job.slurm_job for job in store.page(count=count).jobs if job.slurm_job]


def _run(store: JobStore, terminal: Terminal, count: int, limit: float) -> int:
    began = time.monotonic()
    for number in range(count):
        job = store.create(["sleep", "0.2"], label=f"job {number}")
        launch(job, via="slurm", store=store, options=["--mem=100M", "--hold"])
    subprocess.run(["scontrol", "release", *found_ids(store, count)], check=True)  # all of them at one moment
    print(f"{count} jobs submitted and released in {time.monotonic() - began:.0f} s", flush=True)
    most_running, reasons, on_screen = 0, Counter[str](), Counter[str]()
    while True:
        page = store.page(count=count)
        found = Counter(job.status for job in page.jobs)
        most_running = max(most_running, found["running"])
        seen = Counter(job.queue_reason or "?" for job in page.jobs if job.status == "pending")
        reasons |= seen
        on_screen |= Counter(re.findall(r"· waiting .* Slurm: (\w+)", terminal.text))
        if sum(number for status, number in found.items() if status not in ("pending", "running")) == count:
            break
        if time.monotonic() - began > limit:
            break
        time.sleep(1)
    unnamed = sum(number for reason, number in seen.items() if reason == "?")
    print(
        f"after {time.monotonic() - began:.0f} s: {dict(found)}; at most {most_running} at once; {unnamed} unexplained"
    )
    print(f"most that waited, by reason: {dict(reasons)}")
    print(f"most rows on the screen that said why they wait: {dict(on_screen)}")
    screen = terminal.wait_for(f"6 done {count}")
    print(screen.splitlines()[1])
    return 0 if found == {"success": count} and on_screen else 1


if __name__ == "__main__":
    sys.exit(main())
