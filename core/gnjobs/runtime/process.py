"""The process of one child: how it is started, what it says, and how its end is noticed."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

from gnjobs.records.environment import ENV_CHILD, ENV_URL
from gnjobs.records.scripts import Value
from gnjobs.runtime import child as this
from gnjobs.runtime.child import ChildOutput

_TERMINATION_SECONDS = 10.0
_KILL_SECONDS = 5.0
BEGUN = "begun"
MakeChild = Callable[..., ChildOutput]
_marking = threading.Lock()
_WAYS_OUT = (
    "children are started by spawn, so the function and its items must be picklable: use a function of a module, "
    'under an `if __name__ == "__main__"` guard if the module is the script, or kind="thread"'
)


def cannot_be_child(function: Callable[..., Any], why: object) -> TypeError:
    """The error for a function that can't be run in a process of its own, with the ways out."""
    return TypeError(f"{getattr(function, '__qualname__', function)!s:.100}: {why}; {_WAYS_OUT}")


def pickled(value: Any, function: Callable[..., Any]) -> bytes:
    """Pickle the function of a child, or an item for it; raises `TypeError` with the ways out."""
    try:
        return bytes(ForkingPickler.dumps(value))
    except (pickle.PicklingError, TypeError, ValueError, AttributeError) as error:
        raise cannot_be_child(function, error) from error


@contextlib.contextmanager
def _marks(child_id: str) -> Iterator[None]:
    """Give a process that is started now its mark.

    The descriptor of the job's lines stands in its environment, too: other threads say theirs meanwhile.
    """
    with _marking:
        before = os.environ.get(ENV_CHILD)
        os.environ[ENV_CHILD] = child_id
        try:
            yield
        finally:
            if before is None:
                del os.environ[ENV_CHILD]
            else:
                os.environ[ENV_CHILD] = before


class Started(Protocol):
    """A process that was started, as multiprocessing has it."""

    @property
    def pid(self) -> int | None:
        """Its pid."""

    @property
    def exitcode(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once it has ended."""

    def join(self) -> None:
        """Wait for its end."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class Pipe(Protocol):
    """Two ways to a process, as multiprocessing has it."""

    def fileno(self) -> int:
        """What is readable when a message is there."""

    def poll(self) -> bool:
        """Whether a message is there, or the end."""

    def recv(self) -> Any:
        """Wait for a message and unpickle it."""

    def send_bytes(self, message: bytes, /) -> None:
        """Send a message."""

    def close(self) -> None:
        """Close it."""


class ChildProcess:
    """One child's process and the pipe by which it says its result."""

    is_elsewhere = False
    is_ended_from_outside = False

    def __init__(
        self, make_child: MakeChild, key: str, child_id: str, function: bytes, item: bytes, url: str
    ) -> None:
        self._is_open = True
        self.has_begun = False
        self.said: tuple[bool, Any] | None = None
        with _marks(child_id):
            self._process, self._pipe = self._start(make_child, key, child_id, url)
        # Not as arguments: a child that dies before it has read them would keep its parent waiting for ever.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send_bytes(function)
            self._pipe.send_bytes(item)
        self._end: int | None = _end_handle(self._process)

    @staticmethod
    def _start(make_child: MakeChild, key: str, child_id: str, url: str) -> "tuple[Started, Pipe]":
        """Start the process; returns it and our end of the pipe to it."""
        pipe, theirs = connection.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=run_child, args=(make_child, key, url, theirs), name=child_id
        )
        process.start()
        theirs.close()
        return process, pipe

    @property
    def handles(self) -> list[Any]:
        """What to wait for: its end, and its result while none came."""
        return [self._end, *([self._pipe] if self._is_open else [])]

    def has_ended(self) -> bool:
        """Take what it says; returns whether the process is over."""
        is_over = self._is_over(0)
        while self._is_open and self._pipe.poll():
            self._hear()
        if is_over:
            self._process.join()
            self.close()
        return is_over

    @property
    def has_succeeded(self) -> bool:
        """Whether it has said its result; it stays for a moment to see that its output lasts."""
        return self.said is not None and bool(self.said[0])

    def wait_for_end(self) -> None:
        """Wait until the process is over."""
        if self._end is not None:
            connection.wait([self._end])
        self.has_ended()

    def _hear(self) -> None:
        try:
            message = self._pipe.recv()
        except Exception:  # noqa: BLE001 - EOF, or a result that can't be unpickled here
            self._is_open = False
            return
        self._take(message)

    def _take(self, message: Any) -> None:
        if message == BEGUN:
            self.has_begun = True
        else:
            self.said = message
            self._is_open = False

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


def _end_handle(process: Started) -> int:
    """What becomes readable when the process ends.

    The sentinel is a pipe that processes forked by the child keep open, so it can outlast the child.
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


def run_child(make_child: MakeChild, key: str, url: str, pipe: connection.Connection) -> None:
    """Be a child: in a session of its own, run the function, store how it ended, then say the result."""
    os.setsid()
    os.environ[ENV_URL] = url
    try:
        called, item = pickle.loads(pipe.recv_bytes()), pipe.recv_bytes()
    except Exception:  # noqa: BLE001 - whatever importing somebody's module raises is told
        _say(pipe, (False, traceback.format_exc()))
        raise SystemExit(1) from None
    pipe.send(BEGUN)
    child = make_child(key)
    said = _run(called, item, child, pipe)
    _say(pipe, said)
    child.outlast()
    raise SystemExit(0 if said[0] else 1)


def _run(
    function: Callable[..., Any], item: bytes, child: ChildOutput, pipe: connection.Connection
) -> tuple[bool, Any]:
    this.of_this_process = child
    try:
        with child:
            value = function(pickle.loads(item), child)
    except SystemExit as error:
        if error.code not in (None, 0):
            pipe.send((False, traceback.format_exc()))
            raise
        return True, None
    except BaseException:  # noqa: BLE001 - a child's exception is its outcome
        return False, traceback.format_exc()
    return True, value


def _say(pipe: connection.Connection, said: tuple[bool, Any]) -> None:
    try:
        pipe.send(said)
    except Exception as error:  # noqa: BLE001 - a result that can't be pickled is told as text
        pipe.send((said[0], f"<{type(said[1]).__name__}: {error}>"))
    pipe.close()
