"""Runs the demo: starts server and jobs, opens the dashboard on them, and leaves nothing behind."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gnjobs.records.actor import Actor
from gnjobs_tui.config import Config
from gnjobs_tui.demo.guard import READY
from gnjobs_tui.demo.server import NoServer, socket_url


@contextmanager
def guarded_server(size: float | None = None) -> Iterator[tuple[str, Path]]:
    """A server with a private directory, for the time of a with block: its URL and the directory.

    With a size, jobs come and go on it. Everything is gone afterwards, also when this process is killed.
    """
    directory = Path(tempfile.mkdtemp(prefix="gnjobs-demo-"))
    guard = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "gnjobs_tui.demo.guard",
            str(directory),
            *([] if size is None else [str(size)]),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    try:
        said = guard.stdout.readline().strip()
        if said != READY:
            raise NoServer(said or "the demo's server did not start")
        yield socket_url(directory), directory
    finally:
        guard.stdin.close()
        guard.stdout.close()
        guard.wait()


def run_demo(*, size: float, mouse: bool, theme: str | None) -> int:
    """Start everything, open the dashboard, and clear up when it is left."""
    click.echo("Starting a server and real jobs on it ...", err=True)
    with guarded_server(size) as (url, _):
        from gnjobs_tui.app import GnjobsApp

        GnjobsApp(Config(url=url), Actor.admin("demo"), theme=theme).run(mouse=mouse)
        click.echo("Ending the demo's jobs ...", err=True)
    return 0
