"""`python -m tests.health.corpus`: every kind, in groups that run side by side; exits 1 where anything was not so."""

import contextlib
import multiprocessing
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from tests.health.corpus.judging import wrongs
from tests.health.corpus.kinds import KINDS
from tests.health.corpus.services import services
from tests.support.servers import running_server


@click.command()
@click.option("--times", default=1, help="How often the whole is judged.")
@click.option("--at-once", default=30, help="How many kinds run side by side.")
@click.option("--busy", default=0, help="How many busy loops run beside them.")
@click.option("--slack", default=5.0, help="Seconds more that a start may take on a busy machine.")
@click.option("--only", default="", help="Only kinds whose name matches this regular expression.")
def main(times: int, at_once: int, busy: int, slack: float, only: str) -> None:
    """Judge all kinds that can run here, name those that can't, and say what was wrong."""
    count = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made, _busy_loops(busy):
        directory = Path(made)
        with running_server(directory) as server, services(directory) as there:
            skipped = {name: missing for name, kind in KINDS.items() if (missing := kind.missing(there))}
            names = [name for name in KINDS if name not in skipped and re.search(only, name)]
            for skip, missing in skipped.items():
                click.echo(f"not tried: {skip}: no {', '.join(missing)}")
            for turn in range(1, times + 1):
                for start in range(0, len(names), at_once):
                    found = wrongs(server, names[start : start + at_once], slack)
                    count += len(found)
                    click.echo(
                        "\n".join(
                            [*found, f"{min(start + at_once, len(names))} of {len(names)} kinds judged"]
                        )
                    )
                click.echo(f"turn {turn} of {times}: {len(names)} kinds, {count} judged wrongly so far")
    raise SystemExit(count > 0)


@contextlib.contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    loops = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()


def _spin() -> None:
    os.setsid()
    while True:
        pass


if __name__ == "__main__":
    main()
