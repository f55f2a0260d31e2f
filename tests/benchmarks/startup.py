"""What is felt over SSH: how long the command line takes, and the dashboard's first screen."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gnjobs.records.connection import connect
from tests.benchmarks.measure import Measurement, median, percentile, spread, times_of
from tests.benchmarks.screen import Screen
from tests.support.command import environment
from tests.support.population import populate
from tests.support.recording import Mark, Recording
from tests.support.servers import running_server
from tests.support.terminal import gnjobs

RUNS = 9
# Fewer are loaded before the keys are pressed.
FEWEST_LOADING = 500_000
KEY_LOADING = "key press shown while loading, p99"
COLUMNS, ROWS = 160, 50
# Less than one screen of blanks, more than the sequences that set a terminal up.
FIRST_FRAME_BYTES = 2000
EMPTY_APP = textwrap.dedent(
    """
    from textual.app import App
    App().run()
    """
)


def _run(command: list[str], url: str) -> None:
    subprocess.run(command, env=environment(url), stdout=subprocess.DEVNULL, check=True)


def seconds_until(command: list[str], variables: dict[str, str], shows: str | None) -> float:
    """Seconds until a first frame, or a text, has come to the terminal."""
    start = time.perf_counter()
    with Recording(command, COLUMNS, ROWS, variables) as terminal:
        since = Mark(0, 0)
        terminal.wait_for_length(FIRST_FRAME_BYTES) if shows is None else terminal.seen_at(shows, since)
        taken = time.perf_counter() - start
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.wait_closed()
    return taken


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """Start-up of `ls`, the first frame, and the newest jobs on screen, with this many jobs in Redis."""
    with running_server(directory) as server:
        newest = populate(server, jobs)
        yield from _compared(
            f"gnjobs ls --limit 50, N = {jobs}",
            lambda: _run(gnjobs("ls", "--limit", "50"), server.url),
            "python -c 'import redis, click'",
            lambda: _run([sys.executable, "-c", "import redis, click"], server.url),
            1.3,
        )
        for name, shows, budget in (("first frame", None, 1.3), ("newest jobs on screen", newest, 2.0)):
            yield from _compared(
                f"{name}, N = {jobs}",
                lambda shows=shows: seconds_until(gnjobs(), environment(server.url), shows),
                "first frame of an empty Textual app",
                lambda: seconds_until([sys.executable, "-c", EMPTY_APP], environment(server.url), None),
                budget,
            )
        if jobs >= FEWEST_LOADING:
            late = keys_while_loading(server.url, environment(server.url), newest)
            yield Measurement(name=f"{KEY_LOADING}, N = {jobs}", value=late, unit="s", budget=0.05)


def keys_while_loading(url: str, variables: dict[str, str], newest: str) -> float:
    """The p99 of down keys from the moment on at which the newest jobs are on screen and the others are being read."""
    with Recording(gnjobs(), COLUMNS, ROWS, variables) as terminal, connect(url) as client:
        terminal.wait_for(newest)
        taken = Screen(terminal, client, url).key_presses()
        assert "loading" in terminal.wait_for(lambda _: True), "all was loaded before the last key was shown"
    return percentile(taken, 99)


def _compared(
    name: str, ours: Callable[[], object], reference_name: str, other: Callable[[], object], budget: float
) -> Iterator[Measurement]:
    """Both in turn, so that what else the machine does slows both."""
    taken, reference = [], []
    for _ in range(RUNS):
        taken += times_of(ours, 1)
        reference += times_of(other, 1)
    yield Measurement(
        name=name,
        value=median(taken),
        unit="s",
        spread=spread(taken),
        reference_name=reference_name,
        reference=median(reference),
        budget=budget,
    )
