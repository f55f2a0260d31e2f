"""Keeps the demo alive for as long as one looks: other hosts, jobs that wait, die or are lost, a new one a minute."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import redis

from gnjobs import Job, JobStore
from gnjobs.errors import GnjobsError, NoSuchJob
from gnjobs.records.environment import ENV_PREFIX, ENV_URL
from gnjobs_tui.demo.history import write_history
from gnjobs_tui.demo.workload import Planned, create, make_files, start, start_all

ELSEWHERE: Final = Path(__file__).parent / "elsewhere"
_AGENT: Final = (
    "import sys; from gnjobs.control.agent import run_agent; from gnjobs.store import JobStore\n"
    f"import os; sys.exit(run_agent(JobStore.from_url(os.environ['{ENV_URL}'], os.environ['{ENV_PREFIX}'])))"
)
_MINUTE: Final = 60.0
_LOOK_EVERY: Final = 0.5
_DIES_AFTER: Final = 8.0
_WAITS: Final = 45.0
_BROKEN_LINKS: Final = (0, 0, 2, 0, 12, 0)

TRAITS: Final = Planned("traits", ("300", "20"), "map", "plee", "map eQTL liver, 300 traits", host="gn-web1")
SILENT: Final = Planned("silent", (), "map", "plee", "haplotypes CC", stuck_after=30.0, host="gn-web2")


def _insert(directory: Path, name: str, user: str, host: str | None, seconds: int) -> Planned:
    arguments = (str(directory / "covar_se.tsv"), str(directory / f"{name}.db"), str(seconds))
    return Planned("insert", arguments, "insert", user, f"insert {name}", host=host)


@contextlib.contextmanager
def _on(host: str | None) -> Iterator[None]:
    """Start what is started within the block as if on another host; from the one thread that starts anything."""
    if host is None:
        yield
        return
    os.environ |= {"GNJOBS_DEMO_HOST": host, "PYTHONPATH": str(ELSEWHERE)}
    try:
        yield
    finally:
        del os.environ["GNJOBS_DEMO_HOST"], os.environ["PYTHONPATH"]


class Life(threading.Thread):
    """Starts whatever is due, after `begin`, until `stop`."""

    def __init__(self, store: JobStore, directory: Path, size: float) -> None:
        super().__init__(name="life")
        self._store = store
        self._directory = directory
        self._size = size
        self._is_over = threading.Event()
        self._standing: dict[Planned, Job] = {}
        self._waiting: Job | None = None
        self._doomed: list[Job] = []
        self._minutes = 0

    def stop(self) -> None:
        """Start nothing more."""
        self._is_over.set()
        self.join()

    def begin(self) -> None:
        """Do what is to be seen at once: the history, and the first jobs."""
        write_history(self._store)
        files = make_files(self._directory, self._size)
        for planned in (
            _insert(self._directory, "pheno BXD-2026", "mhall", None, 600),
            _insert(self._directory, "geno CC-12", "agunn", "gn-web2", 600),
        ):
            self._doomed.append(self._start(planned))
        start_all(self._store, self._directory, files, size=self._size)

    def run(self) -> None:
        """Live; a server that is gone ends it."""
        with contextlib.suppress(redis.RedisError, GnjobsError, OSError):
            self._go_on()
            began = time.monotonic()
            due = [(_DIES_AFTER, self._let_die), (0.0, self._let_wait), (_WAITS, self._start_waiting)]
            while not self._is_over.wait(_LOOK_EVERY):
                for place, (at, act) in enumerate(due):
                    if time.monotonic() - began >= at:
                        due[place] = (at + _MINUTE, act)
                        act()

    def _go_on(self) -> None:
        for host in ("gn-web2", "gn-db1"):
            self._start_agent(host)
        for planned in (TRAITS, SILENT, _insert(self._directory, "pheno CC-07", "mhall", "gn-db1", 1800)):
            if self._is_over.is_set():
                return
            self._standing[planned] = self._start(planned)

    def _start(self, planned: Planned) -> Job:
        with _on(planned.host):
            return start(self._store, create(self._store, planned))

    def _start_agent(self, host: str) -> None:
        """Where a supervisor dies, the host's agent says that its job is lost; here, without one, it stays dead."""
        marks = {ENV_URL: self._store.url, ENV_PREFIX: self._store.keys.prefix}
        with _on(host):
            subprocess.Popen(
                [sys.executable, "-P", "-c", _AGENT],
                env=os.environ | marks,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _let_die(self) -> None:
        """Kill jobs as a crash would, the supervisor first: nobody is left who could say so."""
        while self._doomed:
            doomed = self._doomed.pop()
            if self._has_ended(doomed):
                continue
            job = self._store.get(doomed.id)
            for pid in (job.supervisor_pid, job.pid):
                if pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _let_wait(self) -> None:
        """Create a job that waits, and start again what has ended."""
        arguments = ("25", str(_BROKEN_LINKS[self._minutes % len(_BROKEN_LINKS)]))
        label = f"check links {time.strftime('%H:%M')}"
        self._waiting = create(self._store, Planned("links", arguments, "generic", "kmurphy", label))
        self._minutes += 1
        for planned, job in self._standing.items():
            if self._has_ended(job):
                self._standing[planned] = self._start(planned)

    def _start_waiting(self) -> None:
        if self._waiting is not None and not self._has_ended(self._waiting):
            with _on("gn-db1"):
                start(self._store, self._waiting)

    def _has_ended(self, job: Job) -> bool:
        """Whether it has, or was removed by somebody who looks at the demo."""
        try:
            return self._store.get(job.id).is_final
        except NoSuchJob:
            return True
