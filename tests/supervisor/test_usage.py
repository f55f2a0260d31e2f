"""What a job's processes use, and since when they move nothing."""

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from gnjobs.processes.seen import SeenProcess
from gnjobs.processes.table import process_start
from gnjobs.supervisor.measure import Measuring, UsageMeter
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


def test_a_process_idles_from_when_it_last_moved_anything(echo: "subprocess.Popen[bytes]") -> None:
    meter = UsageMeter()
    process = seen(echo)
    assert [p.idle_since for p in meter.measure([process], 100.0)] == [100.0]
    assert [p.idle_since for p in meter.measure([process], 105.0)] == [100.0]
    talk(echo)
    assert [p.idle_since for p in meter.measure([process], 110.0)] == [110.0]
    (measured,) = meter.measure([process], 115.0)
    assert measured.idle_since == 110.0
    assert measured.rss


def test_what_has_ended_is_not_measured(echo: "subprocess.Popen[bytes]") -> None:
    process = seen(echo)
    meter = UsageMeter()
    meter.measure([process], 1.0)
    echo.kill()
    echo.wait()
    assert meter.measure([process], 2.0) == []


def test_a_beat_says_what_each_child_uses(echo: "subprocess.Popen[bytes]") -> None:
    class Printed:
        last_write, lines = 0.0, 3

    measure = Measuring(lambda: [seen(echo), seen(echo, None)], Printed(), lambda: 0)
    measured = measure(500.0)
    assert set(measured.use_by_child) == {"c"}
    use = measured.use_by_child["c"]
    assert (use.state, use.idle_since) == ("S", 500.0)
    assert measured.fields["processes"] == 2
