"""A job of 40 children on two Slurm nodes, and what may befall it: `python -m tests.end_to_end.slurm_faults`.

Each round prints what became of it in the sentence that the job's screen says, and checks statuses, lines and
processes; the exit code is 1 where one is wrong. Rounds: a child is killed while Redis restarts and a slurmd dies and
comes back; the time limit; `scancel`; a node that dies.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from gnjobs import JobStore, kill_job, launch
from gnjobs.health.assess import assess
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.statuses import FINAL_STATUSES
from tests.support.agents import agent_at_work
from tests.support.servers import BINARIES, SYNCED, Server, running_server
from tests.support.slurm import Cluster, running_cluster, why_no_slurm
from tests.support.waiting import wait_for

CHILDREN = 40
LINES = 100
ADMIN = Actor.admin("tux")
PLACED = [sys.executable, "-m", "tests.end_to_end.jobs.placed"]


class Round:
    """One job and what is done to it."""

    def __init__(
        self, store: JobStore, server: Server, cluster: Cluster, seconds: float, *options: str
    ) -> None:
        self.store, self.server, self.cluster = store, server, cluster
        names = [f"sleeps-{seconds:g}-{number}" for number in range(CHILDREN)]
        self.id = store.create([*PLACED, *names]).id
        job = store.get(self.id)
        launch(
            job, via="slurm", store=store, options=["-N2", "-n16", "--mem=3200M", "--time=1:00:00", *options]
        )
        wait_for(lambda: self.counts()["running"] >= 8, 300, "children at work on both nodes")

    @property
    def job(self) -> Job:
        return self.store.get(self.id)

    def counts(self) -> Counter[str]:
        return Counter(child.status or "?" for child in self.store.all_children(self.id))

    def end(self, limit: float = 400.0) -> Job:
        wait_for(lambda: self.job.status in FINAL_STATUSES, limit, "an end")
        return self.job

    def kill_a_child(self) -> None:
        child = next(child for child in self.store.all_children(self.id) if child.status == "running")
        assert list(kill_job(self.store, self.id, child.id, actor=ADMIN, reason="one of many"))[-1].verified

    def restart_redis(self) -> None:
        self.server.kill()
        time.sleep(1)
        self.server.start()

    def restart_slurmd(self) -> None:
        """The daemon alone dies, and its jobs go on without it; it comes back before anybody minds."""
        self.cluster.restart_slurmd("n2")

    def update_limit(self) -> None:
        self.cluster.run("scontrol", "update", f"JobId={self.job.slurm_job}", "TimeLimit=0")

    def scancel(self) -> None:
        self.cluster.run("scancel", self.job.slurm_job or "")

    def problems(self, status: str, children: dict[str, int]) -> Iterator[str]:
        """What is not as it must be."""
        job = self.end()
        if job.status != status:
            yield f"it is {job.status}, not {status}"
        found = self.counts()
        for name, least in children.items():
            if found[name] < least:
                yield f"{found[name]} children are {name}, not {least}"
        if set(found) & {"pending", "running", "stopping", "?"}:
            yield f"children never ended: {dict(found)}"
        for child in self.store.all_children(self.id):
            lines = [
                line.text for line in self.store.output(self.id, child.id).tail(1000) if line.kind == "log"
            ]
            if len(set(lines)) != len(lines):
                yield f"{child.id} has lines twice"
            if child.status == "success" and len(lines) != LINES:
                yield f"{child.id} has {len(lines)} lines"
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.left(), 60)
        if left := self.left():
            yield f"{len(left)} processes are left: {left[:3]}"

    def left(self) -> list[list[str]]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("GNJOBS_JOB_ID") == self.id:
                    found.append(process.cmdline())
        return found


def faults(
    store: JobStore, server: Server, cluster: Cluster
) -> dict[str, Callable[[], tuple[Round, list[str]]]]:
    """The rounds by name."""

    def child_redis_slurmd() -> tuple[Round, list[str]]:
        each = Round(store, server, cluster, 6)
        each.kill_a_child()
        each.restart_redis()
        each.restart_slurmd()
        return each, list(each.problems("error", {"killed": 1, "success": CHILDREN - 1}))

    def ended_by(act: Callable[[Round], None]) -> Callable[[], tuple[Round, list[str]]]:
        def run() -> tuple[Round, list[str]]:
            each = Round(store, server, cluster, 60)
            act(each)
            return each, list(each.problems("killed", {"killed": CHILDREN}))

        return run

    def dead_node() -> tuple[Round, list[str]]:
        each = Round(store, server, cluster, 60)
        cluster.kill_node(each.job.host or "n1")
        return each, list(each.problems("lost", {"lost": CHILDREN}))

    return {
        "a child killed, Redis restarted, a slurmd killed": child_redis_slurmd,
        "time limit": ended_by(Round.update_limit),
        "scancel": ended_by(Round.scancel),
        "a node that dies": dead_node,
    }


def main() -> int:
    """Run the rounds; returns an exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="Only rounds whose name holds this.")
    wanted = parser.parse_args().only
    if missing := why_no_slurm():
        sys.exit(missing)
    found = []
    with (
        tempfile.TemporaryDirectory() as place,
        running_server(Path(place), BINARIES["valkey"], *SYNCED) as server,
    ):
        store = JobStore.from_url(server.url)
        for name in faults(store, server, None):  # type: ignore[arg-type]
            if wanted in name:
                with running_cluster(node_timeout=20) as cluster, agent_at_work(store):
                    os.environ.update(cluster.environment)
                    began = time.monotonic()
                    each, problems = faults(store, server, cluster)[name]()
                    said = "; ".join(assess(each.job, now=store.now()).evidence)
                    print(
                        f"{name}: {each.job.status} after {time.monotonic() - began:.0f} s: {said}",
                        flush=True,
                    )
                    print(f"   children {dict(each.counts())}, problems {problems or 'none'}", flush=True)
                    found += problems
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
