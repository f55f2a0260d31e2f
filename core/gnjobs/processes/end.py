"""Ending processes for sure: TERM, after a grace time KILL, and looking again until nothing is found.

Whole jobs, by their supervisor or in its place, and single children all end this way.
"""

import contextlib
import math
import os
import resource
import select
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import msgspec
import redis

from gnjobs.processes.host import account_name
from gnjobs.processes.proc import owners_of, process_start
from gnjobs.processes.seen import Found, Identity, SeenProcess
from gnjobs.processes.table import UNREAD, read_mark
from gnjobs.records.ends import StopRequest, conclude_kill
from gnjobs.records.fields import Child, Job
from gnjobs.records.reading import Records
from gnjobs.records.requests import KillStep, pid_list, step
from gnjobs.records.scripts import transition
from gnjobs.records.statuses import PENDING, RUNNING, STOPPING

# How long KILL is repeated before what is left is named: a process in uninterruptible sleep outlives it.
KILL_SECONDS = 5.0
_LOOK_EVERY = 0.1
_EMPTY_LOOKS = 2
_MOST_HELD = 200  # by one ending, of the descriptors that a process may have
# How long what can't be inspected is looked at again: a process that is just being started may be so for a moment.
_HIDDEN_SECONDS = 0.5
_TOO_QUICK = "it forks and ends faster than it can be signalled"


class HeldProcess:
    """One process held by a pidfd, so that no signal ever reaches another one of the same pid."""

    def __init__(self, process: SeenProcess, pidfd: int) -> None:
        self.process = process
        self.pidfd = pidfd

    @classmethod
    def hold(cls, process: SeenProcess, found: Found) -> "HeldProcess | None":
        """Open the process, then check that it is what was found; None where it is gone, or to be looked at again."""
        try:
            pidfd = os.pidfd_open(process.pid)
        except OSError:
            return None
        if not _is_what_was_found(process, found):
            os.close(pidfd)
            return None
        return cls(process, pidfd)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; returns whether it was allowed (a process that is gone counts as such)."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True


def _is_what_was_found(process: SeenProcess, found: Found) -> bool:
    """Whether the process behind the pidfd has the start, mark and account that it was found by.

    One that descends from the job, and whose mark was not read among so many, may say no other job's or child's.
    """
    owners = owners_of(process.pid)
    account = account_name(owners[0]) if owners else None
    if (process_start(process.pid), account) != (process.started, process.account):
        return False
    seen, mark = found.marks.get(process.pid), read_mark(process.pid)
    if seen is not None and mark is not None and seen.may_be_elsewhere:
        seen = seen._replace(place=mark.place)  # it descends from the job, wherever its server is
    if seen != UNREAD or mark is None:
        return mark == seen
    return mark.job in (None, found.job) and mark.child in (None, process.child)


def _descriptors_left() -> int:
    """How many more this process may have: whoever launched a job, or its code, may leave its supervisor few."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = len(os.listdir("/proc/self/fd"))
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - used


class _Ending:
    """All processes that one ending has found so far, alive and gone."""

    def __init__(self, find: Callable[[], Found]) -> None:
        self._find = find
        self._poll = select.poll()
        self.alive: dict[int, HeldProcess] = {}
        self.met: set[Identity] = set()
        self.refused: dict[int, str] = {}
        self.hidden: tuple[tuple[int, str], ...] = ()
        self.seen: tuple[SeenProcess, ...] = ()
        self.passing: int | None = None

    def look(self) -> list[HeldProcess]:
        """Find the job's processes again and hold those that are new; returns these."""
        found = self._find()
        self.hidden, self.seen, self.passing = found.hidden, found.processes, found.passing
        held = {target.process.identity for target in self.alive.values()}
        new = list[HeldProcess]()
        room = _descriptors_left() // 2  # the others are for looking
        for process in found.processes:
            if len(self.alive) >= _MOST_HELD or (self.alive and len(new) >= room):
                break  # the others' turn comes when these are gone
            target = None if process.identity in held else HeldProcess.hold(process, found)
            if target is None:
                continue
            self.alive[target.pidfd] = target
            self._poll.register(target.pidfd, select.POLLIN)
            self.met.add(process.identity)
            new.append(target)
        return new

    def send(self, targets: list[HeldProcess], number: signal.Signals) -> None:
        """Signal targets; a stopped one is continued so that it can end."""
        for target in targets:
            if not target.send(number):
                self.refused[target.process.pid] = target.process.account or "another account"
            elif number == signal.SIGTERM:
                target.send(signal.SIGCONT)

    def wait(self, seconds: float) -> list[int]:
        """Wait until a process ends or the time is over; returns the pids that have ended."""
        ended = []
        for pidfd, _ in self._poll.poll(max(0, seconds) * 1000):
            target = self.alive.pop(pidfd)
            self._poll.unregister(pidfd)
            os.close(pidfd)
            ended.append(target.process.pid)
        return ended

    def close(self) -> None:
        """Close the pidfds that are still open."""
        for pidfd in self.alive:
            os.close(pidfd)
        self.alive = {}


def end_processes(
    find: Callable[[], Found], *, grace: float, until: Callable[[], float] = lambda: math.inf
) -> Generator[KillStep, None, KillStep]:
    """End everything that `find` finds, now and on looking again; yields each step, and returns the verdict.

    TERM to every process, KILL to what is left after `grace` seconds, and by `until` (monotonic). The verdict is
    `verified` (two looks found nothing), with the pids that are gone, or `left`, which names what would not end and
    what can't be seen.
    """
    ending = _Ending(find)
    try:
        yield from _terminate(ending, grace, until)
        yield from _kill(ending)
        return _verdict(ending)
    finally:
        ending.close()


def _terminate(ending: _Ending, grace: float, until: Callable[[], float]) -> Iterator[KillStep]:
    latest = math.inf if grace > 0 else -math.inf
    while (left := min(latest, until()) - time.monotonic()) > 0:
        new = ending.look()
        # The first look, before anything is told to end, may take long.
        latest = min(latest, time.monotonic() + grace)
        if new:
            ending.send(new, signal.SIGTERM)
            pids = [target.process.pid for target in new]
            yield step("signalled", f"TERM to {pid_list(pids)}", pids)
        if not ending.alive:
            return
        if ended := ending.wait(min(left, _LOOK_EVERY)):
            yield step("gone", f"{pid_list(ended)} gone", ended)


def _kill(ending: _Ending) -> Iterator[KillStep]:
    empty, now = 0, time.monotonic()
    deadline, hidden_until = now + KILL_SECONDS, now + _HIDDEN_SECONDS
    told: set[int] = set()
    while empty < _EMPTY_LOOKS and time.monotonic() < deadline:
        ending.look()
        targets = list(ending.alive.values())
        is_unclear = bool(ending.hidden) and time.monotonic() < hidden_until
        empty = 0 if targets or ending.seen or ending.passing or is_unclear else empty + 1
        ending.send(targets, signal.SIGKILL)
        if pids := [target.process.pid for target in targets if target.process.pid not in told]:
            told.update(pids)
            yield step("killing", f"KILL to {pid_list(pids)}", pids)
        if (targets or is_unclear) and (ended := ending.wait(_LOOK_EVERY)):
            yield step("gone", f"{pid_list(ended)} gone", ended)
    if empty < _EMPTY_LOOKS:
        ending.look()


def _verdict(ending: _Ending) -> KillStep:
    total = len(ending.met)
    quick = [] if ending.passing is None else [ending.passing]
    left = dict.fromkeys([*quick, *(process.pid for process in ending.seen)], _TOO_QUICK)
    left |= {target.process.pid: _why(target, ending) for target in ending.alive.values()}
    left |= dict(ending.hidden)
    if not left:
        text = f"verified: {total} of {total} gone" if total else "was already gone"
        return step("verified", text, sorted(pid for pid, _ in ending.met), verified=True)
    named = "; ".join(f"{pid} ({why})" for pid, why in left.items())
    return step("left", f"left running: {named}", left)


def _why(target: HeldProcess, ending: _Ending) -> str:
    pid = target.process.pid
    if pid in ending.refused:
        return f"it runs as {ending.refused[pid]}, whom we may not signal"
    return f"state {target.process.state}, {target.process.command:.60}"


class Ended(NamedTuple):
    """How an ending went: what was there to be ended, what outlived it, how long it took (seconds)."""

    targets: Sequence[SeenProcess] = ()
    survivors: Sequence[SeenProcess] = ()
    took: float = 0.0
    verdict: KillStep | None = None


class EndingThread(threading.Thread):
    """Ends everything that `find` finds beside other work; says each step, and at last how it went.

    `prepare` is done before, `conclude` after the processes are gone.
    """

    def __init__(
        self,
        find: Callable[[], Found],
        grace: float,
        *,
        prepare: Callable[[], object],
        conclude: Callable[[], object],
        on_step: Callable[[KillStep], None],
        on_ended: Callable[[Ended], None],
    ) -> None:
        super().__init__(name="ending", daemon=True)
        self._find = find
        self._grace = grace
        self._prepare = prepare
        self._conclude = conclude
        self._on_step = on_step
        self._on_ended = on_ended
        self._until = math.inf
        self._seen: dict[int, SeenProcess] = {}

    def hurry(self, grace: float = 0.0) -> None:
        """Cut the grace time short where it is longer: send KILL after these seconds, by default now."""
        self._until = min(self._until, time.monotonic() + grace)

    def run(self) -> None:
        """End the processes and report it, whatever goes wrong."""
        begun = time.monotonic()
        try:
            last = self._end()
        except Exception as error:  # noqa: BLE001 - a job whose supervisor waits for its end for ever has none
            last = step("left", f"looking for its processes failed: {error}")
        survivors = [] if last.verified else [self._seen[pid] for pid in last.pids if pid in self._seen]
        self._on_ended(Ended(list(self._seen.values()), survivors, time.monotonic() - begun, last))

    def _end(self) -> KillStep:
        self._prepare()
        steps = end_processes(self._look, grace=self._grace, until=lambda: self._until)
        while True:
            try:
                self._on_step(next(steps))
            except StopIteration as over:
                verdict: KillStep = over.value
                break
        self._conclude()
        return verdict

    def _look(self) -> Found:
        """Find the processes to end and remember them."""
        found = self._find()
        self._seen |= {process.pid: process for process in found.processes}
        return found


def kill_child(
    records: Records,
    job: Job,
    child: Child,
    stop: StopRequest,
    find: Callable[[str | None], Found],
    *,
    look: Callable[[], Found] | None = None,
    grace: float,
    wait_seconds: float = 0.0,
) -> Iterator[KillStep]:
    """Kill one child alone, while its siblings go on; yields each step, the last of them final.

    `find` finds the processes of one child, or those of the whole job for None; `look` what is to be ended, by default
    the child's. One that waits is marked as killed, and not called gone: nothing shows whether its job heeds that, or
    it is a thread. Waits up to `wait_seconds` for a Redis that is away.
    """
    if child.is_final:
        yield step("skipped", f"it has already ended: {child.status}", verified=True, final=True)
        return
    obstacle = _why_not_alone(child, find)
    if obstacle is not None:
        yield step("refused", obstacle, final=True)
        return
    key = records.keys.child(job.id, child.id)
    with contextlib.suppress(redis.RedisError):  # what counts is that it ends
        run = records.run_of(job)
        transition(records.client, key, (PENDING, RUNNING), STOPPING, uuid.uuid4().hex, stop.fields, run)
    verdict = yield from end_processes(look or (lambda: find(child.id)), grace=grace)
    is_said_to_wait = child.status == PENDING and verdict.verified and not verdict.pids
    if is_said_to_wait:
        verdict = msgspec.structs.replace(verdict, text="no process of it was found")
    last = conclude_kill(records, job, child, stop, verdict, wait_seconds=wait_seconds)
    if is_said_to_wait and last.kind == "written":
        text = f"{last.text}; yet its job may start it later, or runs it as a thread"
        last = msgspec.structs.replace(last, kind="left", verified=False, text=text)
    yield last


def _why_not_alone(child: Child, find: Callable[[str | None], Found]) -> str | None:
    """Say why a child that has not ended can't be killed alone, else None.

    `find` finds the processes of one child, and those of the whole job for None.
    """
    if child.status == PENDING and child.pid is None:
        return None
    own = {process.pid for process in find(child.id).processes}
    if child.pid is None:
        return None if own else "no process of it is known; kill the whole job"
    if child.pid in own:
        return None
    starts = {each.pid: each.started for each in find(None).processes}
    # The pid of a child that Slurm placed on another node, whose `srun` is here, may be another process here.
    is_elsewhere = own and child.process_started not in (None, starts.get(child.pid))
    if child.pid in starts and not is_elsewhere:
        return f"it is a thread of pid {child.pid}, which can't be killed alone; kill the whole job"
    return None
