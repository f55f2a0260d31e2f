"""A host's agent: answers for jobs whose supervisor is gone, and says of each what it has verified here.

One runs on each host. It kills and starts jobs for those who ask from elsewhere, calls a job `lost` only when nothing
of it runs on this host, keeps the heartbeat of orphans that still run, and tidies the index of unfinished jobs.
"""

import fcntl
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import IO

import redis

from gnjobs import events
from gnjobs.control import ControlListener, ControlRequest
from gnjobs.errors import GnjobsError
from gnjobs.health import beat_overdue_after
from gnjobs.identity import host_name, is_on_this_host
from gnjobs.kill_steps import KillStep, step
from gnjobs.kills import kill_job
from gnjobs.launching import launch
from gnjobs.presence import look
from gnjobs.processes import is_supervisor
from gnjobs.records import Job
from gnjobs.roles import Actor
from gnjobs.scripts import Value, set_fields, transition
from gnjobs.statuses import KILLED, LOST, PENDING, UNFINISHED_STATUSES
from gnjobs.store import JobStore

BEAT_SECONDS = 5.0
_ALREADY_RUNS = 1


def run_agent(store: JobStore, *, every: float = BEAT_SECONDS) -> int:
    """Be this host's agent until SIGTERM or SIGINT; returns an exit code, 1 where another one is at work."""
    lock = _take_lock(store)
    if lock is None:
        print(f"gnjobs: an agent for {store.keys.prefix} already runs on {host_name()}", file=sys.stderr)  # noqa: T201
        return _ALREADY_RUNS
    with lock:
        agent = Agent(store, every)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, agent.stop)
        agent.run()
    return 0


def _take_lock(store: JobStore) -> IO[str] | None:
    """Hold a file for as long as the agent lives; None where another process holds it."""
    name = f"gnjobs-agent-{os.getuid()}-{store.keys.prefix.replace(':', '_')}-{_port_of(store)}.lock"
    path = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), name)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "w")


def _port_of(store: JobStore) -> str:
    """Tell servers apart, since a host may have jobs of several."""
    return uuid.uuid5(uuid.NAMESPACE_URL, store.url).hex[:12]


class Agent:
    """The agent's work; `look_around` is one round of it."""

    def __init__(self, store: JobStore, every: float = BEAT_SECONDS) -> None:
        self._store = store
        self._every = every
        self._host = host_name()
        self._stream = store.keys.host_control(self._host)
        self._requests: queue.SimpleQueue[ControlRequest | None] = queue.SimpleQueue()
        self._listener = ControlListener(store.url, self._stream, self._requests.put, from_beginning=False)
        self._orphans: set[str] = set()
        self._is_stopping = False

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:  # noqa: ARG002
        """End after what is being done."""
        self._is_stopping = True
        self._requests.put(None)

    def run(self) -> None:
        """Beat, look around and answer until told to stop; a Redis that is away is waited for."""
        self._listener.start()
        due = 0.0
        while not self._is_stopping:
            if time.monotonic() >= due:
                self._attempt(self.look_around)
                due = time.monotonic() + self._every
            try:
                request = self._requests.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                continue
            if request is not None:
                threading.Thread(target=self._answer, args=(request,), daemon=True).start()
        self._attempt(lambda: self._store.client.zrem(self._store.keys.hosts, self._host))

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except redis.RedisError as error:
            print(f"gnjobs: agent: {error}", file=sys.stderr, flush=True)  # noqa: T201

    def _answer(self, request: ControlRequest) -> None:
        """Do what was asked, and tell each step of it."""
        try:
            for each in self._steps(request):
                self._listener.answer(request.id, each)
        except (GnjobsError, redis.RedisError, OSError) as error:
            self._listener.answer(request.id, step("refused", str(error), final=True))

    def _steps(self, request: ControlRequest) -> Iterable[KillStep]:
        if request.kind == "kill" and request.job:
            return kill_job(
                self._store,
                request.job,
                request.child,
                actor=Actor.admin(request.by),
                reason=request.reason,
                grace=request.grace,
                force=request.force,
            )
        if request.kind == "start" and request.job:
            launch(self._store.get(request.job), store=self._store)
            return [step("written", f"started on {self._host}", verified=True, final=True)]
        return [step("refused", f"{request.kind} is nothing that an agent does", final=True)]

    def look_around(self) -> None:
        """Beat, then look at every unfinished job of this host."""
        now = self._store.now()
        self._store.client.zadd(self._store.keys.hosts, {self._host: now})
        page = self._store.page(unfinished=True, count=500)
        while True:
            for job in page.jobs:
                self._look_safely(job, now)
            if page.next is None:
                break
            page = self._store.page(unfinished=True, before=page.next, count=500)
        self._tidy()

    def _look_safely(self, job: Job, now: float) -> None:
        """Look at a job; one whose keys hold something else keeps nobody from looking at the others."""
        try:
            self._look_at(job, now)
        except (redis.ResponseError, OSError) as error:
            print(f"gnjobs: agent: job {job.id}: {error}", file=sys.stderr, flush=True)  # noqa: T201

    def _look_at(self, job: Job, now: float) -> None:
        if job.status == PENDING or not is_on_this_host(job) or job.heartbeat is None:
            return
        is_overdue = now - job.heartbeat > beat_overdue_after(job)
        if not (is_overdue or job.id in self._orphans):
            return
        if is_supervisor(job.supervisor_pid or 0, job.supervisor_started, job.id):
            self._orphans.discard(job.id)
            return
        present = look(job)
        if present.kind == "gone":
            present = look(job)  # a process that forks and ends meanwhile can escape one look
        match present.kind:
            case "gone":
                self._write_end(job, now, f"nothing of it runs on {self._host}, and its supervisor is gone")
            case "restarted":
                self._write_end(job, now, f"{self._host} was restarted")
            case "running" | "hidden":
                self._keep(job, now, present.words)

    def _keep(self, job: Job, now: float, words: str) -> None:
        """Beat for an orphan, since it still runs."""
        if job.id not in self._orphans:
            self._orphans.add(job.id)
            text = f"its supervisor is gone, yet {words}; the agent of {self._host} beats for it"
            events.record_event(self._store.client, self._store.keys, "orphaned", job, text=text, by="agent")
        set_fields(self._store.client, self._store.keys.job(job.id), {"heartbeat": f"{now:.3f}"})

    def _write_end(self, job: Job, now: float, why: str) -> None:
        """Write the final status of a job of which nothing runs: killed if that was asked for, else lost."""
        client, keys = self._store.client, self._store.keys
        status = KILLED if job.stop_requested else LOST
        fields: dict[str, Value] = {"finished": f"{now:.3f}", "error": why}
        for child in self._store.children(job.id):
            if not child.is_final:
                key = keys.child(job.id, child.id)
                transition(client, key, UNFINISHED_STATUSES, status, uuid.uuid4().hex, fields)
        outcome, _ = transition(
            client, keys.job(job.id), UNFINISHED_STATUSES, status, uuid.uuid4().hex, fields
        )
        client.zrem(keys.unfinished, job.id)
        self._orphans.discard(job.id)
        if outcome == "done":
            events.record_event(
                client, keys, "lost" if status == LOST else "killed", job, text=f"{status}: {why}", by="agent"
            )

    def _tidy(self) -> None:
        """Remove from the unfinished what has ended, or has no record any more."""
        from gnjobs.indexes import read_index

        client, keys = self._store.client, self._store.keys
        entries = read_index(client, keys.unfinished, None, 500)
        jobs = self._store.many([entry.job_id for entry in entries])
        done = [entry.job_id for entry, job in zip(entries, jobs, strict=True) if job is None or job.is_final]
        if done:
            client.zrem(keys.unfinished, *done)
