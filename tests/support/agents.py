"""Agents of this host: one in this process, and one that comes back whenever it is killed."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from gnjobs.control.agent import Agent
from gnjobs.processes.host import host_name
from gnjobs.store import JobStore
from tests.support.supervised import KEYS
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for


@contextmanager
def agent_at_work(store: JobStore, client: redis.Redis | None = None) -> Iterator[Agent]:
    """An agent that looks around all the time, once it is known; `client` is of one who may see that."""
    agent = Agent(store, every=0.2)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        wait_for(lambda: (client or store.client).zscore(KEYS.hosts, host_name()))
        yield agent
    finally:
        agent.stop()
        thread.join()


def look_until(store: JobStore, job_id: str, status: str) -> None:
    """Look around until a job is called so: what just begins somewhere may be anybody's for a moment."""
    agent = Agent(store)
    wait_for(
        lambda: agent.look_around() or store.get(job_id).status == status, what=f"{job_id} to be {status}"
    )


class Agents:
    """The host's agent, started again whenever it ends, as systemd does it."""

    def __init__(self, url: str) -> None:
        self._command = gnjobs("agent", "--redis-url", url)
        self._is_over = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._restart)
        self.kills = 0

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def __enter__(self) -> "Agents":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._process.kill()
        self._thread.join()

    def _restart(self) -> None:
        while True:
            self._process.wait()
            if self._is_over.wait(0.1):
                return
            self._process = self._start()

    def kill(self) -> None:
        """End the one that is there as the kernel does for memory."""
        self.kills += 1
        self._process.kill()
