"""Servers that die and lose their last second, under a job whose children write without a pause.

By hand: `python -m tests.end_to_end.lost_seconds [--deaths 10] [--lines 1000000] [--kind journal|replica]`.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import redis

from tests.end_to_end.jobs.numbered import command
from tests.end_to_end.journal import Journal
from tests.end_to_end.ledger import Ledger
from tests.support.faults import LASTING
from tests.support.proxy import Proxy, running_proxy
from tests.support.servers import BINARIES, Server
from tests.support.supervised import KEYS, SupervisedJob
from tests.support.waiting import wait_for

NEVER_REWRITTEN = (*LASTING, "--auto-aof-rewrite-percentage", "0")
LOST = 1.0
# What a journal that is put on disk every second may lack: a write that takes long puts it off.
LOST_FROM_JOURNAL = 1.5
SEED = 1


class Dying(Protocol):
    """A server, seen by its clients under one address, that can die and come back without its last second."""

    url: str

    def client(self, **options: Any) -> redis.Redis:
        """A plain client."""
        ...

    def die(self) -> int:
        """Die, come back; returns how many bytes were lost."""
        ...


class JournalLoser:
    """One server whose journal is cut between its death and its start."""

    def __init__(self, directory: Path, binary: str) -> None:
        self.server = Server(directory, binary, NEVER_REWRITTEN).start()
        self.url = self.server.url
        self.client = self.server.client
        self._journal = Journal(self.server)
        self._journal.start()

    def die(self) -> int:
        """Lose what came last."""
        lost = self._journal.lose(LOST_FROM_JOURNAL)
        self.server.start()
        return lost

    def close(self) -> None:
        """End it."""
        self._journal.stop()
        self.server.stop()


class ReplicaLoser:
    """A pair behind one address: the replica is detached, misses a second, and is promoted when the other dies."""

    def __init__(self, directory: Path, binary: str, proxy: Proxy) -> None:
        self._directory = directory
        self._binary = binary
        self._proxy = proxy
        self._count = 0
        self.url = proxy.url
        self.main = self._new()
        proxy.target = self.main.port
        self.replica = self._new_replica()

    def client(self, **options: Any) -> redis.Redis:
        """A client of whichever is the main one."""
        return redis.Redis.from_url(self.url, protocol=2, **options)

    def die(self) -> int:
        """Detach the replica, let the other take a second's lines alone, then let it die."""
        with self.replica.client() as promoted, self.main.client() as main:
            promoted.replicaof("no", "one")
            time.sleep(LOST)  # the second that is lost
            behind = main.info("memory")["used_memory"] - promoted.info("memory")["used_memory"]
        self.main.kill()
        self._proxy.target = self.replica.port
        self._proxy.cut()
        self.main = self.replica
        self.replica = self._new_replica()
        return int(max(0, behind))

    def _new(self) -> Server:
        self._count += 1
        at_once = ("--repl-diskless-sync-delay", "0")
        return Server(self._directory / f"server{self._count}", self._binary, at_once).start()

    def _new_replica(self) -> Server:
        replica = self._new()
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(self.main.port))
            wait_for(lambda: client.info("replication")["master_link_status"] == "up", what="the replica")
        return replica

    def close(self) -> None:
        """End both."""
        self.main.stop()
        self.replica.stop()


@contextmanager
def losing(kind: str, directory: Path, binary: str) -> Iterator[Dying]:
    """A dying server of a kind, `journal` or `replica`, for the time of a with block."""
    with ExitStack() as stack:
        if kind == "journal":
            loser: Any = JournalLoser(directory, binary)
        else:
            loser = ReplicaLoser(directory, binary, stack.enter_context(running_proxy(0)))
        stack.callback(loser.close)
        yield loser


def write_under_deaths(
    dying: Dying, place: Path, *, children: int, lines: int, seconds: float, deaths: int
) -> tuple[SupervisedJob, list[int]]:
    """Run a job of children that write `lines` together, let the server die now and then; returns the bytes lost."""
    each = lines // (children + 1)
    names = names_of(children)
    job = SupervisedJob(dying, command(place, SEED, names, lines=each, pace=each / seconds))
    lost = []
    job.supervise()
    wait_for(lambda: all(_last_lines(job, names)), what="every child to write")
    for death in range(deaths):
        share = (death + 0.7) / deaths
        wait_for(lambda: sum(_last_lines(job, names)) >= share * lines, 120, f"{share:.0%} to be written")  # noqa: B023
        lost.append(dying.die())
    return job, lost


def names_of(children: int) -> list[str]:
    """The names of so many children."""
    return [f"ends-{number}" for number in range(children)]


def _last_lines(job: SupervisedJob, names: Sequence[str]) -> list[int]:
    """The number of the last line of each output that is stored, the job's own and its children's; 0 for none."""
    keys = [KEYS.output(job.id), *(KEYS.child_output(job.id, name) for name in names)]
    return [_last_line(job, key) for key in keys]


def _last_line(job: SupervisedJob, key: str) -> int:
    newest: Any = []
    with suppress(redis.RedisError):
        newest = job.client.xrevrange(key, count=1)
    return int(newest[0][0].partition(b"-")[0]) if newest else 0


def check(job: SupervisedJob, place: Path, children: int, limit: float = 60.0) -> Ledger:
    """Wait for the end, and look for what was lost, stored twice, or told wrongly."""
    ledger, names = Ledger(), names_of(children)
    done = job.wait_for(limit=limit)
    job.processes[0].wait(60)
    ledger.check_end(job, done, ("success",))
    ledger.check_children(job, names, to_their_end=True)
    faults = sum(count.faults for count in ledger.check_outputs(job, place, SEED, names))
    if done.faults != faults:
        ledger.wrongly(job, f"{faults} faults are stored, and {done.faults} were counted")
    return ledger


def main() -> int:
    """Run it once with each kind of loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deaths", type=int, default=10)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--binary", choices=sorted(BINARIES), default="valkey")
    parser.add_argument("--kind", choices=("journal", "replica"), action="append")
    chosen = parser.parse_args()
    is_right = True
    for kind in chosen.kind or ("journal", "replica"):
        with tempfile.TemporaryDirectory() as directory:
            is_right &= _once(kind, Path(directory), chosen)
    return 0 if is_right else 1


def _once(kind: str, directory: Path, chosen: argparse.Namespace) -> bool:
    with losing(kind, directory, BINARIES[chosen.binary]) as dying:
        job, lost = write_under_deaths(
            dying, directory, children=4, lines=chosen.lines, seconds=chosen.seconds, deaths=chosen.deaths
        )
        try:
            ledger = check(job, directory, 4, limit=120)
        finally:
            job.end()
    ledger.faults[kind] = len(lost)
    ledger.fates["runs"] = 1
    print(f"bytes lost at each death of the {kind} {lost}\n{ledger}")
    return ledger.is_clean and len(lost) == chosen.deaths and min(lost) > 0


if __name__ == "__main__":
    sys.exit(main())
