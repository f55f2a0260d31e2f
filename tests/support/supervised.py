"""Jobs under real supervisors, for tests: created as a record, started, looked at, and never left behind."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import psutil
import redis

from gnjobs.processes.proc import ENDED_STATES, read_entry
from gnjobs.processes.table import Mark, read_mark
from gnjobs.records.fields import Child, Job, read_child, read_job
from gnjobs.records.keys import Keys, new_job_id
from gnjobs.records.statuses import FINAL_STATUSES
from tests.support.waiting import wait_for

KEYS = Keys()


def python(code: str, *arguments: str) -> list[str]:
    """The command that runs a piece of Python."""
    return [sys.executable, "-c", code, *arguments]


def is_alive(pid: int | None) -> bool:
    """Whether there is a process of this pid that has not ended."""
    entry = read_entry(pid or 0)
    return entry is not None and entry.state not in ENDED_STATES


def marked(pid: int) -> Mark | None:
    """The mark of a process, whose environment is empty for a moment while it becomes another program."""
    return mark if (mark := read_mark(pid)) is not None and mark.job is not None else None


class Reachable(Protocol):
    """A server by the address that its clients know."""

    url: str

    def client(self, **options: Any) -> redis.Redis:
        """A plain client with bytes as replies."""
        ...


class SupervisedJob:
    """One job of a test; `end` leaves no process of it behind."""

    def __init__(self, server: Reachable, command: Sequence[str], **fields: str) -> None:
        self.server = server
        self.url = server.url
        self.fate = ""  # what is done to it, for those who report on it
        self.id = new_job_id()
        self.client = server.client(socket_timeout=5.0)
        now = self.client.time()[0]
        record = {"jobid": self.id, "command": shlex.join(command), "status": "pending", "percent": "0"}
        record |= {"created": str(now)} | {name.replace("_", "-"): value for name, value in fields.items()}
        self.client.hset(KEYS.job(self.id), mapping=record)
        self.client.zadd(KEYS.jobs, {self.id: now})
        self.client.zadd(KEYS.unfinished, {self.id: now})
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its supervisor."""
        own = {"GNJOBS_REDIS_URL": self.url, "GNJOBS_PREFIX": KEYS.prefix, "GNJOBS_JOB_ID": self.id}
        return dict(os.environ) | own

    def supervise(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start a supervisor as our child."""
        command = [sys.executable, "-P", "-m", "gnjobs.supervisor"]
        process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options
        )
        self.processes.append(process)
        return process

    def read(self) -> Job:
        """The record as it is now."""
        return read_job(self.id, self.client.hgetall(KEYS.job(self.id)))

    def child(self, child_id: str) -> Child:
        """One child as it is now."""
        return read_child(child_id, self.client.hgetall(KEYS.child(self.id, child_id)))

    def lines(self, kind: str | None = None) -> list[str]:
        """Every line of its output that is stored, of one kind or of all."""
        found: list[str] = []
        for _, fields in self.client.xrange(KEYS.output(self.id)):
            if kind is None or fields[b"kind"] == kind.encode():
                found += fields[b"data"].decode().split("\n")
        return found

    def wait_for(self, *statuses: str, limit: float = 60.0) -> Job:
        """Wait until its status is one of these, by default a final one."""
        wanted = statuses or tuple(FINAL_STATUSES)

        def look() -> Job | None:
            with contextlib.suppress(redis.RedisError):
                job = self.read()
                return job if job.status in wanted else None
            return None

        return wait_for(look, limit, f"status {wanted}")

    def wait_for_line(self, text: str, limit: float = 60.0) -> None:
        """Wait until a line is stored."""
        wait_for(lambda: text in self.lines(), limit, f"line {text}")

    def alive(self) -> list[psutil.Process]:
        """Every process that carries the job's mark, supervisors left out."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                command = process.cmdline()
                if self.id == process.environ().get("GNJOBS_JOB_ID") and "gnjobs.supervisor" not in command:
                    found.append(process)
        return found

    def end(self) -> None:
        """Kill what is left, by id."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()
        for left in self.alive():
            with contextlib.suppress(psutil.Error):
                left.kill()
        self.client.close()


@contextlib.contextmanager
def supervised(server: Reachable, command: Sequence[str], **fields: str) -> Iterator[SupervisedJob]:
    """A job with a supervisor, for the time of a with block."""
    job = SupervisedJob(server, command, **fields)
    try:
        job.supervise()
        yield job
    finally:
        job.end()
