"""A process that outlives the demo and cleans up after it, even after `kill -9`.

It owns the server, and where it is asked to, keeps the demo alive. When its standard input closes, the demo has ended:
it kills every job, verifies that, and removes the server and the files.
"""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

from gnjobs.control.kill import kill_job
from gnjobs.errors import GnjobsError
from gnjobs.processes.table import LookSoFar, read_mark
from gnjobs.records.actor import Actor
from gnjobs.store import JobStore
from gnjobs.text import place_of
from gnjobs_tui.demo.life import Life
from gnjobs_tui.demo.server import socket_url, start_server

READY = "ready"


def _kill(store: JobStore, job_id: str) -> None:
    with suppress(GnjobsError):
        for _ in kill_job(store, job_id, actor=Actor.admin("demo"), reason="the demo ends", force=True):
            pass


def _end_jobs(store: JobStore) -> None:
    unfinished = [job.id for job in store.page(unfinished=True, count=1000).jobs]
    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(lambda job_id: _kill(store, job_id), unfinished))


def _end_marked(store: JobStore) -> None:
    """End what says that it belongs to this server, as far as a look reads: an environment may have any length."""
    place, so_far, marked = place_of(store.url, store.keys.prefix), LookSoFar(), []
    for process in psutil.process_iter():
        mark = read_mark(process.pid, so_far)
        if mark is not None and mark.place == place and process.pid != os.getpid():
            with suppress(psutil.Error):
                process.kill()
                marked.append(process)
    psutil.wait_procs(marked, timeout=5)


def _guard(directory: Path, server: subprocess.Popen[bytes], size: float | None) -> None:
    store = JobStore.from_url(socket_url(directory))
    life = None if size is None else Life(store, directory, size)
    try:
        if life is not None:
            life.begin()
            life.start()
        print(READY, flush=True)
        sys.stdin.read()
        if life is not None:
            life.stop()
        _end_jobs(store)
    finally:
        _end_marked(store)
        server.kill()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """Start the server in the directory given, say so, and guard it until the demo has ended.

    With a second argument, the demo's size, jobs are started, and others whenever it is their time.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    directory = Path(sys.argv[1])
    size = float(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        server = start_server(directory)
    except GnjobsError as error:
        print(error, flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        sys.exit(1)
    _guard(directory, server, size)


if __name__ == "__main__":
    main()
