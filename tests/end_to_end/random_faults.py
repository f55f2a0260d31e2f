"""Random faults under running jobs: `python -m tests.end_to_end.random_faults --minutes N --seed S`.

Jobs with children run beside an agent and a dashboard, while their server, their connections, their keys and they
themselves are broken. Reports what was injected, and what was lost, stored twice, or told wrongly; exits with 1 if
anything was.
"""

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import redis

from gnjobs.processes.host import host_name, pid_namespace
from gnjobs.records.fields import Job
from gnjobs.records.statuses import FINAL_STATUSES, RUNNING
from tests.end_to_end.full_disk import full_disk, small_disk
from tests.end_to_end.jobs.numbered import command, said_by
from tests.end_to_end.journal import Journal
from tests.end_to_end.ledger import Ledger
from tests.end_to_end.onlooker import Onlooker
from tests.support.command import environment
from tests.support.faults import FAULTS, LASTING, Fault, broken
from tests.support.proxy import Proxy, running_proxy
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob
from tests.support.terminal import gnjobs

Value = TypeVar("Value")

LONGEST_END = 90.0
AT_ONCE = 4
LINES_A_SECOND = 2000.0
FATES = {"runs": 8, "terminated": 3, "job killed": 2, "supervisor killed": 2, "output removed": 2,
         "all removed": 1, "second writer": 2}  # fmt: skip


class Setting:
    """What all jobs of a run share."""

    def __init__(self, server: Server, proxy: Proxy, place: Path) -> None:
        self.server = server
        self.proxy = proxy
        self.place = place
        self.ledger = Ledger()
        self.forgot_at = 0.0  # when the server last lost its last second (monotonic)
        self.jobs: set[SupervisedJob] = set()  # that may have something running
        self.guard = threading.Lock()  # held while the server is broken, or while it is looked at


class RandomJob:
    """One job with its children, and what happens to it."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self._setting = setting
        self._ledger = setting.ledger
        self._chance = random.Random(seed)
        self._seed = seed
        self._fate = self._chance.choices(list(FATES), list(FATES.values()))[0]
        self._code = self._chance.choice([0, 0, 3])
        self._seconds = self._chance.uniform(1.0, 6.0)
        kinds = self._chance.choices(["ends", "raises", "crashes"], [6, 1, 1], k=self._chance.randint(0, 4))
        self._names = [f"{kind}-{number}" for number, kind in enumerate(kinds)]

    def run(self) -> None:
        """Run it to its end, and check it."""
        self._ledger.fates[self._fate] += 1
        self._met_at = 0.0
        job = create(self._setting.server, self._command())
        job.url, job.fate = self._setting.proxy.url, self._fate
        self._setting.jobs.add(job)
        try:
            supervisor = job.supervise()
            wait_for_status(job, {RUNNING} | FINAL_STATUSES)
            if self._fate != "runs":
                time.sleep(self._seconds * self._chance.random())
                self._meet_fate(job, supervisor)
            done = wait_for_status(job, FINAL_STATUSES, gone=self._fate == "all removed")
            if self._fate != "supervisor killed" and not has_ended(supervisor):
                self._ledger.wrongly(job, f"its supervisor {supervisor.pid} does not end")
            with self._setting.guard:
                settle(self._setting.server)
                self._check(job, done)
        finally:
            job.end()
            self._setting.jobs.discard(job)

    def _command(self) -> list[str]:
        lines = round(self._seconds * LINES_A_SECOND)
        return command(
            self._setting.place, self._seed, self._names, lines=lines, pace=LINES_A_SECOND, code=self._code
        )

    def _meet_fate(self, job: SupervisedJob, supervisor: "subprocess.Popen[bytes]") -> None:
        self._met_at = time.monotonic()
        key = self._chance.choice([KEYS.output(job.id), *(KEYS.child_output(job.id, n) for n in self._names)])
        match self._fate:
            case "terminated":
                supervisor.terminate()
            case "supervisor killed":
                supervisor.kill()
            case "job killed":
                if pid := insist(lambda: job.read().pid):
                    with contextlib.suppress(ProcessLookupError, psutil.Error):
                        if job.id == psutil.Process(pid).environ().get("GNJOBS_JOB_ID"):
                            psutil.Process(pid).kill()
            case "output removed":
                insist(lambda: job.client.delete(key))
            case "all removed":
                insist(lambda: [job.client.delete(name) for name in job.client.keys(f"{KEYS.job(job.id)}*")])
            case "second writer":
                entry = {"at": 1000, "kind": "out", "data": "an intruder"}
                insist(lambda: job.client.exists(key) and job.client.xadd(key, entry, id="900000000-0"))

    def _check(self, job: SupervisedJob, done: Job | None) -> None:
        if self._fate == "all removed":
            self._check_removed(job, job.read())
            return
        if done is not None:  # a server that forgot it hears it again: from the agent at its next round
            done = wait_for_status(job, FINAL_STATUSES)
        self._ledger.check_end(job, done, self._expected())
        is_whole = self._fate in ("runs", "output removed", "second writer")
        self._ledger.check_children(job, self._started_names(job), to_their_end=is_whole)
        if self._fate in ("output removed", "second writer"):
            return  # an output that was tampered with can't be whole
        is_forgotten = 0.0 < self._met_at < self._setting.forgot_at
        place, seed = self._setting.place, self._seed
        self._ledger.check_outputs(job, place, seed, self._names, is_forgotten=is_forgotten)

    def _started_names(self, job: SupervisedJob) -> Sequence[str]:
        """Children that were recorded; a job that ended before it had any has none."""
        found = [name for name in self._names if job.client.hexists(KEYS.job(job.id), f"child:{name}")]
        return self._names if self._fate == "runs" else found

    def _expected(self) -> Collection[str]:
        """How the job should end; what came while it was ending anyway may have been too late."""
        own = "error" if self._code else "success"
        match self._fate:
            case "terminated":
                return ("killed", own) if self._has_written_all() else ("killed",)
            case "job killed":
                return ("error", own) if self._has_written_all() else ("error",)
            case "supervisor killed":
                return ("lost", own) if self._has_written_all() else ("lost",)
        return (own,)

    def _has_written_all(self) -> bool:
        return said_by(self._setting.place, self._seed).exists()

    def _check_removed(self, job: SupervisedJob, done: Job) -> None:
        """It may be there again where the server forgot that it was removed; then it has ended."""
        self._ledger.jobs += 1
        if job.client.exists(KEYS.job(job.id)) and done.status not in FINAL_STATUSES:
            self._ledger.wrongly(job, f"was removed, and is {done.status}")
        self._ledger.left += len(job.alive())


def create(server: Server, command: list[str]) -> SupervisedJob:
    """Create a job as soon as the server lets us, with a note of its launch, as `launch` leaves it."""
    where = {"launch_host": host_name(), "launch_namespace": pid_namespace() or ""}
    while True:
        with contextlib.suppress(redis.RedisError):
            return SupervisedJob(server, command, launched=str(time.time()), **where)
        time.sleep(0.05)


def insist(action: Callable[[], Value]) -> Value:
    """Do something in Redis as soon as the server lets us."""
    while True:
        with contextlib.suppress(redis.RedisError):
            return action()
        time.sleep(0.05)


def has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Wait until a process has ended; returns whether it has."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LONGEST_END)
    return process.returncode is not None


def settle(server: Server) -> None:
    """Wait until the server answers and takes writes."""
    with server.client(socket_timeout=5.0) as client:
        insist(lambda: client.set("probe", 1))


def wait_for_status(job: SupervisedJob, wanted: Collection[str], *, gone: bool = False) -> Job | None:
    """Wait for a status over whatever breaks meanwhile; None where it does not come, or the record is `gone`."""
    limit = time.monotonic() + LONGEST_END
    while time.monotonic() < limit:
        with contextlib.suppress(redis.RedisError):
            found = job.read()
            if found.status in wanted:
                return found
            if gone and found.status is None:
                return None
        time.sleep(0.05)
    return None


@contextlib.contextmanager
def running_agent(setting: Setting, stopping: threading.Event, chance: random.Random) -> Iterator[None]:
    """An agent that is killed at times, and started again; one that ends by itself is noted as wrong."""
    said = setting.place / "agent.log"

    def keep() -> None:
        while not stopping.is_set():
            with said.open("wb") as log:
                agent = subprocess.Popen(gnjobs("agent"), env=environment(setting.server.url), stderr=log)
            until = time.monotonic() + chance.uniform(20, 60)
            while agent.poll() is None and time.monotonic() < until and not stopping.wait(0.1):
                pass
            if agent.poll() is not None:
                setting.ledger.wrong += 1
                last_words = said.read_text(errors="replace")[-1000:]
                setting.ledger.notes.append(f"an agent ended with {agent.returncode}: {last_words}")
            agent.kill()
            agent.wait()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def faults_of(setting: Setting, journal: Journal, chance: random.Random, disk: bool) -> list[Fault]:
    """The faults that every server knows, and those that need something of this run."""

    def cut(_: Server) -> Callable[[], None]:
        setattr(setting.proxy, chance.choice(["requests_left", "replies_left"]), chance.randint(0, 20_000))
        return lambda: None

    def lose_last_second(_: Server) -> Callable[[], None]:
        journal.lose(1.0)
        setting.forgot_at = time.monotonic()
        return lambda: setting.server.start() and None

    own = [Fault("cut", cut), Fault("cut", cut), Fault("last second", lose_last_second)]
    known = [fault for fault in FAULTS if fault.name != "forgets"]  # by bytes, so at times more than a second
    return [*known, *own, *([Fault("disk full", full_disk)] if disk else [])]


def main() -> int:
    """Run jobs and break things until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", help="only those whose names are given, separated by commas")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    chance, stopping = random.Random(chosen.seed), threading.Event()
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = stack.enter_context(small_disk(place / "server"))
        server = Server(place / "server", options=LASTING).start()
        stack.callback(server.stop)
        proxy = stack.enter_context(running_proxy(server.port))
        setting = Setting(server, proxy, place)
        stack.callback(lambda: [job.end() for job in list(setting.jobs)])
        journal = stack.enter_context(Journal(server))
        stack.enter_context(running_agent(setting, stopping, random.Random(chosen.seed)))
        onlooker = stack.enter_context(Onlooker(server))
        faults = faults_of(setting, journal, chance, disk)
        if chosen.faults:
            faults = [fault for fault in faults if fault.name in chosen.faults.split(",")]
        end = time.monotonic() + 60 * chosen.minutes
        while time.monotonic() < end:
            run_round(setting, chance, faults, onlooker)
            begin_anew(server)
    print(setting.ledger)
    print(onlooker)
    return 0 if setting.ledger.is_clean and onlooker.is_clean else 1


def begin_anew(server: Server) -> None:
    """Give the server a new journal between rounds, since its disk is small.

    Not by a rewrite: after one, valkey 8.1 takes a short write back to where the former journal ended, and with a full
    disk the new one is filled up with zeros.
    """
    server.kill()
    shutil.rmtree(server.directory / "appendonlydir")
    server.start()


def run_round(setting: Setting, chance: random.Random, faults: Sequence[Fault], onlooker: Onlooker) -> None:
    """Run a few jobs at once, with faults until all of them have ended."""
    workers = [
        threading.Thread(target=RandomJob(setting, chance.getrandbits(32)).run, daemon=True)
        for _ in range(AT_ONCE)
    ]
    for worker in workers:
        worker.start()
    time.sleep(1.5)  # the jobs' records are older than what a server can forget
    while any(worker.is_alive() for worker in workers):
        time.sleep(chance.uniform(0.2, 1.5))
        fault = chance.choice(faults)
        setting.ledger.faults[fault.name] += 1
        with setting.guard:
            with broken(setting.server, fault):
                time.sleep(chance.uniform(0.0, 1.5))
                onlooker.look_while_broken(fault.name)
            onlooker.look_after()
    print(f"{time.strftime('%H:%M:%S')} {setting.ledger.jobs} jobs, {setting.ledger.faults.total()} faults,"
          f" {len(setting.ledger.notes)} notes", flush=True)  # fmt: skip
    for note in setting.ledger.notes[setting.ledger.noted :]:
        print(f"    {note}", flush=True)
    setting.ledger.noted = len(setting.ledger.notes)


if __name__ == "__main__":
    sys.exit(main())
