"""What is felt over SSH: how long the command line takes, and the dashboard's first screen."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Measurement, median, spread, times_of
from tests.benchmarks.population import populate
from tests.end_to_end.command import environment
from tests.end_to_end.terminal import Terminal, gnjobs
from tests.servers import running_server

RUNS = 9
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


def _seconds_to_first_frame(command: list[str], url: str, shows: str | None) -> float:
    import time

    start = time.perf_counter()
    with Terminal(command, COLUMNS, ROWS, environment(url)) as terminal:
        if shows is None:
            terminal.wait_for(lambda _: len(terminal.raw) > FIRST_FRAME_BYTES)
        else:
            terminal.wait_for(shows)
        taken = time.perf_counter() - start
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.wait_closed()
    return taken


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """Start-up of `ls`, the first frame, and the newest jobs on screen, with this many jobs in Redis."""
    with running_server(directory) as server:
        newest = populate(server, jobs)
        reference = times_of(lambda: _run([sys.executable, "-c", "import redis, click"], server.url), RUNS)
        listing = times_of(lambda: _run(gnjobs("ls"), server.url), RUNS)
        yield Measurement(
            name=f"gnjobs ls, N = {jobs}",
            value=median(listing),
            unit="s",
            spread=spread(listing),
            reference_name="python -c 'import redis, click'",
            reference=median(reference),
            budget=1.3,
        )
        empty = [
            _seconds_to_first_frame([sys.executable, "-c", EMPTY_APP], server.url, None) for _ in range(RUNS)
        ]
        for name, shows, budget in (("first frame", None, 1.3), ("newest jobs on screen", newest, 2.0)):
            taken = [_seconds_to_first_frame(gnjobs(), server.url, shows) for _ in range(RUNS)]
            yield Measurement(
                name=f"{name}, N = {jobs}",
                value=median(taken),
                unit="s",
                spread=spread(taken),
                reference_name="first frame of an empty Textual app",
                reference=median(empty),
                budget=budget,
            )
