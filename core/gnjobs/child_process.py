"""The process of one child: how it is started, what it says, and how its end is noticed."""

import multiprocessing
import os
import pickle
import signal
import time
import traceback
from collections.abc import Iterable
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any

from gnjobs.environment import ENV_CHILD, ENV_URL
from gnjobs.scripts import Value
from gnjobs.this_child import ThisChild

_TERMINATION_SECONDS = 10.0
_KILL_SECONDS = 5.0
_MARKING = multiprocessing.RLock()


class ChildProcess:
    """One child's process and the pipe by which it says its result."""

    def __init__(self, key: str, child_id: str, payload: bytes, url: str) -> None:
        self._pipe, theirs = connection.Pipe(duplex=False)
        self._process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=run_child, args=(key, url, payload, theirs), name=child_id
        )
        self._is_open = True
        self.said: tuple[bool, Any] | None = None
        with _MARKING:
            before = os.environ.get(ENV_CHILD)
            os.environ[ENV_CHILD] = child_id
            try:
                self._process.start()
            finally:
                if before is None:
                    del os.environ[ENV_CHILD]
                else:
                    os.environ[ENV_CHILD] = before
        theirs.close()
        self._end: int | None = _end_handle(self._process)

    @property
    def handles(self) -> list[Any]:
        """What to wait for: its end, and its result while none came."""
        return [self._end, *([self._pipe] if self._is_open else [])]

    def has_ended(self) -> bool:
        """Take its result if there is one; returns whether the process is over."""
        if self._is_open and self._pipe.poll():
            try:
                self.said = self._pipe.recv()
            except Exception:  # noqa: BLE001 - EOF, or a result that can't be unpickled here
                self._is_open = False
            self._is_open = self._is_open and self.said is None
        if not self._is_over(0):
            return False
        self._process.join()
        if self._is_open and self._pipe.poll():
            return self.has_ended()
        self.close()
        return True

    def _is_over(self, seconds: float) -> bool:
        return self._end is None or bool(connection.wait([self._end], seconds))

    def close(self) -> None:
        """Close what it was listened to by."""
        self._pipe.close()
        self._is_open = False
        if self._end is not None and self._end != self._process.sentinel:
            os.close(self._end)
        self._end = None

    @property
    def exit_code(self) -> int:
        """Its exit code, negative for a signal."""
        return self._process.exitcode or 0

    @property
    def exit_fields(self) -> dict[str, Value]:
        """How it ended, as fields of its hash."""
        return {"signal": -self.exit_code} if self.exit_code < 0 else {"exit-code": self.exit_code}

    @property
    def how_it_ended(self) -> str:
        """How it ended, in words."""
        if self.exit_code < 0:
            return f"ended by signal {-self.exit_code} ({signal.strsignal(-self.exit_code)})"
        return f"ended with exit code {self.exit_code} without a result"

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill_after(self, deadline: float) -> None:
        """End it for sure when it has not ended by the time (monotonic)."""
        if not self._is_over(max(0.0, deadline - time.monotonic())):
            self._process.kill()
            self._is_over(_KILL_SECONDS)


def _end_handle(process: SpawnProcess) -> int:
    """What becomes readable when the process ends.

    The sentinel is a pipe that whatever a child forks keeps open, so it can outlast the child.
    """
    if hasattr(os, "pidfd_open") and process.pid is not None:
        try:
            return os.pidfd_open(process.pid)
        except OSError:
            pass
    return process.sentinel


def terminate_all(processes: Iterable[ChildProcess]) -> None:
    """Ask them all to end, then end them for sure."""
    ending = list(processes)
    for process in ending:
        process.terminate()
    deadline = time.monotonic() + _TERMINATION_SECONDS
    for process in ending:
        process.kill_after(deadline)


def run_child(key: str, url: str, payload: bytes, pipe: connection.Connection) -> None:
    """Be a child: in a session of its own, run the function, store how it ended, then say the result."""
    os.setsid()
    os.environ[ENV_URL] = url
    child = ThisChild(key, url)
    try:
        with child:
            function, item = pickle.loads(payload)
            value = function(item, child)
        said = (True, value)
    except SystemExit as error:
        if error.code not in (None, 0):
            pipe.send((False, traceback.format_exc()))
            raise
        said = (True, None)
    except BaseException:  # noqa: BLE001 - a child's exception is its outcome
        said = (False, traceback.format_exc())
    _say(pipe, said)
    raise SystemExit(0 if said[0] else 1)


def _say(pipe: connection.Connection, said: tuple[bool, Any]) -> None:
    try:
        pipe.send(said)
    except Exception as error:  # noqa: BLE001 - a result that can't be pickled is told as text
        pipe.send((said[0], f"<{type(said[1]).__name__}: {error}>"))
    pipe.close()
