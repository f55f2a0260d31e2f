"""What processes wait for, told of a job that has more of everything than can be looked at."""

import os
import subprocess
from collections.abc import Iterator
from itertools import count

import msgspec
import pytest

from gnjobs.processes import waits
from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import SeenProcess
from gnjobs.processes.waits import Waits
from tests.support.waiting import wait_for


@pytest.fixture
def reader() -> Iterator[SeenProcess]:
    """A process that waits for what its parent writes."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        wait_for(lambda: (Waits((SeenProcess(process.pid, 0),)).words(process.pid) or "").startswith("waits"))
        yield SeenProcess(process.pid, process_start(process.pid) or 0, idle_since=0.0)
        process.kill()


def test_the_other_end_of_a_pipe_is_named(reader: SeenProcess) -> None:
    told = Waits((SeenProcess(os.getpid(), 0, state="R"), reader)).told(100.0)
    assert told[1].waits == f"waits for data from a pipe to pid {os.getpid()}"
    assert told[1].waits_for == os.getpid()


def test_nothing_is_told_of_another_process_that_has_the_pid_by_now(reader: SeenProcess) -> None:
    before = msgspec.structs.replace(reader, started=reader.started - 1)
    assert Waits((before, reader)).told(100.0)[0].waits is None


def test_files_without_end_are_not_all_looked_at(
    reader: SeenProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "open_files", lambda _: ((number, "pipe:[1]") for number in count()))
    assert Waits((reader,)).told(100.0)[0].waits == "waits for data from a pipe"


def test_telling_ends_in_time(reader: SeenProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "_TELLING_SECONDS", 0.0)
    assert Waits((reader,)).told(100.0) == [reader]
