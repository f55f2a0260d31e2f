"""The command that runs whenever a job has ended, with the job as JSON on its standard input.

The configuration names it (`on-end`), and whoever launches a job, or runs an agent, passes it on in the environment:
nothing in Redis says what runs.
"""

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections import Counter
from typing import IO, Final, NamedTuple, cast

import msgspec
import redis

from gnjobs.records.accounts import SUPER_USER, Begin, as_account, as_we_are
from gnjobs.records.connection import connect, patiently
from gnjobs.records.environment import ENV_CHILD, ENV_JOB, ENV_MARK, ENV_ON_END
from gnjobs.records.events import record_event
from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys
from gnjobs.records.reading import Records, fetch_job
from gnjobs.text import complain, encodable, masked

LONGEST_RUN: Final = 60.0
_ENDING_SECONDS: Final = 5.0
_KEPT: Final = 64 * 1024
_MOST_SAID: Final = 16 * 1024 * 1024
_AT_A_TIME, _MOST_OF_AN_ACCOUNT, _MOST_WAITING = 8, 2, 1000
_NOT_TOLD: Final = frozenset({"raw", "unreadable", "mark"})
# Without them, and in its supervisor's session, it counts as no process of the job, and is not ended with it.
_MARKS: Final = frozenset({ENV_JOB, ENV_CHILD, ENV_MARK})
# The shell says the exit code: in a supervisor, and in a web server that ignores SIGCHLD, nobody else learns it.
_SAYING_EXIT_CODE: Final = ("/bin/sh", "-c", '"$@" >&2; echo $?', "sh")


def run_on_end(records: Records, job: Job, *, as_ourselves: bool) -> None:
    """Start the command of `GNJOBS_ON_END`, if there is one, and return; an event says when it fails.

    The job's own supervisor (`as_ourselves`) runs it as it is. Anybody else who is root runs it as the job's account,
    and not at all where that is root too, since records can be forged. After 60 s it is killed. Eight run at a time,
    two of one account, the accounts in turn; when over 1000 wait, the newest of the account with the most is dropped.
    """
    words = shlex.split(os.environ.get(ENV_ON_END, ""))
    if not words:
        return
    try:
        _begin(job.account, as_ourselves)  # an account that is made up is not to wait
    except ValueError as refused:
        _tell(records.client, records.keys, job, f"on-end failed: {refused}")
        return
    hook = _Hook(records.url, records.keys, job.id, job.run, job.account, words, as_ourselves)
    left_out = _waiting.add(hook)
    if left_out is not None:
        text = "on-end is left out: too many jobs that have ended wait for theirs"
        _tell(records.client, records.keys, Job(id=left_out.job_id), text)


class _Hook(NamedTuple):
    """One run of the command, as the account that it waits in turn for; all else of the record is read only then."""

    url: str
    keys: Keys
    job_id: str
    created: str
    account: str | None
    words: list[str]
    as_ourselves: bool

    def run(self) -> None:
        with connect(self.url) as client:
            job = patiently(lambda: fetch_job(client, self.keys, self.job_id), LONGEST_RUN)
        if job is None or self.created not in ("", job.run):
            return
        try:
            problem = _failure(self.words, job, _begin(self.account, self.as_ourselves), self.as_ourselves)
        except Exception as error:  # noqa: BLE001 - whoever looks for it finds it in the log
            problem = str(error) if isinstance(error, OSError | ValueError) else repr(error)
        if problem is not None:
            with connect(self.url) as client:
                _tell(client, self.keys, job, f"on-end failed: {problem}")


def _tell(client: redis.Redis, keys: Keys, job: Job, text: str) -> None:
    record_event(client, keys, "hook", job, text=text, by="on-end")


class _Waiting:
    """The commands that are to run, by account, and the threads that run them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hooks: dict[str | None, list[_Hook]] = {}  # whose turn is next comes first
        self._at_work: Counter[str | None] = Counter()
        self._threads = 0

    def add(self, hook: _Hook) -> _Hook | None:
        """Run a command soon; returns the one that is left out for it."""
        with self._lock:
            if self._threads < _AT_A_TIME:
                # A process that has nothing else to do ends after it, whatever thread has started it.
                thread = threading.Thread(target=self._work, name="on-end", daemon=False)
                try:
                    thread.start()
                    self._threads += 1
                except RuntimeError:  # there is room for no thread
                    if not self._threads:
                        return hook
            self._hooks.setdefault(hook.account, []).append(hook)
            if sum(map(len, self._hooks.values())) <= _MOST_WAITING:
                return None
            return self._pop(max(reversed(self._hooks), key=lambda account: len(self._hooks[account])), -1)

    def _work(self) -> None:
        hook = None
        while (hook := self._take(hook)) is not None:
            try:
                hook.run()
            except Exception as problem:  # noqa: BLE001 - the others are to run all the same
                complain(f"on-end of job {hook.job_id}: {problem}")

    def _take(self, done: _Hook | None) -> _Hook | None:
        """The next one to run, after the one that this thread is done with."""
        with self._lock:
            if done is not None:
                self._at_work[done.account] -= 1
            for account in self._hooks:
                if self._at_work[account] < _MOST_OF_AN_ACCOUNT:
                    self._at_work[account] += 1
                    return self._pop(account, 0)
            self._threads -= 1
            return None

    def _pop(self, account: str | None, place: int) -> _Hook:
        """Take one of an account's, whose next turn is the last."""
        hooks = self._hooks.pop(account)
        hook = hooks.pop(place)
        if hooks:
            self._hooks[account] = hooks
        return hook


_waiting = _Waiting()


def _begin(account: str | None, as_ourselves: bool) -> Begin:
    """As whom it runs, and with which environment; raises `ValueError`."""
    if not as_ourselves and os.geteuid() == SUPER_USER:
        return as_account(account)
    return as_we_are()._replace(env={name: value for name, value in os.environ.items() if name not in _MARKS})


def _failure(words: list[str], job: Job, begin: Begin, as_ourselves: bool) -> str | None:
    """Run the command; returns how it failed, with the last line that it said."""
    with open(os.memfd_create("job"), "w+b") as given:
        given.write(_as_json(job))
        given.seek(0)
        process = subprocess.Popen(
            [*begin.words, *_SAYING_EXIT_CODE, *words],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=begin.env,
            # In its supervisor's session is nothing of a job; anybody else may be at a terminal.
            start_new_session=not as_ourselves,
            process_group=0 if as_ourselves else None,
        )
    try:
        out, err = _said(process)
    except _TooMuch as problem:
        os.killpg(process.pid, signal.SIGKILL)
        return str(problem)
    finally:
        _leave(process)
    code = out.decode("utf-8", "replace").strip()
    said = err.decode("utf-8", "replace").strip().splitlines()
    return None if code == "0" else f"exit code {code}" + (f": {said[-1]}" if said else "")


def _leave(process: "subprocess.Popen[bytes]") -> None:
    """See it end, unless its account keeps it: that can close what it says, stop it, and trace what is left of it."""
    for pipe in (process.stdout, process.stderr):
        cast("IO[bytes]", pipe).close()
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_ENDING_SECONDS)


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
    return msgspec.json.encode(encodable(masked(told)))
