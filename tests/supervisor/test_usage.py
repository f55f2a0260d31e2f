"""What a job's processes use, and since when they give no sign of life."""

import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import psutil
import pytest

from gnjobs.health import traffic
from gnjobs.health.glances import Glances, Seen
from gnjobs.health.idleness import Idleness
from gnjobs.processes.proc import process_start
from gnjobs.processes.seen import ProcessSnapshot, SeenProcess, read_snapshot
from gnjobs.supervisor.measure import MOST_POINTS, Amount, HistoryKeeper, Measuring
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


@pytest.mark.parametrize("how", ["at_work", "doubtful"])
def test_a_close_look_acquits_a_process_or_grants_it_another(
    echo: "subprocess.Popen[bytes]", tracker: Idleness, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    process = seen(echo)
    tracker.look([process], 100.0)
    said = Seen(**{how: {(process.pid, process.started)}})
    monkeypatch.setattr(Glances, "take", lambda _: said)
    assert [p.idle_since for p in tracker.look([process], 103.0)] == [103.0]
    monkeypatch.undo()
    assert [p.idle_since for p in tracker.look([process], 104.0)] == [103.0]


def test_what_has_ended_is_not_measured(echo: "subprocess.Popen[bytes]", tracker: Idleness) -> None:
    process = seen(echo)
    tracker.look([process], 1.0)
    echo.kill()
    echo.wait()
    assert tracker.look([process], 2.0) == []


def test_what_there_is_no_time_to_look_at_is_not_called_idle(
    tracker: Idleness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that wake may hold more files than can be read in a beat."""
    code = "import time; print(flush=True)\nwhile True: time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        def is_at_work() -> bool:
            now = round(time.monotonic(), 2)
            (found,) = tracker.look([seen(process)], now)
            return found.idle_since == now

        wait_for(lambda: not is_at_work())
        monkeypatch.setattr(traffic, "_LOOKING_SECONDS", -1.0)
        wait_for(is_at_work)
        process.kill()


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


def test_a_history_spans_the_whole_run_in_few_points() -> None:
    keeper = HistoryKeeper(10.0)
    history = keeper.add(0.0, 0, Amount(0), 0.0)
    for number in range(1, 1000):
        history = keeper.add(number, 1e6, Amount(number * 500, "rows"), number * 10.0)
        assert 0 < len(history.cpu) == len(history.rss) == len(history.rate) < MOST_POINTS
    assert history.every * len(history.cpu) == pytest.approx(10_000, abs=history.every)
    assert list(history.cpu) == sorted(history.cpu)
    assert history.rate[-1] == 50.0
    assert history.unit == "rows"


def test_a_history_has_no_rate_where_nobody_counts_and_none_below_0() -> None:
    assert HistoryKeeper(10.0).add(5.0, 7, None, 1.0).rate == ()
    keeper = HistoryKeeper(10.0)
    keeper.add(1.0, 1, Amount(100, "rows"), 1.0)
    assert keeper.add(1.0, 1, Amount(50, "rows"), 11.0).rate == (0.0, 0.0)


def test_a_unit_is_made_fit_for_json() -> None:
    amount = Amount.of(1.0, b"\xff" * 100)
    history = HistoryKeeper(10.0).add(0.0, 0, amount, 1.0)
    snapshot = read_snapshot(msgspec.json.encode(ProcessSnapshot(1.0, (), history)))
    assert snapshot is not None
    assert snapshot.history == history
    assert len(history.unit or "") <= 30
