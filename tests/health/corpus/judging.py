"""Runs kinds of processes side by side under supervisors and compares what is said of them with what is true."""

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import psutil

from gnjobs.health.verdict import Health
from gnjobs.processes.presence import look
from gnjobs.store import JobStore
from tests.health.corpus.kinds import KINDS
from tests.support.servers import Server
from tests.support.supervised import SupervisedJob, supervised

LIMIT = 8.0
NAMED_WITHIN = 15.0
START_SECONDS = 10.0
_MOST_CPU = 1.0
_STATES = {
    "asleep": {psutil.STATUS_SLEEPING, psutil.STATUS_IDLE},
    "stopped": {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP},
    "in uninterruptible sleep": {psutil.STATUS_DISK_SLEEP},
}


class Named(NamedTuple):
    """The verdict that a kind got first, after how many seconds, and all that was said of it since."""

    verdict: str
    after: float
    said: list[str]


def wrongs(server: Server, names: Iterable[str], slack: float = 0.0) -> list[str]:
    """What was said of these kinds that is not so, one line each; `slack` in seconds for a machine that is busy."""
    found: list[str] = []
    named: dict[str, Named] = {}
    with contextlib.ExitStack() as stack:
        store = JobStore.from_url(server.url)
        jobs, began = {}, {}
        for name in names:
            job = supervised(server, KINDS[name].command, stuck_after=str(LIMIT))
            jobs[name], began[name] = stack.enter_context(job), time.monotonic()
        within = START_SECONDS + LIMIT + NAMED_WITHIN + slack
        while time.monotonic() < max(began.values()) + within:
            for name, job in jobs.items():
                health = store.view(job.id).glance(look).health
                if health.verdict in ("stuck", "dead"):
                    found += _compare(name, job, health, time.monotonic() - began[name], named)
            time.sleep(1.0)
    return list(dict.fromkeys(found + list(_unsaid(jobs, named, within))))


def _compare(
    name: str, job: SupervisedJob, health: Health, after: float, named: dict[str, Named]
) -> Iterator[str]:
    said = " ".join(health.evidence)
    if KINDS[name].says is None and name not in named:
        yield f"{name}: accused after {after:.0f} s: {said}"
    named.setdefault(name, Named(health.verdict, after, [])).said.append(said)
    yield from (f"{name}: untrue: {what}: {said}" for what in untruths(job, said, after))


def _unsaid(jobs: Iterable[str], named: Mapping[str, Named], within: float) -> Iterator[str]:
    for name in jobs:
        says, verdict = KINDS[name].says, KINDS[name].verdict
        if says is None:
            continue
        if name not in named:
            yield f"{name}: never named"
        elif named[name].verdict != verdict:
            yield f"{name}: {named[name].verdict}, not {verdict}: {named[name].said[0]}"
        elif named[name].after > within:
            yield f"{name}: named after {named[name].after:.0f} s"
        elif not re.search(says, named[name].said[-1]):
            yield f"{name}: not said: {says}: {named[name].said[-1]}"


def untruths(job: SupervisedJob, said: str, age: float) -> Iterator[str]:
    """What is said of a stuck job that began `age` seconds ago and that this machine does not bear out."""
    for number in re.findall(r"CPU ([\d.]+) %", said):
        if float(number) > _MOST_CPU:
            yield f"CPU of {number} %"
    if "runnable" in said or re.search(r" in \w+\(\)", said):
        yield "at work"
    for seconds in re.findall(r"(?:progress|idle|beat)[^;,(]* for (\d+) s", said):
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
            if is_said and status not in states and status != psutil.STATUS_RUNNING:  # it may wake for a moment
                yield f"{pid} is {status}"
        return
    yield f"{pid} is gone"
