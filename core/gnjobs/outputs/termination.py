"""What a job's process does when it is told to end (SIGTERM): what it has written is stored first."""

import ctypes
import os
import signal
import threading
from types import FrameType
from typing import Final

from gnjobs.outputs import at_exit

# Shorter than the time that a kill leaves by default: what can't be stored until then is lost with the process.
STORING_SECONDS: Final = 8.0

_NUMBER: Final = signal.SIGTERM
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
    """Start the thread that does it: the main thread may hold the lock of an output, or be in C code for long."""
    global _pipe  # noqa: PLW0603 - once for each process
    _pipe = os.pipe()
    for descriptor in _pipe:
        os.set_blocking(descriptor, descriptor == _pipe[0])
    before = signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)  # an event loop's; then the handler alone tells
    threading.Thread(target=_end, args=(_pipe[0],), name="termination", daemon=True).start()


def _pass_on(number: int, _: FrameType | None) -> None:
    if _pipe is not None:
        os.write(_pipe[1], bytes([number]))


def _end(told: int) -> None:
    while os.read(told, 1) != bytes([_NUMBER]) or signal.getsignal(_NUMBER) is not _pass_on:
        pass
    at_exit.store_all(STORING_SECONDS)
    ctypes.CDLL(None).signal(_NUMBER, 0)  # by C, since Python lets only the main thread do it
    os.kill(os.getpid(), _NUMBER)


def _before_fork() -> None:
    """A signal that reaches a forked copy before it is one of its own must not end the original."""
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
