"""Where a process that computes without a word is in its code: what many samples have in common is said."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnjobs.health.sampling import StackSamples
from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import SeenProcess
from gnjobs.processes.stack import Frame, python_frames
from gnjobs.store import JobStore
from tests.support.servers import Server
from tests.support.supervised import supervised
from tests.support.waiting import wait_for

WORKER = """\
def inner(number):
    return sum(range(number))

def align():
    while True:
        for number in range(1000, 2000):
            inner(number)

align()
"""


IN_SCRIPT = re.compile(r".*in (align|inner)\(\) \(silent\.py(:\d)?\) for .* s, by \d+ samples")


def written(directory: Path) -> Path:
    script = directory / "silent.py"
    script.write_text(WORKER)
    return script


@contextlib.contextmanager
def script_at_work(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, str(written(directory))])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def busy(pid: int = os.getpid(), cpu: float = 99.0) -> SeenProcess:
    return SeenProcess(pid, process_start(pid) or 1, None, "R", cpu)


class Stacks:
    """Gives stacks in turn, each when it is asked for."""

    def __init__(self, *stacks: str) -> None:
        self._stacks: Iterator[str] = iter(stacks)
        self.asked: list[int] = []

    def __call__(self, pid: int) -> dict[int, tuple[Frame, ...]]:
        self.asked.append(pid)
        words = next(self._stacks).split()
        frames = [(word.partition(":")[0], int(word.partition(":")[2] or 1)) for word in words]
        return {1: tuple(Frame(name, "qc.py", line) for name, line in frames)} if words else {}


def sampled(monkeypatch: pytest.MonkeyPatch, *stacks: str) -> str | None:
    """What is said after these samples, taken a minute apart."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    samples = StackSamples(Stacks(*stacks))
    for _ in stacks:
        samples.sample([busy()], every=60.0)
        assert samples._thread is not None
        samples._thread.join()  # one that is ending is in no list, and counts as alive
        clock[0] += 60.0
    return samples.tell([busy()])[0].code


def test_the_innermost_function_that_stays_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sampled(monkeypatch, "main align:8 a") is None
    assert (
        sampled(monkeypatch, "main align:8", "main align:8") == "in align() (qc.py:8) for 1 min, by 2 samples"
    )
    varied = ["main align:8 a", "main align:9 b", "main align:8 b", "main align:8 b"]
    assert sampled(monkeypatch, *varied) == "in align() (qc.py) for 3 min, by 4 samples"
    long = ["main load"] * 9 + ["main align a", "main align b"] * 3
    assert sampled(monkeypatch, *long) == "in align() (qc.py:1) for 5 min, by 6 samples"
    assert (
        sampled(monkeypatch, *long, "main load", "main load")
        == "in main() (qc.py:1) for 16 min, by 17 samples"
    )
    assert sampled(monkeypatch, "<module>:3", "<module>:3") == "in qc.py:3 for 1 min, by 2 samples"


def test_samples_are_taken_far_apart_of_the_busiest_and_of_none_that_can_not_be_read() -> None:
    stacks = Stacks("", "main", *[""] * 20)
    samples = StackSamples(stacks)
    processes = [busy(1, 0.9), busy(2, 50.0), busy(3, 99.0), busy(4, 60.0)]
    for _ in range(5):
        samples.sample(processes, every=60.0)
    wait_for(lambda: len(stacks.asked) >= 2, 10)
    assert stacks.asked == [3, 4]


def test_samples_of_a_real_computation_name_its_functions(tmp_path: Path) -> None:
    with script_at_work(tmp_path) as process:
        samples, seen = StackSamples(apart=0.0), busy(process.pid)

        def names_the_script() -> bool:
            samples.sample([seen], every=0.0)
            return bool(IN_SCRIPT.match(samples.tell([seen])[0].code or ""))

        wait_for(names_the_script, 60)


@pytest.mark.faults
def test_a_silent_computation_says_where_it_is(server: Server, tmp_path: Path) -> None:
    with supervised(server, [sys.executable, str(written(tmp_path))], stuck_after="1") as job:
        store = JobStore.from_url(server.url)

        def said() -> str | None:
            listed = store.many([job.id])[0]
            return listed.doing.code if listed is not None and listed.doing is not None else None

        wait_for(lambda: IN_SCRIPT.match(said() or ""), 120)
        evidence = store.view(job.id).glance().health.evidence
        assert evidence[0].startswith(f"pid {job.read().pid} (")
        assert IN_SCRIPT.search(evidence[0])
        snapshot = store.processes(job.id)
        assert snapshot is not None
        assert [each.command for each in snapshot.processes if "py-spy" in each.command] == []


def test_of_what_is_no_python_there_are_no_frames() -> None:
    assert python_frames(1) == {}
    assert python_frames(2**22) == {}
