"""Servers that die and lose their last second, under a job whose children write without a pause.

By hand: `python -m tests.end_to_end.lost_seconds [--deaths 10] [--lines 1000000] [--kind journal|replica]`.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import redis

from tests.end_to_end.accounts import Account, account, wrote
from tests.proxy import Proxy, running_proxy
from tests.servers import BINARIES, Server
from tests.supervised import KEYS, SupervisedJob
from tests.waiting import wait_for

STAMPED = (
    *("--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes"),
    *("--aof-timestamp-enabled", "yes", "--auto-aof-rewrite-percentage", "0"),
)
LOST = 1.0
_STAMP = re.compile(rb"#TS:(\d+)\r\n")


class Dying(Protocol):
    """A server, seen by its clients under one address, that can die and come back without its last second."""

    url: str

    def client(self, **options: Any) -> redis.Redis:
        """A plain client."""
        ...

    def die(self) -> int:
        """Die, come back; returns how many bytes were lost."""
        ...


def cut_journal(directory: Path, seconds: float) -> int:
    """Cut from a journal (with time stamps) what came in the last seconds; returns its bytes.

    Call it as soon as its server is dead: what an idle server wrote before that is on its disk.
    """
    died = time.time()
    journal = max(directory.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)
    content = journal.read_bytes()
    for stamp in _STAMP.finditer(content):
        if int(stamp[1]) + 1 > died - seconds:
            with journal.open("r+b") as file:
                file.truncate(stamp.start())
            return len(content) - stamp.start()
    return 0


class JournalLoser:
    """One server whose journal is cut between its death and its start."""

    def __init__(self, directory: Path, binary: str) -> None:
        self.server = Server(directory, binary, STAMPED).start()
        self.url = self.server.url
        self.client = self.server.client

    def die(self) -> int:
        """Lose what came in the last one to two seconds: time stamps are whole ones."""
        self.server.kill()
        lost = cut_journal(self.server.directory, LOST)
        self.server.start()
        return lost

    def close(self) -> None:
        """End it."""
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
        return Server(self._directory / f"server{self._count}", self._binary).start()

    def _new_replica(self) -> Server:
        replica = self._new()
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(self.main.port))
            wait_for(lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica")
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
    each = lines // children
    command = [sys.executable, "-m", "tests.end_to_end.jobs.writers", str(place), str(children), str(each)]
    job = SupervisedJob(dying, [*command, str(each / seconds)])
    lost = []
    job.supervise()
    wait_for(lambda: len(stored(job, children)) == children, 30, "every child to write")
    for death in range(deaths):
        share = (death + 0.7) / deaths
        wait_for(lambda: _count(job, children) >= share * lines, 120, f"{share:.0%} to be written")  # noqa: B023
        lost.append(dying.die())
    return job, lost


def stored(job: SupervisedJob, children: int) -> list[int]:
    """The numbers of the last lines of those children's outputs that are there."""
    found = []
    for number in range(children):
        try:
            newest: Any = job.client.xrevrange(KEYS.child_output(job.id, f"writer-{number}"), count=1)
        except redis.RedisError:
            newest = []
        found += [int(newest[0][0].partition(b"-")[0])] if newest else []
    return found


def _count(job: SupervisedJob, children: int) -> int:
    return sum(stored(job, children))


def accounts(job: SupervisedJob, place: Path, children: int) -> list[Account]:
    """What became of each child's lines."""
    names = [f"writer-{number}" for number in range(children)]
    return [account(job.client, KEYS, job.id, name, wrote(place, name)) for name in names]


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
            done = job.wait_for(limit=120)
            job.processes[0].wait(60)
            found = accounts(job, directory, 4)
        finally:
            job.end()
    children = [f"{each.child_id}: {each}" for each in found if not each.is_right]
    print(f"{kind}: {len(lost)} deaths, bytes lost at each {lost}; job {done.status}, {done.faults} faults")
    print(
        f"  written {sum(each.written or 0 for each in found)}, stored {sum(each.stored for each in found)}, "
        f"lost {sum(each.lost for each in found)}, twice {sum(each.twice for each in found)}"
    )
    for line in children:
        print(f"  {line}")
    return not children and done.status == "success" and len(lost) == chosen.deaths and min(lost) > 0


if __name__ == "__main__":
    sys.exit(main())
