"""Runs kinds of processes side by side under supervisors and compares what is said of them with what is true."""

import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import psutil

from gnjobs.health.verdict import Health
from gnjobs.processes.presence import look
from gnjobs.store import JobStore
from tests.health.corpus.kinds import KINDS
from tests.support.servers import Server
from tests.support.supervised import SupervisedJob

LIMIT = 8.0
NAMED_WITHIN = 15.0
OVERDUE = 15.0
LONGEST = 240.0
_STARTS_CPU = 0.03
_MOST_CPU = 1.0
_STATES = {
    "asleep": {psutil.STATUS_SLEEPING, psutil.STATUS_IDLE},
    "stopped": {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP},
    "in uninterruptible sleep": {psutil.STATUS_DISK_SLEEP},
}


class Idling:
    """Since when a job's processes do nothing, as the test itself sees it: none begins or ends, and none computes.

    `blind` is for how many seconds the test, which is slow where many others work, had not looked before.
    """

    def __init__(self, supervisor: int) -> None:
        self._supervisor = supervisor
        self._before: tuple[frozenset[int], float] = (frozenset(), 0.0)
        self._since = time.monotonic()
        self._looked_at = time.monotonic()
        self.blind = 0.0
        self.is_lost = False

    def look(self, below: Mapping[int, list[psutil.Process]]) -> None:
        """Look at the processes; `below` are those of this machine by their parents."""
        before, self._looked_at = self._looked_at, time.monotonic()
        self.blind = self._looked_at - before
        with contextlib.suppress(psutil.Error):
            is_lost = psutil.Process(self._supervisor).status() in (
                psutil.STATUS_ZOMBIE,
                psutil.STATUS_STOPPED,
            )
            if is_lost != self.is_lost:
                self.is_lost, self._since = is_lost, time.monotonic()
        if self.is_lost:
            return
        found, waiting, used = set(), [self._supervisor], 0.0
        while waiting:
            for process in below.get(waiting.pop(), ()):
                waiting.append(process.pid)
                found.add(process.pid)
                used += sum(process.info["cpu_times"][:2])
        pids, before = self._before
        if found != pids or not found or used > before + _STARTS_CPU:
            self._before, self._since = (frozenset(found), used), time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long."""
        return time.monotonic() - self._since

    @property
    def within(self) -> float:
        """Seconds of idling, or without a supervisor, after which a job has to be named."""
        return (OVERDUE if self.is_lost else LIMIT) + NAMED_WITHIN


class Named(NamedTuple):
    """The verdict that a kind got first, how many seconds too late at least, and all that was said of it since."""

    verdict: str
    late: float
    said: list[str]


def wrongs(
    server: Server, names: Iterable[str], slack: float = 0.0, watched: float = 3 * LIMIT + NAMED_WITHIN
) -> list[str]:
    """What was said of these kinds that is not so, one line each.

    They are watched for so many seconds and until each that idles was named; `slack` is for a machine that is busy.
    """
    found: list[str] = []
    named: dict[str, Named] = {}
    with contextlib.ExitStack() as stack:
        store, began = JobStore.from_url(server.url), time.monotonic()
        jobs = {name: SupervisedJob(server, KINDS[name].command, stuck_after=str(LIMIT)) for name in names}
        for job in jobs.values():
            stack.callback(job.end)
            # As `launch` does it: where the kernel shares out processors by session, none starves in ours.
            job.supervise(start_new_session=True)
        idling = {name: Idling(job.processes[0].pid) for name, job in jobs.items()}
        is_over = False
        while not is_over and time.monotonic() < began + LONGEST + slack:
            time.sleep(1.0)
            below = _processes_by_parent()
            for name, job in jobs.items():
                idling[name].look(below)
                health = store.view(job.id).glance(look).health
                if health.verdict in ("stuck", "dead"):
                    age = time.monotonic() - began
                    found += _compare(name, job, health, idling[name], age, named)
            is_over = (
                all(
                    name in named or idling[name].seconds > idling[name].within + slack
                    for name in jobs
                    if KINDS[name].says is not None
                )
                and time.monotonic() > began + watched
            )
        ended = [
            f"{name}: has ended: {job.read().error}" for name, job in jobs.items() if job.read().is_final
        ]
    return list(dict.fromkeys([*found, *ended, *_unsaid(jobs, named, slack)]))


def _processes_by_parent() -> Mapping[int, list[psutil.Process]]:
    found = defaultdict(list)
    for process in psutil.process_iter(["ppid", "cpu_times"]):
        if process.info["cpu_times"] is not None:
            found[process.info["ppid"]].append(process)
    return found


def _compare(
    name: str, job: SupervisedJob, health: Health, idling: Idling, age: float, named: dict[str, Named]
) -> Iterator[str]:
    said = " ".join(health.evidence)
    if KINDS[name].says is None and name not in named:
        yield f"{name}: accused after {age:.0f} s: {said}"
    named.setdefault(
        name, Named(health.verdict, idling.seconds - idling.blind - idling.within, [])
    ).said.append(said)
    yield from (f"{name}: untrue: {what}: {said}" for what in untruths(job, said, age))


def _unsaid(jobs: Iterable[str], named: Mapping[str, Named], slack: float) -> Iterator[str]:
    for name in jobs:
        says, verdict = KINDS[name].says, KINDS[name].verdict
        if says is None:
            continue
        if name not in named:
            yield f"{name}: never named"
        elif named[name].verdict != verdict:
            yield f"{name}: {named[name].verdict}, not {verdict}: {named[name].said[0]}"
        elif named[name].late > slack:
            yield f"{name}: named {named[name].late:.0f} s too late"
        elif not re.search(says, named[name].said[-1]):
            yield f"{name}: not said: {says}: {named[name].said[-1]}"


def untruths(job: SupervisedJob, said: str, age: float) -> Iterator[str]:
    """What is said of a stuck job that began `age` seconds ago and that this machine does not bear out."""
    for number in re.findall(r"CPU ([\d.]+) %", said):
        if float(number) > _MOST_CPU:
            yield f"CPU of {number} %"
    if "runnable" in said or re.search(r" in \w+\(\)", said):
        yield "at work"
    for seconds in re.findall(r"(?:idle|heartbeat)[^;,(]* for (\d+) s", said):
        if not LIMIT <= int(seconds) <= age + 1:
            yield f"{seconds} s, of {age:.0f}"
    for pid, rest in re.findall(r"pid (\d+)([^;·]*)", said):
        yield from _untruths_of_process(job, int(pid), rest)


def _untruths_of_process(job: SupervisedJob, pid: int, rest: str) -> Iterator[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        supervisor = {each.pid for each in job.processes}
        family = {pid, *(each.pid for each in process.parents())}
        marked = {each.pid for each in job.alive()}
        if not family & (supervisor | marked):
            yield f"{pid} is not of the job"
        program = re.match(r" \(([^)]*)\)", rest)
        command = " ".join([process.name(), *process.cmdline()])
        if program and program.group(1) not in command:
            yield f"{pid} is {command}"
        status = process.status()
        for words, states in _STATES.items():
            is_said = re.search(rf"\W{words}(?! by)", rest)
            is_awake = status == psutil.STATUS_RUNNING  # which it may be for a moment
            if is_said and status not in states and not is_awake:
                yield f"{pid} is {status}"
        return
    yield f"{pid} is gone"
