"""What a job's processes use, and since when they give no sign of life."""

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from gnjobs.health.idleness import Idleness
from gnjobs.processes.seen import SeenProcess
from gnjobs.processes.table import process_start
from gnjobs.supervisor.measure import Measuring
from tests.support.waiting import wait_for

ECHO = [sys.executable, "-u", "-c", "for line in open(0): print(line)"]


@pytest.fixture
def echo() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that reads and writes when it is told, and else nothing."""
    started = subprocess.Popen(ECHO, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    talk(started)
    yield started
    started.kill()
    started.communicate()


@pytest.fixture
def tracker() -> Idleness:
    """One that takes every look for a new one, however soon it follows."""
    return Idleness(least_window=0.0)


def talk(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"hello\n"
    assert process.stdout.readline() == b"\n"
    wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)


def seen(process: "subprocess.Popen[bytes]", child: str | None = "c") -> SeenProcess:
    started = process_start(process.pid)
    assert started is not None
    return SeenProcess(process.pid, started, child)


def test_a_process_idles_from_when_it_last_moved_anything(
    echo: "subprocess.Popen[bytes]", tracker: Idleness
) -> None:
    process = seen(echo)
    assert [p.idle_since for p in tracker.look([process], 100.0)] == [100.0]
    assert [p.idle_since for p in tracker.look([process], 100.0)] == [100.0]
    talk(echo)
    assert [p.idle_since for p in tracker.look([process], 110.0)] == [110.0]
    (measured,) = tracker.look([process], 110.0)
    assert measured.idle_since == 110.0
    assert measured.rss


def test_what_has_ended_is_not_measured(echo: "subprocess.Popen[bytes]", tracker: Idleness) -> None:
    process = seen(echo)
    tracker.look([process], 1.0)
    echo.kill()
    echo.wait()
    assert tracker.look([process], 2.0) == []


def test_two_looks_at_once_are_one(echo: "subprocess.Popen[bytes]") -> None:
    tracker = Idleness()
    first = tracker.look([seen(echo)], 1.0)
    talk(echo)
    assert tracker.look([seen(echo)], 2.0) is first


def test_a_beat_says_what_the_job_and_each_child_use(echo: "subprocess.Popen[bytes]") -> None:
    measured = Measuring(lambda _: [seen(echo)])(500.0)
    activity = measured.family.activity(measured.family.of_child("c", None))
    assert (activity.idle_since, activity.is_runnable) == (500.0, False)
    assert [process.state for process in activity.telling] == ["S"]
    assert measured.fields["processes"] == 1
    assert measured.fields["idle-since"] == 500.0
    assert measured.snapshot is not None
