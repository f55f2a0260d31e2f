"""Servers that die under a writing job, each losing its last second.

`python -m tests.end_to_end.lost_seconds --lines 1000000 --deaths 10` alternates the two ways to lose it: the journal is
cut between kill and start, and a replica that was detached a second ago is promoted in the place of its dead master.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import redis

from tests.end_to_end.faults import LASTING
from tests.end_to_end.journal import Journal
from tests.proxy import Proxy, running_proxy
from tests.servers import Server, free_port
from tests.supervised import KEYS, SupervisedJob
from tests.waiting import wait_for

CHILDREN = 4
LOST_SECONDS = 1.0
_NAMES = [f"steady-{number}" for number in range(CHILDREN)]


class Death(NamedTuple):
    """One death: how, and how many stored lines the server had forgotten when it was back, over all children."""

    how: str
    forgotten: int


class Outcome(NamedTuple):
    """What came of a run: lines by what became of them, statuses of job and children, seconds that it took."""

    deaths: list[Death]
    written: int
    lost: int
    twice: int
    statuses: list[str | None]
    took: float

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, nothing doubled, and everything ended well."""
        forgot = all(death.forgotten > 0 for death in self.deaths)
        return not self.lost and not self.twice and set(self.statuses) == {"success"} and forgot

    def __str__(self) -> str:
        deaths = "\n".join(f"  {death.how:<10} forgot {death.forgotten} lines" for death in self.deaths)
        return (
            f"{len(self.deaths)} deaths\n{deaths}\nlines written {self.written}, lost {self.lost}, twice {self.twice}"
            f"\nstatuses {self.statuses}, took {self.took:.0f} s"
        )


class Pair:
    """A master behind a proxy, and a replica that can take its place."""

    def __init__(self, place: Path) -> None:
        options = (*LASTING, "--repl-diskless-sync-delay", "0")
        self.master = Server(place / "a", options=options)
        self.replica = Server(place / "b", options=options)
        self.journals = {id(each): Journal(each) for each in (self.master, self.replica)}

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """Run both for the time of a with block, and a proxy to whichever is the master."""
        with contextlib.ExitStack() as stack:
            for server in (self.master, self.replica):
                stack.callback(server.stop)
                server.start()
                stack.enter_context(self.journals[id(server)])
            self.follow()
            yield stack.enter_context(running_proxy(self.master.port))

    def follow(self) -> None:
        """Make the replica one, and wait until it is."""
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", str(self.master.port))
            wait_for(lambda: client.info("replication").get("master_link_status") == "up", 30, "the replica")

    def die(self, proxy: Proxy, how: str, job_id: str) -> Death:
        """Let the master die and come back, its last second lost."""
        if how == "replica":
            with self.replica.client() as client:
                client.replicaof("no", "one")
            time.sleep(LOST_SECONDS)  # what is written meanwhile is what gets lost
        before = self._last_lines(self.master, job_id)
        if how == "replica":
            self.master.kill()
            proxy.target = free_port()
            self.master, self.replica = self.replica, self.master
        else:
            proxy.target = free_port()
            self.journals[id(self.master)].lose(LOST_SECONDS)
            self.master.start()
        death = Death(how, before - self._last_lines(self.master, job_id))
        proxy.target = self.master.port
        proxy.cut()
        if how == "replica":
            self.replica.start()
        self.follow()
        return death

    @staticmethod
    def _last_lines(server: Server, job_id: str) -> int:
        """The sum of the numbers of the last lines of all children."""
        with server.client() as client:
            return sum(_last_line(client, KEYS.child_output(job_id, name)) for name in _NAMES)


def _last_line(client: redis.Redis, key: str) -> int:
    newest = client.xrevrange(key, count=1)
    return int(newest[0][0].split(b"-")[0]) if newest else 0


def lose_seconds(place: Path, lines: int, hows: list[str], rate: float) -> Outcome:
    """Let a job write `lines` from four children, each `rate` a second, while its server dies so often."""
    began, pair, deaths = time.monotonic(), Pair(place), []
    with pair.running() as proxy:
        command = [
            sys.executable,
            "-m",
            "tests.end_to_end.jobs.steady",
            str(CHILDREN),
            str(lines // CHILDREN),
        ]
        job = SupervisedJob(pair.master, [*command, str(rate)])
        job.url = proxy.url
        try:
            job.supervise()
            for number, how in enumerate(hows, 1):
                due = lines * number // (len(hows) + 1)
                wait_for(lambda due=due: pair._last_lines(pair.master, job.id) >= due, 600, f"line {due}")
                deaths.append(pair.die(proxy, how, job.id))
            job.client.close()
            job.client = pair.master.client(socket_timeout=5.0)
            done = job.wait_for(limit=600)
            statuses = [done.status, *(job.child(name).status for name in _NAMES)]
            counts = [
                _count(job.client, KEYS.child_output(job.id, name), lines // CHILDREN) for name in _NAMES
            ]
        finally:
            job.end()
    lost, twice = sum(count[0] for count in counts), sum(count[1] for count in counts)
    return Outcome(deaths, lines, lost, twice, statuses, time.monotonic() - began)


def _count(client: redis.Redis, key: str, lines: int) -> tuple[int, int]:
    """How many lines an output lacks, and how many it has twice or in a wrong order."""
    numbers: list[int] = []
    for entry_id, fields in client.xrange(key):
        numbers += [json.loads(line)["number"] for line in fields[b"data"].split(b"\n")]
        if int(entry_id.split(b"-")[0]) != len(numbers):
            return lines, 0
    found = set(numbers)
    out_of_order = numbers != sorted(numbers)
    return lines - len(found), len(numbers) - len(found) + out_of_order


def main() -> int:
    """Run it at the size that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--deaths", type=int, default=10)
    parser.add_argument("--rate", type=float, default=5000.0, help="lines a second of each child")
    chosen = parser.parse_args()
    hows = [("journal", "replica")[number % 2] for number in range(chosen.deaths)]
    with tempfile.TemporaryDirectory() as directory:
        outcome = lose_seconds(Path(directory), chosen.lines, hows, chosen.rate)
    print(outcome)
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
