"""The demo in a real terminal: from the list to a stuck child's end, and nothing left behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import pytest

from gnjobs.records.environment import ENV_CHILD, ENV_JOB, ENV_PREFIX, ENV_URL
from gnjobs.store import JobStore
from gnjobs_tui.demo.command import guarded_server
from gnjobs_tui.demo.guard import _end_marked
from tests.support.command import environment, run
from tests.support.terminal import Terminal, gnjobs
from tests.support.typists import Typist
from tests.support.waiting import wait_for

UP, DOWN, ENTER, TAB, ESC = "k", "j", "\r", "\t", "\x1b"
STUCK_LABEL = "QC std error, July"
START, VERDICT = 90.0, 90.0

pytestmark = pytest.mark.timeout(300)


def marked(directory: Path, job: str = "", child: str | None = None) -> list[psutil.Process]:
    """The processes that carry the demo's mark, or that of a job whose id begins so, or of one of its children."""
    found = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
        except psutil.Error:
            continue
        of_job = environ.get(ENV_JOB, "").startswith(job)
        if str(directory) in environ.get(ENV_URL, "") and of_job and child in (None, environ.get(ENV_CHILD)):
            found.append(process)
    return found


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A Unix socket's path must be short, and pytest's are long."""
    with tempfile.TemporaryDirectory(prefix="gn-") as short:
        yield Path(short)


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as short:
        yield short


@cache
def foreign_directory() -> tempfile.TemporaryDirectory[str]:
    """A directory with modules that must not be imported."""
    made = tempfile.TemporaryDirectory()
    for name in ("gnjobs_tui", "gnjobs", "redis", "random", "logging"):
        Path(made.name, f"{name}.py").write_text("import os; os.abort()")
    return made


def open_demo(directory: Path, columns: int = 100, rows: int = 30) -> Terminal:
    """Start a small demo whose files live in the directory, from a foreign one."""
    entered = ["sh", "-c", 'cd "$0" && exec "$@"', foreign_directory().name, sys.executable, "-P"]
    command = [*entered, *gnjobs("demo", "--size", "0.02")[1:]]
    terminal = Terminal(command, columns, rows, environment("", TMPDIR=str(directory)))
    terminal.wait_for("1 all", START)
    return terminal


def assert_nothing_left(directory: Path) -> None:
    """No process, no socket, no file."""
    wait_for(lambda: not marked(directory), 60, "the demo's processes to end")
    wait_for(lambda: not (directory.exists() and list(directory.iterdir())), 60, "the demo's files to go")
    wait_for(lambda: not mentioning(directory), 60, "the demo's server and guard to end")


def mentioning(directory: Path) -> list[psutil.Process]:
    """The processes whose command line names the directory."""
    return [
        p for p in psutil.process_iter(["cmdline"]) if str(directory) in " ".join(p.info["cmdline"] or [])
    ]


def cursor_line(text: str) -> str:
    """The row of the cursor."""
    return next((line for line in text.splitlines() if line.startswith(">")), "")


def rows(text: str) -> list[str]:
    """What stands below the heading of the table, with `>` before the row of the cursor."""
    lines = text.splitlines()
    heading = next(
        (place for place, line in enumerate(lines) if re.match("  (State|User) ", line)), len(lines)
    )
    return lines[heading + 1 :]


def places(text: str, wanted: str) -> tuple[int, int]:
    """At which row the cursor is, and at which the first one with a text; where there is none, below all."""
    shown = rows(text)
    at = next((place for place, line in enumerate(shown) if line.startswith(">")), -1)
    return at, next((place for place, line in enumerate(shown) if wanted in line), len(shown))


def move_to(terminal: Terminal, wanted: str) -> int:
    """Step until the cursor is on a row with this text, though rows move meanwhile; return how many keys it takes."""
    terminal.send("g")
    terminal.wait_for(lambda text: places(text, wanted)[0] == 0)
    for _ in range(80):
        before = places(terminal.text, wanted)
        at, place = before
        if at == place:
            # Rows that moved may have looked like the effect of a key, which comes only now.
            if places(Typist(terminal).at_rest(), wanted) == before:
                return place + 1
            continue
        terminal.send(DOWN if at < place else UP)
        terminal.wait_for(lambda text, before=before: places(text, wanted) != before)
    raise AssertionError(f"no row {wanted!r} in\n{terminal.text}")


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[Terminal, Path]]:
    """One demo that several tests look at, each from the list of jobs."""
    with short_directory() as directory, open_demo(directory) as terminal:
        terminal.wait_for("1 all", START)
        yield terminal, directory


def back_to_the_list(terminal: Terminal) -> None:
    """Go back to the first screen."""
    for _ in range(8):
        if "gnjobs   redis" in terminal.text.split("\n")[0]:
            return
        before = terminal.text
        terminal.send(ESC)
        terminal.wait_for(lambda text, before=before: text != before)
    raise AssertionError(f"not back within eight steps:\n{terminal.text}")


@pytest.mark.xdist_group("demo")
def test_a_curator_finds_the_faulty_cell(demo: tuple[Terminal, Path]) -> None:
    terminal, _ = demo
    terminal.wait_for(
        lambda text: re.search(r"▲ faults +QC average, July", text) is not None, START + VERDICT
    )
    terminal.send("u")
    terminal.wait_for(lambda text: "Trouble" in text and "jsmith" in text)  # a list of jobs names users, too
    move_to(terminal, "jsmith")
    terminal.send(ENTER)
    terminal.wait_for(lambda text: "Says" in text and " faults, " in text)
    move_to(terminal, "▲ faults   QC average, July")
    terminal.send(ENTER)
    screen = terminal.wait_for("found")
    assert re.search(
        r'row [\d ]+ "[^"]+", column [\d ]+ ?(\([A-Z]+\) )?"[^"]+": (found "[^"]*", needs|empty cell)',
        screen,
    )
    move_to(terminal, "▲ faults   pheno")
    terminal.send(ENTER)
    terminal.wait_for(lambda text: "f follow" in text and re.search(r'row [\d ]+ "[^"]+", column \d+', text))
    back_to_the_list(terminal)


@pytest.mark.faults  # its verdict takes 20 s
@pytest.mark.xdist_group("demo")
def test_a_stuck_child_is_found_explained_and_killed(demo: tuple[Terminal, Path]) -> None:
    terminal, directory = demo
    terminal.wait_for(lambda text: re.search(rf"! STUCK +{STUCK_LABEL}", text) is not None, START + VERDICT)
    presses = move_to(terminal, STUCK_LABEL)
    terminal.wait_for("silent and idle for")
    terminal.send(ENTER)
    terminal.wait_for("the job itself")
    presses += 1 + move_to(terminal, "! STUCK    pheno")
    child = re.search(r"STUCK +(\S+)", cursor_line(terminal.text))
    assert child is not None
    job = re.search(rf"{STUCK_LABEL} +([0-9a-f]{{8}})", terminal.text)
    assert job is not None
    processes = marked(directory, job.group(1), child.group(1))
    assert processes
    terminal.send("K")
    assert presses + 1 <= 6
    terminal.wait_for(lambda text: "Kill one child" in text and "Cancel" in text)
    terminal.wait_for(str(processes[0].pid))
    terminal.answer(TAB + "runaway" + TAB + ENTER)
    terminal.wait_for("verified: 1 of 1 gone")
    assert not [process for process in processes if process.is_running() and process.status() != "zombie"]
    terminal.wait_for("Close")
    terminal.send(ENTER)
    terminal.wait_for("killed")
    back_to_the_list(terminal)


@pytest.mark.xdist_group("demo")
def test_nothing_is_left_of_a_demo_that_was_quit(demo: tuple[Terminal, Path]) -> None:
    terminal, directory = demo
    wait_for(lambda: marked(directory), 30, "a job to run")
    terminal.send("q")
    assert terminal.wait_closed(60) == 0
    assert_nothing_left(directory)


@pytest.mark.faults
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_however_the_demo_ends(directory: Path, end: signal.Signals) -> None:
    with open_demo(directory) as terminal:
        terminal.wait_for("1 all", START)
        wait_for(lambda: marked(directory), 30, "a job to run")
        os.kill(terminal.pid, end)
        terminal.wait_closed(60)
        assert_nothing_left(directory)


@pytest.mark.faults
def test_for_as_long_as_one_looks_there_are_jobs_of_every_state_on_several_hosts() -> None:
    with guarded_server(0.02) as (url, directory):

        def seen() -> set[str]:
            jobs = [json.loads(line) for line in run(url, "ls", "--json").stdout.splitlines()]
            labels.update(job["label"] for job in jobs if job["label"].startswith("check links"))
            ended = [job for job in jobs if job["finished"]]
            assert len(ended) > 300
            assert len({job["type"] for job in ended}) == 4
            assert max(job["finished"] for job in ended) - min(job["finished"] for job in ended) > 5 * 86400
            assert len({job["user"] for job in jobs}) == 6
            assert len({job["host"] for job in jobs} - {None}) == 4
            many.update(job["children"] for job in jobs)
            return {job["status"] for job in jobs} | {job["health"] for job in jobs}

        labels: set[str] = set()
        many: set[int] = set()
        states = {"pending", "running", "success", "error", "killed", "lost", "quiet", "stuck", "dead"}
        wait_for(lambda: seen() >= states, 120, "a job of every state")
        wait_for(lambda: seen() and len(labels) > 1, 90, "another job a minute later")
        assert 300 in many
        ends = run(url, "log", "--json").stdout.splitlines()
        assert len(ends) > 300
    assert_nothing_left(directory)


def test_the_guard_ends_what_is_the_demos_alone_and_reads_of_nothing_all(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any account can show an environment of gigabytes."""
    monkeypatch.delattr(psutil.Process, "environ")
    store = JobStore.from_url(f"unix://{directory}/redis.sock")
    own = os.environ | {ENV_URL: store.url, ENV_PREFIX: store.keys.prefix}
    others = own | {ENV_URL: f"unix://{directory}/another.sock"}
    processes = [subprocess.Popen(["sleep", "600"], env=env) for env in (own, others)]
    try:
        _end_marked(store)
        assert [process.poll() is None for process in processes] == [False, True]
    finally:
        for process in processes:
            process.kill()
            process.wait()
