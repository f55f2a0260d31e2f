"""The command that runs whenever a job has ended, with the job as JSON on its standard input.

The configuration names it (`on-end`), and whoever launches a job, or runs an agent, passes it on in the environment:
nothing in Redis says what runs.
"""

import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from typing import IO, Any, Final, cast

import msgspec

from gnjobs.records.connection import connect
from gnjobs.records.environment import ENV_CHILD, ENV_JOB, ENV_MARK, ENV_ON_END, as_account
from gnjobs.records.events import record_event
from gnjobs.records.fields import Job
from gnjobs.records.reading import Records, fetch_job
from gnjobs.text import masked

LONGEST_RUN: Final = 60.0
_KEPT: Final = 64 * 1024
_MOST_SAID: Final = 16 * 1024 * 1024
_at_a_time = threading.BoundedSemaphore(8)
_SUPER_USER: Final = 0
_NOT_TOLD: Final = frozenset({"raw", "unreadable", "mark"})
# Without them it counts as no process of the job, and is not ended with it.
_MARKS: Final = frozenset({ENV_JOB, ENV_CHILD, ENV_MARK})
# The shell says the exit code: in a supervisor, and in a web server that ignores SIGCHLD, nobody else learns it.
_SAYING_EXIT_CODE: Final = ("/bin/sh", "-c", '"$@" >&2; echo $?', "sh")


def run_on_end(records: Records, job: Job, *, as_ourselves: bool) -> None:
    """Start the command of `GNJOBS_ON_END`, if there is one, and return; an event says when it fails.

    The job's own supervisor (`as_ourselves`) runs it as it is. Anybody else who is root runs it as the job's account,
    and not at all where that is root too, since records can be forged. After 60 s it is killed.
    """
    words = shlex.split(os.environ.get(ENV_ON_END, ""))
    ended = fetch_job(records.client, records.keys, job.id) if words else None
    if ended is not None:
        # No daemon: a process that has nothing else to do ends after it.
        threading.Thread(target=_run, args=(records, ended, words, as_ourselves), name="on-end").start()


def _run(records: Records, job: Job, words: list[str], as_ourselves: bool) -> None:
    try:
        is_us = as_ourselves or os.geteuid() != _SUPER_USER
        options = {"env": _environment(os.environ)} if is_us else as_account(job.account)
        with _at_a_time:
            problem = _failure(words, job, options)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        problem = str(error)
    if problem is not None:
        with connect(records.url) as client:
            record_event(client, records.keys, "hook", job, text=f"on-end failed: {problem}", by="on-end")


def _environment(outer: Any) -> dict[str, str]:
    return {name: value for name, value in outer.items() if name not in _MARKS}


def _failure(words: list[str], job: Job, options: dict[str, Any]) -> str | None:
    """Run the command; returns how it failed, with the last line that it said."""
    with open(os.memfd_create("job"), "w+b") as given:
        given.write(_as_json(job))
        given.seek(0)
        process = subprocess.Popen(
            [*_SAYING_EXIT_CODE, *words],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
            **options,
        )
    with process:
        try:
            out, err = _said(process)
        except _TooMuch as problem:
            os.killpg(process.pid, signal.SIGKILL)
            return str(problem)
    code = out.decode("utf-8", "replace").strip()
    said = err.decode("utf-8", "replace").strip().splitlines()
    return None if code == "0" else f"exit code {code}" + (f": {said[-1]}" if said else "")


class _TooMuch(Exception):
    """It runs for too long, or says too much."""


def _said(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """The ends of what it says on both outputs, read until these are closed: others of its account may write there."""
    until, total = time.monotonic() + LONGEST_RUN, 0
    ends = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for pipe in ends:
            selector.register(cast("IO[bytes]", pipe), selectors.EVENT_READ)
        while selector.get_map():
            if (left := until - time.monotonic()) <= 0:
                raise _TooMuch(f"it took longer than {LONGEST_RUN:.0f} s")
            for key, _ in selector.select(left):
                data = os.read(key.fd, _KEPT)
                total += len(data)
                ends[cast("IO[bytes]", key.fileobj)] = (ends[cast("IO[bytes]", key.fileobj)] + data)[-_KEPT:]
                if not data:
                    selector.unregister(key.fileobj)
            if total > _MOST_SAID:
                raise _TooMuch(f"it printed more than {_MOST_SAID // 2**20} MB")
    return ends[process.stdout], ends[process.stderr]


def _as_json(job: Job) -> bytes:
    told = {name: value for name, value in msgspec.to_builtins(job).items() if name not in _NOT_TOLD}
    return msgspec.json.encode(masked(told))
