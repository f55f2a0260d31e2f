"""What a supervisor costs while its job does nothing new: processor time, memory, and the samples that it takes."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tests.benchmarks.measure import Measurement
from tests.support.servers import Server, running_server
from tests.support.supervised import SupervisedJob, supervised
from tests.support.waiting import wait_for

SECONDS = 120.0
STARTED_AFTER = 20.0
PROCESSES = 20
SLEEPERS = ["sh", "-c", f"for n in $(seq {PROCESSES - 1}); do sleep 3600 & done; wait"]
SILENT = [sys.executable, "-c", "def align():\n while True: sum(range(1000))\nalign()"]
# Quiet after 10 s, and then sampled as often as it is at most; a job with the usual limits is sampled once a minute.
OFTEN = {"stuck_after": "10"}
SAMPLES = SECONDS / 10


def measure(directory: Path) -> Iterator[Measurement]:
    """Of a job of sleeping processes, then of one that computes in silence."""
    with running_server(directory) as server:
        asleep, memory = _cost(server, SLEEPERS)
        sampling, _ = _cost(server, SILENT, **OFTEN)
    name = f"supervisor at rest with {PROCESSES} processes"
    yield Measurement(name=name, value=100 * asleep / SECONDS, unit="% of a core", budget=0.5)
    yield Measurement(name=f"{name}, memory", value=memory, unit="MB", budget=40.0)
    each = 1000 * (sampling - asleep) / SAMPLES
    yield Measurement(name="one sample of a silent computation's stack", value=each, unit="ms of a core")


def _cost(server: Server, command: Sequence[str], **fields: str) -> tuple[float, float]:
    """Processor time (s) that a supervisor and what it starts for itself use in `SECONDS`, and its memory (MB)."""
    with supervised(server, command, **fields) as job:
        wait_for(lambda: _has_settled(job), 120)
        supervisor = psutil.Process(job.processes[0].pid)
        before = _used(supervisor)
        time.sleep(SECONDS)
        return _used(supervisor) - before, supervisor.memory_info().rss / 1e6


def _has_settled(job: SupervisedJob) -> bool:
    record = job.read()
    return (record.heartbeat or 0.0) - (record.started or 0.0) > STARTED_AFTER


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system
