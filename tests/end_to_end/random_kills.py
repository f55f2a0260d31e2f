"""`kill -9` of supervisors and agents: `python -m tests.end_to_end.random_kills --jobs N --at-once M --seed S`.

Every process of a job holds a lock on a file, so that the kernel says whether any of them lives, whatever `/proc` and
Redis say. Reports how each job should have ended and did; exits with 1 if any ended wrongly, late, or not whole.
"""

import argparse
import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gnjobs.errors import LaunchError
from gnjobs.identity import host_name
from gnjobs.kills import kill_job
from gnjobs.launching import launch
from gnjobs.process_view import ProcessView
from gnjobs.processes import SUPERVISOR_MODULE, read_command
from gnjobs.records import Job
from gnjobs.roles import Actor
from gnjobs.store import JobStore
from tests.end_to_end.terminal import gnjobs
from tests.servers import Server
from tests.supervised import python

LATEST_END = 45.0
INDEX_SECONDS = 15.0
LONGEST_JOB = 8.0
# Holds the lock, as everything does that it starts; what it starts goes on when it ends, and so on.
JOB = """
import ctypes, fcntl, os, signal, subprocess, sys, time
place, kind, seconds, code = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
lock = os.open(place + ".lock", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_SH)
os.set_inheritable(lock, True)
nap = [sys.executable, "-c", f"import time; time.sleep({seconds})"]
def start(*before, **options):
    return subprocess.Popen([*before, *nap], close_fds=False, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, **options)
if kind == "stubborn": signal.signal(signal.SIGTERM, signal.SIG_IGN)
if kind == "tree": [start(), start(start_new_session=True)]
if kind == "daemon" and os.fork() == 0:
    os.setsid()
    if os.fork() == 0: start().wait()
    os._exit(0)
if kind == "unmarked": os.execvpe("env", ["env", "-i", *nap], os.environ)
if kind == "threads":
    import threading
    threading.Thread(target=time.sleep, args=(seconds,)).start()
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
end = time.monotonic() + seconds
while time.monotonic() < end:
    if kind == "printer": print("line", flush=True)
    time.sleep(0.1)
open(place + ".done", "w").close()
sys.exit(code)
"""
KINDS = ("printer", "quiet", "stubborn", "tree", "daemon", "unmarked", "threads")


class Plan(NamedTuple):
    """What one job does and what is done to it, in seconds after its launch (None: never)."""

    kind: str
    seconds: float
    code: int
    supervisor_killed: float | None
    agent_too: bool
    asked: float | None

    @classmethod
    def draw(cls, chance: random.Random) -> "Plan":
        """Draw a plan; what would run for ever is killed by somebody, unless only its pid is known of it."""
        kind = chance.choice(KINDS)
        is_endless = kind not in ("printer", "unmarked") and chance.random() < 0.3
        killed = chance.choice([0.0, chance.uniform(0.0, 1.0), chance.uniform(0.5, LONGEST_JOB)])
        asked = chance.uniform(1.0, LONGEST_JOB) if is_endless or chance.random() < 0.2 else None
        if asked is not None and chance.random() < 0.5:
            killed = asked + chance.uniform(0.0, 0.5)  # in the middle of the kill
        return cls(
            kind,
            1000.0 if is_endless else chance.uniform(1.0, LONGEST_JOB),
            chance.choice([0, 3]),
            None if chance.random() < 0.15 else killed,
            chance.random() < 0.5,
            None if kind == "unmarked" else asked,
        )


class Agents:
    """The host's agent, started again whenever it ends, as systemd does it."""

    def __init__(self, url: str) -> None:
        self._command = gnjobs("agent", "--redis-url", url)
        self._is_over = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._restart)
        self.kills = 0

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def __enter__(self) -> "Agents":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._process.kill()
        self._thread.join()

    def _restart(self) -> None:
        while True:
            self._process.wait()
            if self._is_over.wait(0.1):
                return
            self._process = self._start()

    def kill(self) -> None:
        """End the one that is there as the kernel does for memory."""
        self.kills += 1
        self._process.kill()


class Ledger:
    """Counts what happened, and keeps a line about everything that should not have."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.jobs = self.supervisor_kills = self.wrong = self.late = self.left = self.lost_alive = 0
        self.delays: list[float] = []
        self.notes: list[str] = []

    @property
    def is_clean(self) -> bool:
        """Whether every job ended rightly, in time, and whole."""
        return not (self.wrong or self.late or self.left or self.lost_alive)

    def __str__(self) -> str:
        ordered = sorted(self.delays) or [0.0]
        delays = f"median {ordered[len(ordered) // 2]:.1f} s, longest {ordered[-1]:.1f} s"
        faults = {
            "wrong status": self.wrong,
            f"later than {LATEST_END:.0f} s": self.late,
            "processes left": self.left,
            "called lost while they ran": self.lost_alive,
        }
        return "\n".join(
            [
                f"{self.jobs} jobs, {self.supervisor_kills} supervisors killed; ended {dict(self.ends)}",
                f"kinds {dict(self.kinds)}",
                f"from the end of the last process to the final status: {delays}",
                ", ".join(f"{what}: {count}" for what, count in faults.items()),
                *self.notes,
            ]
        )


class Victim:
    """One job under a plan."""

    def __init__(self, server: Server, plan: Plan, place: Path, *, old_beat: bool) -> None:
        self.plan = plan
        self._store = JobStore.from_url(server.url)
        self._old_beat = old_beat
        words = (str(place), plan.kind, str(plan.seconds), str(plan.code))
        self.id = self._store.create(python(JOB, *words), label=plan.kind).id
        self._place = place
        self._lock = Path(f"{place}.lock")
        self.was_killed = False  # its supervisor, before it had reported the end
        self.failed_launch = False
        self._begun = time.monotonic()

    def run(self, agents: Agents, ledger: Ledger, guard: threading.Lock) -> None:
        """Carry out the plan, wait for the end and judge it."""
        launcher = threading.Thread(target=self._launch)
        launcher.start()
        self._begun = time.monotonic()
        acts = [threading.Thread(target=self._kill_supervisor, args=(agents,))]
        acts += [threading.Thread(target=self._ask)]
        for act in acts:
            act.start()
        for act in (launcher, *acts):
            act.join()
        job, free_at, lost_alive = self._wait_for_end()
        late = time.monotonic() - free_at
        is_indexed = self._stays_indexed()
        with guard:
            self._judge(ledger, job, late, lost_alive, is_indexed)

    def _launch(self) -> None:
        try:
            launch(self._store.get(self.id), store=self._store)
        except LaunchError:
            self.failed_launch = True

    def _wait_until(self, seconds: float) -> None:
        time.sleep(max(0.0, self._begun + seconds - time.monotonic()))

    def _kill_supervisor(self, agents: Agents) -> None:
        if self.plan.supervisor_killed is None:
            return
        self._wait_until(self.plan.supervisor_killed)
        limit = time.monotonic() + 5.0
        while not (pids := self._supervisors()) and time.monotonic() < limit and not self._read().is_final:
            continue
        self.was_killed = bool(pids) and not self._read().is_final
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.plan.agent_too:
            agents.kill()
        if self._old_beat and self._read().heartbeat is not None:
            self._store.client.hset(self._store.keys.job(self.id), "heartbeat", 1)

    def _supervisors(self) -> list[int]:
        marks = ProcessView().marks.items()
        mine = (pid for pid, mark in marks if mark is not None and mark.job == self.id)
        return [pid for pid in mine if SUPERVISOR_MODULE in read_command(pid)]

    def _ask(self) -> None:
        if self.plan.asked is None:
            return
        self._wait_until(self.plan.asked)
        for _ in kill_job(self._store, self.id, actor=Actor.admin("tux"), reason="random", grace=1.0):
            continue

    def _read(self) -> Job:
        return self._store.get(self.id)

    def is_alive(self) -> bool:
        """Whether any process holds the job's lock."""
        with contextlib.suppress(FileNotFoundError), self._lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _wait_for_end(self) -> tuple[Job, float, bool]:
        """The record at its end (or when it is too late), when the last process was gone, whether it was lost alive."""
        free_at, lost_alive = time.monotonic(), False
        while True:
            job = self._read()
            if self.is_alive():
                free_at = time.monotonic()
                lost_alive = lost_alive or job.status == "lost"
            elif job.is_final or time.monotonic() - free_at > LATEST_END + 30:
                return job, free_at, lost_alive
            if job.is_final and self.is_alive() and self._is_stale(job):
                return job, free_at, lost_alive
            time.sleep(0.1)

    def _is_stale(self, job: Job) -> bool:
        """Whether it ended long ago while something of it goes on."""
        return job.finished is not None and self._store.now() - job.finished > 5.0

    def _stays_indexed(self) -> bool:
        """Whether it is among the unfinished for longer than an agent needs to tidy up."""
        limit = time.monotonic() + INDEX_SECONDS
        while self._store.client.zscore(self._store.keys.unfinished, self.id) is not None:
            if time.monotonic() > limit:
                return True
            time.sleep(0.1)
        return False

    def _judge(self, ledger: Ledger, job: Job, late: float, lost_alive: bool, is_indexed: bool) -> None:
        ledger.jobs += 1
        ledger.kinds[self.plan.kind] += 1
        ledger.supervisor_kills += self.was_killed
        ledger.ends[job.status or "?"] += 1
        if job.is_final:
            ledger.delays.append(late)
        what = f"{self.id} {self.plan}: {job.status}, {job.error}"
        if job.status not in self._right():
            ledger.wrong += 1
            ledger.notes.append(f"wrong: {what}; right: {self._right()}")
        if late > LATEST_END:
            ledger.late += 1
            ledger.notes.append(f"late: {what}")
        if self.is_alive():
            ledger.left += 1
            ledger.notes.append(f"left: {what}")
        if lost_alive:
            ledger.lost_alive += 1
            ledger.notes.append(f"lost alive: {what}")
        if is_indexed:
            ledger.wrong += 1
            ledger.notes.append(f"still in the index: {what}")

    def _right(self) -> set[str]:
        """The statuses that are right, given what happened."""
        by_itself = "success" if self.plan.code == 0 or self.plan.kind in ("unmarked", "threads") else "error"
        if self.plan.kind == "threads":
            by_itself = "success"
        has_done = Path(f"{self._place}.done").exists() or self.plan.kind in ("unmarked", "threads")
        right = set()
        if self.plan.asked is not None:
            right.add("killed")
        if self.was_killed and (self.plan.asked is None or self.plan.seconds < 1000):
            right.add("lost")
        if has_done and self.plan.seconds < 1000:
            right.add(by_itself)  # it ended by itself, and its supervisor may have said so before it died
        return right


def run(server: Server, *, jobs: int, at_once: int, seed: int, old_beat: bool = False) -> tuple[Ledger, int]:
    """Run that many jobs under random kills; returns what became of them, and how many agents were killed."""
    chance, ledger, guard = random.Random(seed), Ledger(), threading.Lock()
    plans = iter([Plan.draw(chance) for _ in range(jobs)])
    with tempfile.TemporaryDirectory() as directory, Agents(server.url) as agents:
        places = (Path(directory) / str(number) for number in range(jobs))

        def work() -> None:
            while True:
                with guard:
                    plan, place = next(plans, None), next(places, None)
                if plan is None or place is None:
                    return
                Victim(server, plan, place, old_beat=old_beat).run(agents, ledger, guard)

        workers = [threading.Thread(target=work) for _ in range(at_once)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return ledger, agents.kills


@contextlib.contextmanager
def _server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory)).start()
        try:
            yield server
        finally:
            server.stop()


def main() -> int:
    """Run as told by the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with _server() as server:
        ledger, agents = run(server, jobs=chosen.jobs, at_once=chosen.at_once, seed=chosen.seed)
    print(f"{host_name()}: {agents} agents killed")
    print(ledger)
    return 0 if ledger.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
