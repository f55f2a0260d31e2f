"""One job under random kills: carries out its plan, waits for its end and judges it."""

import contextlib
import fcntl
import os
import signal
import threading
import time
from pathlib import Path

from gnjobs.control.kill import kill_job
from gnjobs.errors import LaunchError
from gnjobs.processes.find import SUPERVISOR_MODULE, read_command
from gnjobs.processes.table import ProcessView
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.store import JobStore
from gnjobs.supervisor.launch import launch
from tests.end_to_end.kill_ledger import LATEST_END, KillLedger
from tests.end_to_end.kill_plans import JOB, Plan
from tests.support.agents import Agents
from tests.support.servers import Server
from tests.support.supervised import python

INDEX_SECONDS = 15.0


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

    def run(self, agents: Agents, ledger: KillLedger, guard: threading.Lock) -> None:
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

    def _judge(self, ledger: KillLedger, job: Job, late: float, lost_alive: bool, is_indexed: bool) -> None:
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
        has_done = Path(f"{self._place}.done").exists() or self.plan.kind in ("unmarked", "threads")
        right = set()
        if self.plan.asked is not None:
            right.add("killed")
        if self.was_killed and (self.plan.asked is None or self.plan.seconds < 1000):
            right.add("lost")
        if has_done and self.plan.seconds < 1000:
            right.add(by_itself)  # it ended by itself, and its supervisor may have said so before it died
        return right
