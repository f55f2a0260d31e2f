"""What happens when a process ends or forks: buffered lines are stored first, and forked copies are told."""

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final, Protocol

_OUTLAST_SECONDS: Final = 5.0
_FLUSH_FIRST: Final = 100  # multiprocessing runs finalizers of higher priority first


class Buffered(Protocol):
    """An object with data that must be stored before the process ends."""

    def flush(self) -> object:
        """Store it."""

    def outlast(self, timeout: float) -> object:
        """If it has ended, check for at most `timeout` seconds that the server keeps what it stored."""

    def store_last(self, timeout: float) -> object:
        """Accept nothing more and store what is left, for at most `timeout` seconds."""

    def refuse_copy(self) -> None:
        """Refuse to write from now on: this is a forked copy, and the original goes on."""


_open: dict[int, Buffered] = {}
_registered_with_children = False
_outlast_until: float | None = None


def watch(buffered: Buffered) -> None:
    """Flush it when the process ends and tell forked copies to refuse, until `forget` is called."""
    _open[id(buffered)] = buffered
    _register_with_multiprocessing()


def forget(buffered: Buffered) -> None:
    """Stop watching it, once it is closed."""
    _open.pop(id(buffered), None)


def store_all(seconds: float) -> None:
    """Store everything within `seconds`, because the process has been told to end."""
    deadline = time.monotonic() + seconds
    for buffered in list(_open.values()):
        buffered.store_last(max(0.0, deadline - time.monotonic()))


def _flush_all() -> None:
    global _outlast_until  # noqa: PLW0603 - a process may be ended by multiprocessing and by atexit, and waits once
    held = list(_open.values())
    with contextlib.suppress(KeyboardInterrupt):
        for buffered in held:
            buffered.flush()
        _outlast_until = _outlast_until or time.monotonic() + _OUTLAST_SECONDS
        for buffered in held:
            buffered.outlast(max(0.0, _outlast_until - time.monotonic()))


def _register_with_multiprocessing() -> None:
    """Register with multiprocessing too: its children end by `os._exit`, which runs finalizers but not atexit."""
    global _registered_with_children  # noqa: PLW0603 - once for each process
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _registered_with_children:
        util.Finalize(None, _flush_all, exitpriority=_FLUSH_FIRST)
        _registered_with_children = True


def _after_fork() -> None:
    global _registered_with_children, _outlast_until
    _registered_with_children, _outlast_until = False, None
    for buffered in _open.values():
        buffered.refuse_copy()
    _open.clear()


atexit.register(_flush_all)
os.register_at_fork(after_in_child=_after_fork)


# Shorter than the time that a kill leaves by default: what can't be stored until then is lost with the process.
STORING_SECONDS: Final = 8.0

_NUMBER: Final = signal.SIGTERM
_CAUGHT: Final = b"\0"  # by this handler, whatever has replaced it by now
_pipe: tuple[int, int] | None = None


def store_before_ending() -> None:
    """Let SIGTERM end this process only once its outputs are stored, at most `STORING_SECONDS` later.

    Does nothing where the signal has a handler already, or outside of the main thread, which alone may set one. A
    handler that is set later replaces this one. Whoever writes meanwhile waits, so that what is stored is complete.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(_NUMBER) != signal.SIG_DFL
    ):
        return
    _listen()
    signal.signal(_NUMBER, _pass_on)


def _listen() -> None:
    """Start a thread for it: the main thread may hold an output's lock or be busy in C code."""
    global _pipe  # noqa: PLW0603 - once for each process
    _pipe = os.pipe()
    for descriptor in _pipe:
        os.set_blocking(descriptor, descriptor == _pipe[0])
    before = signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)  # an event loop's; then the handler alone tells
    threading.Thread(target=_end, args=(_pipe[0],), name="termination", daemon=True).start()


def _pass_on(_: int, __: FrameType | None) -> None:
    if _pipe is not None:
        os.write(_pipe[1], _CAUGHT)


def _is_anothers() -> bool:
    handler = signal.getsignal(_NUMBER)
    return callable(handler) and handler is not _pass_on


def _end(told: int) -> None:
    while (word := os.read(told, 1)) != _CAUGHT and (word != bytes([_NUMBER]) or _is_anothers()):
        pass
    store_all(STORING_SECONDS)
    ctypes.CDLL(None).signal(_NUMBER, 0)  # by C, since Python lets only the main thread do it
    os.kill(os.getpid(), _NUMBER)


def _before_fork() -> None:
    """Block SIGTERM while forking: one meant for the copy must not end the original."""
    if _pipe is not None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {_NUMBER})


def _after_fork_in_parent() -> None:
    if _pipe is not None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {_NUMBER})


def _after_fork_in_child() -> None:
    global _pipe  # noqa: PLW0603 - it is the original's
    if _pipe is None:
        return
    signal.set_wakeup_fd(-1)
    if signal.getsignal(_NUMBER) is _pass_on:
        signal.signal(_NUMBER, signal.SIG_DFL)
    for descriptor in _pipe:
        os.close(descriptor)
    _pipe = None
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {_NUMBER})


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
