"""Jobs of the random run: what each does, what befalls it, and what must be found at its end."""

import contextlib
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil
import redis

from gnjobs import JobStore, kill_job
from gnjobs.errors import GnjobsError
from gnjobs.records import Job
from gnjobs.roles import Actor
from gnjobs.statuses import FINAL_STATUSES, RUNNING
from tests.end_to_end.accounts import Account, account, wrote
from tests.proxy import Proxy
from tests.servers import Server
from tests.supervised import KEYS, SupervisedJob, python

# Prints numbered lines at an uneven pace; the end says how many there should be.
PRINTER = (
    "import pathlib, random, sys, time\n"
    "pace = random.Random(sys.argv[1]); number = 0; end = time.monotonic() + float(sys.argv[2])\n"
    "while time.monotonic() < end:\n"
    "    for _ in range(pace.randint(1, 200)): print(number, flush=True); number += 1\n"
    "    time.sleep(pace.random() / 10)\n"
    "pathlib.Path(sys.argv[3], 'job.wrote').write_text(f'{number} 0')\n"
    "sys.exit(int(sys.argv[4]))\n"
)
LONGEST_END = 90.0
# What befalls a job, mostly nothing: the server's faults are enough.
FATES = (
    *["goes on"] * 6,
    *("supervisor told", "supervisor killed", "job killed"),
    *("child killed", "output removed", "output expired", "second writer"),
)
ITS_OUTPUT = {"output removed", "output expired", "second writer"}


class World:
    """A server behind a proxy, by which the jobs reach it; `guard` is held while it is broken."""

    def __init__(self, server: Server, proxy: Proxy, place: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.place = place
        self.url = proxy.url
        self.guard = threading.Lock()
        self.ledger = Ledger()
        self._created = threading.Semaphore(0)

    def client(self, **options: Any) -> redis.Redis:
        """A client that the faults of the proxy don't reach."""
        return self.server.client(**options)

    def create(self, command: list[str]) -> SupervisedJob:
        """Create a job as soon as the server lets us."""
        while True:
            with contextlib.suppress(redis.RedisError):
                job = SupervisedJob(self, command)
                self._created.release()
                return job
            time.sleep(0.05)

    def wait_until_created(self, count: int) -> None:
        """Wait until so many more jobs were created."""
        for _ in range(count):
            self._created.acquire()

    def settle(self) -> None:
        """Wait until the server answers and takes writes."""
        while True:
            with contextlib.suppress(redis.RedisError), self.client(socket_timeout=5.0) as client:
                client.set("probe", 1)
                return
            time.sleep(0.05)


class Ledger:
    """Counts what happened, and keeps a line about everything that should not have."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.jobs = self.children = self.written = self.lost = self.twice = self.wrong = self.left = 0
        self.notes: list[str] = []

    def check_lines(self, job_id: str, found: Account) -> None:
        """Take in what became of one output."""
        self.written += found.written if found.written is not None else found.stored
        self.lost += found.lost
        self.twice += found.twice
        if not found.is_right:
            self.note(f"{job_id}: {found}")

    def check_status(self, what: str, status: str | None, expected: Collection[str]) -> None:
        """Take in how something ended."""
        if status not in expected:
            self.wrong += 1
            self.note(f"{what} is {status}, not {' or '.join(sorted(expected))}")

    def count_left(self, job: SupervisedJob) -> None:
        """Take in which processes are left of a job that has ended."""
        left = job.alive()
        self.left += len(left)
        if left:
            self.note(f"{job.id}: left {left}")

    def note(self, text: str) -> None:
        """Keep a line, and show it now."""
        self.notes.append(text)
        print(text, flush=True)

    @property
    def is_clean(self) -> bool:
        """Whether everything held."""
        return not (self.lost or self.twice or self.wrong or self.left)

    def short(self) -> str:
        """The figures in a line."""
        return (
            f"{self.faults.total()} faults, {self.jobs} jobs, {self.children} children, {self.written} lines, "
            f"lost {self.lost}, twice {self.twice}, wrong {self.wrong}, left {self.left}"
        )

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return "\n".join([f"{self.faults.total()} faults: {faults}", self.short(), *self.notes])


class RandomJob:
    """One job of the run, by its seed: what it does, and what befalls it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.fate = self.chance.choice(FATES)
        self.children = self.chance.choice([0, 2, 3, 4])
        if self.fate == "child killed":
            self.children = max(2, self.children)
        self.code = self.chance.choice([0, 0, 3])
        self.seconds = self.chance.uniform(4.0, 9.0)
        self.place = world.place / f"{seed}"
        self.place.mkdir()
        self.killed_child: str | None = None
        self.job = world.create(self._command())

    def _command(self) -> list[str]:
        if not self.children:
            return python(
                PRINTER, str(self.chance.random()), str(self.seconds), str(self.place), str(self.code)
            )
        pace, uneven = self.chance.choice([(300, "slow"), (800, "slow"), (8000, "even"), (20_000, "even")])
        words = [str(self.place), str(self.children), str(int(pace * self.seconds / 2)), str(pace), uneven]
        return [sys.executable, "-m", "tests.end_to_end.jobs.writers", *words, str(self.code)]

    def run(self) -> None:
        """Run it to its end, and check it."""
        try:
            supervisor = self.job.supervise()
            self._wait_for({RUNNING} | FINAL_STATUSES)
            time.sleep(self.seconds * self.chance.random())
            self._befall()
            done = self._wait_for(FINAL_STATUSES)
            supervisor.wait(LONGEST_END)
            with self.world.guard:
                self.world.settle()
                self._check(done)
        finally:
            self.job.end()

    def _befall(self) -> None:
        fate = self.fate
        if fate != "goes on":
            with self.world.guard:
                self.world.ledger.faults[fate] += 1
        if fate == "supervisor told":
            self.job.processes[0].terminate()
        elif fate == "supervisor killed":
            self.job.processes[0].kill()
            self.job.processes[0].wait()
            self._kill()
        elif fate == "job killed":
            self._signal(None)
        elif fate == "child killed":
            self.killed_child = "writer-0"
            self._signal(self.killed_child)
        elif fate in ITS_OUTPUT:
            self._touch_output()

    def _signal(self, child_id: str | None) -> None:
        """Kill the job's own process, or one child's, as the kernel would for memory."""
        for process in self.job.alive():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("GNJOBS_CHILD_ID") == child_id and self._is_the_one(process):
                    process.kill()

    def _is_the_one(self, process: psutil.Process) -> bool:
        return "resource_tracker" not in " ".join(process.cmdline())

    def _touch_output(self) -> None:
        key = KEYS.child_output(self.job.id, "writer-0") if self.children else KEYS.output(self.job.id)
        patiently_in_tests(lambda client: self._touch(client, key), self.world)

    def _touch(self, client: redis.Redis, key: str) -> None:
        if self.fate == "output removed":
            client.delete(key)
        elif self.fate == "output expired":
            client.pexpire(key, 1)
        elif client.exists(key):
            newest: Any = client.xinfo_stream(key)
            number = int(bytes(newest["last-generated-id"]).partition(b"-")[0]) + 1
            client.xadd(key, {"at": 1, "kind": "err", "data": "somebody else's"}, id=f"{number}-0")

    def _kill(self) -> None:
        """Kill it as a person would whose job has lost its supervisor."""
        limit = time.monotonic() + LONGEST_END
        while time.monotonic() < limit:
            with contextlib.suppress(redis.RedisError, GnjobsError), self.world.client() as client:
                store = JobStore(client)
                steps = list(kill_job(store, self.job.id, actor=Actor.admin("tester"), grace=2.0))
                if steps[-1].verified:
                    return
            time.sleep(0.2)

    def _wait_for(self, wanted: Collection[str]) -> Job | None:
        """Wait for a status over whatever breaks meanwhile; None where it does not come."""
        limit = time.monotonic() + LONGEST_END
        while time.monotonic() < limit:
            with contextlib.suppress(redis.RedisError):
                found = self.job.read()
                if found.status in wanted:
                    return found
            time.sleep(0.05)
        return None

    def _check(self, done: Job | None) -> None:
        ledger, job = self.world.ledger, self.job
        ledger.jobs += 1
        ledger.children += self.children
        what = f"{job.id} ({self.fate}, {self.children} children)"
        ledger.check_status(what, done and done.status, self._expected())
        if done is not None and job.client.zscore(KEYS.unfinished, job.id) is not None:
            ledger.check_status(f"{what}: the index entry", "there", {"gone"})
        self._check_children(what)
        for child_id in self._outputs():
            ledger.check_lines(f"{what}", self._account(child_id))
        ledger.count_left(job)

    def _expected(self) -> Collection[str]:
        by_itself = {"error" if self.code else "success"}
        has_ended = all(wrote(self.place, name) for name in self._names())
        if self.fate in ("supervisor told", "supervisor killed"):
            return {"killed"} | (by_itself if has_ended else set())
        if self.fate == "job killed":
            return {"error"} | (by_itself if has_ended else set())
        return by_itself

    def _names(self) -> list[str]:
        return [f"writer-{number}" for number in range(self.children)] or ["job"]

    def _check_children(self, what: str) -> None:
        for name in self._names() if self.children else []:
            status = self.job.child(name).status
            wanted = FINAL_STATUSES
            if self.fate == "child killed" and name == self.killed_child and not wrote(self.place, name):
                wanted = frozenset({"error"})
            elif self.fate not in ("supervisor told", "supervisor killed", "job killed", "child killed"):
                wanted = frozenset({"success"})
            if self.fate.startswith("supervisor") or self.fate == "job killed":
                # A child that the kill overtook before it was allocated never was.
                wanted |= set() if self.job.client.exists(KEYS.child(self.job.id, name)) else {None}  # type: ignore[arg-type]
            self.world.ledger.check_status(f"{what}: {name}", status, wanted)

    def _outputs(self) -> list[str | None]:
        """Whose lines are to be complete: not those of an output that was taken away from its writer."""
        names: list[str | None] = list(self._names()) if self.children else [None]
        return names[1:] if self.fate in ITS_OUTPUT else names

    def _account(self, child_id: str | None) -> Account:
        said = wrote(self.place, child_id or "job")
        return account(self.job.client, KEYS, self.job.id, child_id, said)


def run_job(world: World, seed: int) -> None:
    """Run one job to its end, whatever befalls it, and check it; a test that fails is no reason to stop."""
    try:
        RandomJob(world, seed).run()
    except Exception as error:  # noqa: BLE001 - what goes wrong here is a finding as well
        with world.guard:
            world.ledger.check_status(f"the run of the job with seed {seed}: {error!r}", "broken", {"fine"})


def patiently_in_tests(action: Any, world: World) -> None:
    """Do something on the server, however long it is away."""
    while True:
        with contextlib.suppress(redis.RedisError), world.client(socket_timeout=5.0) as client:
            action(client)
            return
        time.sleep(0.05)
