"""A host's agent: answers for jobs whose supervisor is gone, and says of each what it has verified here.

One runs on each host. It kills and starts jobs for those who ask from elsewhere, calls a job `lost` only when nothing
of it runs on this host, keeps the heartbeat of orphans that still run, and tidies the index of unfinished jobs.
"""

import contextlib
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Final

import redis

from gnjobs.control.agent_lock import AgentLock, Holder
from gnjobs.control.kill import kill_job
from gnjobs.control.looks import find_here
from gnjobs.control.orphans import Rounds
from gnjobs.control.slurm_rounds import SlurmRounds
from gnjobs.control.starts import LATEST_START, start_for_agent
from gnjobs.health.assess import BEAT_SECONDS
from gnjobs.processes.files import LOOKS
from gnjobs.processes.find import wanted_of
from gnjobs.processes.host import allow_many_descriptors, host_name, load_here
from gnjobs.processes.proc import ended_children
from gnjobs.processes.seen import Identity
from gnjobs.processes.table import require_our_processes
from gnjobs.records import events
from gnjobs.records.actor import Actor, AgentStarts
from gnjobs.records.connection import is_passing, patiently
from gnjobs.records.fields import Job
from gnjobs.records.hooks import LONGEST_RUN
from gnjobs.records.hosts import AGENT_BEAT_SECONDS, renew_list, write_beat
from gnjobs.records.indexes import tidy
from gnjobs.records.listener import ControlListener
from gnjobs.records.pool import RequestPool
from gnjobs.records.reading import Records
from gnjobs.records.requests import (
    APPLICATIONS,
    ControlRequest,
    KillStep,
    asker_words,
    proven_asker,
    proven_user,
    step,
)
from gnjobs.records.servers import explain
from gnjobs.text import complain

_ALREADY_RUNS = 1
_FINISHING_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 60.0
_TIDY_SECONDS: Final = 60.0
# No child of ours that has ended is read from for so long.
_NOBODY_WAITS_SECONDS: Final = 2 * LONGEST_RUN
_LISTENING_SECONDS: Final = 2.0
_LONGEST_GRACE_OF_USERS: Final = 60.0


def run_agent(store: Records, *, starts: Mapping[str, AgentStarts] | None = None) -> int:
    """Be this host's agent until SIGTERM or SIGINT; returns an exit code, 1 where another one is at work.

    It starts the jobs that `starts` allows (by account), by default none. Raises `NoProcesses`.
    """
    require_our_processes()
    allow_many_descriptors()
    agent = Agent(store, starts=starts)
    holder = agent.begin()
    if holder is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, agent.stop)
        holder = agent.run()
    if holder is None:
        return 0
    complain(f"an agent for {store.keys.prefix} already runs on {host_name()}: {holder}")
    return _ALREADY_RUNS


class Agent:
    """The agent's work; `look_around` is one round of it."""

    def __init__(
        self,
        store: Records,
        every: float = BEAT_SECONDS,
        starts: Mapping[str, AgentStarts] | None = None,
    ) -> None:
        self._store = store
        self._starts = starts or {}
        self._every = every
        self._host = host_name()
        self._lock = AgentLock(store.client, store.keys.host_agent(self._host))
        self._stop_asked = threading.Event()
        self._own_streams = [store.keys.host_control(self._host), store.keys.host_starts(self._host)]
        # What was asked while no agent heard it is still waited for as long as this.
        self._listener = ControlListener(
            store.url,
            store.keys,
            self._own_streams,
            self._take,
            last_seconds=AGENT_BEAT_SECONDS,
            is_for_us=self._is_for_us,
            block_seconds=_LISTENING_SECONDS,
        )
        self._pool = RequestPool(self._do, self._listener.answer, store.keys)
        self._rounds = Rounds(store, self._finish_kill)
        self._slurm = SlurmRounds(store)
        self._tidy_at = 0.0
        self._kills: dict[str, float] = {}
        self._ended: dict[Identity, float] = {}  # children, and since when (monotonic)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:  # noqa: ARG002
        """End after what is being done."""
        self._stop_asked.set()

    def begin(self) -> Holder | None:
        """Become the agent, waiting for a Redis that is away, and saying so; returns who is it already."""
        try:
            return self._lock.take()
        except redis.RedisError as error:
            if not is_passing(error):
                raise
            self._tell_of(error)
        return patiently(self._lock.take)

    def run(self) -> Holder | None:
        """Beat, look around and answer until told to stop, or until another one is the agent, which is returned."""
        self._listener.start()
        rounds = threading.Thread(target=self._go_rounds, name="rounds", daemon=True)
        rounds.start()
        other = None
        while other is None and not self._stop_asked.is_set():
            other = self._beat()
            if other is None:
                self._stop_asked.wait(self._every)
        self._stop_asked.set()
        rounds.join(_FINISHING_SECONDS)
        self._end(other)
        return other

    def _beat(self) -> Holder | None:
        """Say that we are there, however long a round takes and whatever is asked; returns who else is the agent.

        One that can't be looked at is waited for: anybody with an agent's login may write that there is one.
        """
        try:
            other = self._lock.take()
            if other is None:
                write_beat(self._store.client, self._store.keys, self._host, load_here(self._store.now()))
        except Exception as error:  # noqa: BLE001 - whatever answers in Redis' place, the next beat may be heard
            self._tell_of(error)
            return None
        return other

    def _go_rounds(self) -> None:
        """Look around again and again, whatever comes of it."""
        while not self._stop_asked.is_set():
            due = time.monotonic() + self._every
            try:
                self.look_around()
            except Exception as error:  # noqa: BLE001 - the next round may succeed
                self._tell_of(error)
            self._stop_asked.wait(max(0.0, due - time.monotonic()))

    def _end(self, other: Holder | None) -> None:
        """Let what is being done end, and make room."""
        self._pool.join(_FINISHING_SECONDS)
        if other is not None:
            return
        try:
            self._store.client.zrem(self._store.keys.hosts, self._host)
            self._lock.release()
        except Exception as error:  # noqa: BLE001 - all else is done
            self._tell_of(error)

    def _tell_of(self, error: Exception) -> None:
        is_of_redis = isinstance(error, redis.RedisError)
        failed = f"it failed, and goes on: {type(error).__name__}: {error}"
        complain(f"agent: {explain(error, self._store.url) if is_of_redis else failed}")

    def _take(self, request: ControlRequest) -> None:
        if not self._stop_asked.is_set():
            self._pool.take(request)

    def _is_for_us(self, request: ControlRequest) -> bool:
        """Whether it was asked of this host's agent, or by a user for her job here whose supervisor can't hear it."""
        user = proven_user(self._store.keys, request)
        return user is None or self._rounds.overdue.get(request.job or "", (None,))[0] == user

    def _do(self, request: ControlRequest) -> Iterable[KillStep]:
        """Do what is asked, unless it was asked of an earlier job of this id: it, or we, may have waited for long.

        A job of the future was made by another clock, or one that was set back since, and may be the one.
        """
        if request.job:
            job = self._store.get(request.job)
            made = job.created or 0.0
            if not request.is_of(wanted_of(job).token, made if made <= self._store.now() else 0.0):
                return [step("refused", "it was asked of an earlier job of this id", final=True)]
        if request.kind == "start" and self._store.now() - request.asked_ms / 1000 > LATEST_START:
            return [
                step("refused", "it was asked too long ago: nobody waits for the start any more", final=True)
            ]
        return self._steps(request)

    def _steps(self, request: ControlRequest) -> Iterable[KillStep]:
        """Do what is asked; what a user asks reaches only processes that were launched for that user.

        Applications may have jobs started, and nothing else: kills they ask for in their users' names.
        """
        user, asker = proven_user(self._store.keys, request), asker_words(self._store.keys, request)
        if request.kind == "start" and request.job and user is None:
            job = self._store.get(request.job)
            account = start_for_agent(job, self._store, self._starts, request.digest)
            return [step("written", f"started on {self._host} as {account}", verified=True, final=True)]
        if proven_asker(self._store.keys, request) == APPLICATIONS:
            return [step("refused", f"{request.kind} is for admins and the job's owner to ask", final=True)]
        if request.kind == "kill" and request.job:
            return kill_job(
                self._store,
                request.job,
                request.child,
                actor=Actor.admin(asker) if user is None else Actor(asker, "curator", (user,)),
                reason=request.reason,
                grace=request.grace if user is None else min(request.grace, _LONGEST_GRACE_OF_USERS),
                force=request.force,
                as_agent=True,
            )
        if request.kind in LOOKS and request.job:
            found = find_here(self._store, self._store.get(request.job), request.child, user)
            return [step("answered", LOOKS[request.kind](found), final=True)]
        return [step("refused", f"an agent can't {request.kind}", final=True)]

    def look_around(self) -> None:
        """Look at unfinished jobs of this host, and hear the owners of those that nobody reports on.

        What fails in one part of it does not stop the others.
        """
        now = self._store.now()
        try:
            self._rounds.go(now)
            self._listener.streams = self._streams()
        finally:
            try:
                self._slurm.go(self._rounds.in_slurm, now)
            finally:
                self._tidy()

    def _tidy(self) -> None:
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + _TIDY_SECONDS
            self._wait_for_ended()
            tidy(self._store.client, self._store.keys)
            renew_list(self._store.client, self._store.keys)
            if events.renew_log(self._store.client, self._store.keys):
                why = "somebody dated an entry in the future, and no others could follow it"
                complain(f"agent: a new event log was begun: {why}")

    def _wait_for_ended(self) -> None:
        """Let children go that nobody waits for: the code that we start can give us any number (`CLONE_PARENT`)."""
        now = time.monotonic()
        self._ended = {each: self._ended.get(each, now) for each in ended_children()}
        for (pid, _), since in self._ended.items():
            if now - since > _NOBODY_WAITS_SECONDS:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _streams(self) -> dict[str, object]:
        """What is heard: the host's requests, and those of owners, heard again whenever another job is overdue."""
        keys = self._store.keys
        jobs: defaultdict[str, set[str]] = defaultdict(set)
        for job_id, (owner, _) in self._rounds.overdue.items():
            jobs[keys.user_requests(owner)].add(job_id)
        return {**dict.fromkeys(self._own_streams), **jobs}

    def _finish_kill(self, job: Job) -> None:
        """Go on with a kill whose supervisor died over it, again after a while where something was left."""
        if not job.is_supervised or time.monotonic() < self._kills.get(job.id, 0.0):
            return
        self._kills = {name: until for name, until in self._kills.items() if until > time.monotonic()}
        self._kills[job.id] = time.monotonic() + _AGAIN_SECONDS
        asked = f"/{int((job.stop_requested or self._store.now()) * 1000)}-0"
        by, reason, mark = job.stop_by or "agent", job.stop_reason or "", wanted_of(job).token
        request = ControlRequest(asked, "kill", job.id, by=by, reason=reason, digest=mark)
        self._pool.take(request)
