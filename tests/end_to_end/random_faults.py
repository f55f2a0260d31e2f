"""Random faults under running jobs: `python -m tests.end_to_end.random_faults --minutes N --seed S`.

Reports what was injected, and what was lost, stored twice, or told wrongly; exits with 1 if anything was.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import redis

from gnjobs.records import Job
from gnjobs.statuses import FINAL_STATUSES, RUNNING
from tests.end_to_end.faults import FAULTS, LASTING, broken
from tests.servers import Server
from tests.supervised import KEYS, SupervisedJob, python

# Prints numbered lines at an uneven pace; the end says how many there should be.
PRINTER = (
    "import random, sys, time\n"
    "pace = random.Random(sys.argv[1]); number = 0; end = time.monotonic() + float(sys.argv[2])\n"
    "while time.monotonic() < end:\n"
    "    for _ in range(pace.randint(1, 200)): print(number, flush=True); number += 1\n"
    "    time.sleep(pace.random() / 10)\n"
    "open(sys.argv[3], 'w').write(str(number))\n"
    "sys.exit(int(sys.argv[4]))\n"
)
LONGEST_END = 60.0


class Ledger:
    """Counts what happened, and keeps a line about everything that should not have."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.jobs = self.written = self.lost = self.twice = self.wrong = self.left = 0
        self.notes: list[str] = []

    def check(self, job: SupervisedJob, done: Job | None, expected: str, count: int | None) -> None:
        """Compare one job's end with what it should be; `count` is how many lines it printed, if it knows."""
        self.jobs += 1
        if done is None or done.status != expected:
            self._wrong(job, f"is {done and done.status}, not {expected}")
        elif job.client.zscore(KEYS.unfinished, job.id) is not None:
            self._wrong(job, "is still in the index of unfinished jobs")
        self._check_lines(job, count)
        left = len(job.alive())
        self.left += left
        if left:
            self.notes.append(f"{job.id}: {left} processes left")

    def _check_lines(self, job: SupervisedJob, count: int | None) -> None:
        numbers = [int(line) for line in job.lines("out")]
        printed = count if count is not None else max(numbers, default=-1) + 1
        counted = Counter(numbers)
        lost = printed - len(counted)
        twice = sum(counted.values()) - len(counted)
        self.written += printed
        self.lost += lost
        self.twice += twice
        if lost or twice or numbers != sorted(numbers):
            self.notes.append(f"{job.id}: {lost} of {printed} lines lost, {twice} stored twice")

    def _wrong(self, job: SupervisedJob, text: str) -> None:
        self.wrong += 1
        self.notes.append(f"{job.id}: {text}")

    @property
    def is_clean(self) -> bool:
        """Whether everything held."""
        return not (self.lost or self.twice or self.wrong or self.left)

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return "\n".join(
            [
                f"faults injected      {self.faults.total()} ({faults})",
                f"jobs                 {self.jobs}",
                f"lines printed        {self.written}",
                f"lines lost           {self.lost}",
                f"lines stored twice   {self.twice}",
                f"wrong final status   {self.wrong}",
                f"processes left       {self.left}",
                *self.notes,
            ]
        )


def run_job(server: Server, seed: int, place: Path, ledger: Ledger, guard: threading.Lock) -> None:
    """Run one job to its end, killed half way at times, and check it."""
    chance = random.Random(seed)
    code, is_killed = chance.choice([0, 0, 3]), chance.random() < 0.3
    seconds, counted = chance.uniform(1.0, 5.0), place / f"{seed}"
    job = create(server, python(PRINTER, str(seed), str(seconds), str(counted), str(code)))
    try:
        supervisor = job.supervise()
        if is_killed:
            wait_for_status(job, {RUNNING} | FINAL_STATUSES)  # before, there is nothing to kill
            time.sleep(seconds * chance.random())
            supervisor.terminate()
        done = wait_for_status(job, FINAL_STATUSES)
        supervisor.wait(LONGEST_END)
        count = int(counted.read_text()) if counted.exists() else None
        has_ended_first = count is not None
        expected = "killed" if is_killed and not has_ended_first else "error" if code else "success"
        if is_killed and has_ended_first and done is not None:
            expected = done.status or expected  # the kill came too late, or just in time: both are right
        with guard:
            settle(server)
            ledger.check(job, done, expected, count)
    finally:
        job.end()


def create(server: Server, command: list[str]) -> SupervisedJob:
    """Create a job as soon as the server lets us, and have it on disk."""
    while True:
        with contextlib.suppress(redis.RedisError):
            return SupervisedJob(server, command)
        time.sleep(0.05)


def settle(server: Server) -> None:
    """Wait until the server answers and takes writes."""
    while True:
        with contextlib.suppress(redis.RedisError), server.client(socket_timeout=5.0) as client:
            client.set("probe", 1)
            return
        time.sleep(0.05)


def wait_for_status(job: SupervisedJob, wanted: Collection[str]) -> Job | None:
    """Wait for a status over whatever breaks meanwhile; None where it does not come."""
    limit = time.monotonic() + LONGEST_END
    while time.monotonic() < limit:
        with contextlib.suppress(redis.RedisError):
            found = job.read()
            if found.status in wanted:
                return found
        time.sleep(0.05)
    return None


def main() -> int:
    """Run jobs and break their server until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    ledger, guard = Ledger(), threading.Lock()
    end = time.monotonic() + 60 * chosen.minutes
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "server", options=LASTING).start()
        try:
            while time.monotonic() < end:
                run_round(server, chance, Path(directory), ledger, guard)
        finally:
            server.stop()
    print(ledger)
    return 0 if ledger.is_clean else 1


def run_round(
    server: Server, chance: random.Random, place: Path, ledger: Ledger, guard: threading.Lock
) -> None:
    """Run a few jobs at once, with faults until all of them have ended."""
    workers = [
        threading.Thread(target=run_job, args=(server, chance.getrandbits(32), place, ledger, guard))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    time.sleep(1.0)  # the jobs' records are older than what a server can forget
    while any(worker.is_alive() for worker in workers):
        time.sleep(chance.uniform(0.2, 1.5))
        fault = chance.choice(FAULTS)
        ledger.faults[fault.name] += 1
        with guard, broken(server, fault):
            time.sleep(chance.uniform(0.0, 1.5))


if __name__ == "__main__":
    sys.exit(main())
