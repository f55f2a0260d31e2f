"""What a supervisor does to its own process first, so that nothing inherited from its starter matters."""

import contextlib
import ctypes
import gc
import os
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36
_ERRORS_INSTEAD = (signal.SIGPIPE, signal.SIGXFSZ)


def reset_signals() -> None:
    """Give every signal its default action and block none; a closed pipe stays an error rather than our end.

    A web server may ignore SIGCHLD, and then the exit code of every process below it would read 0.
    """
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    for number in _ERRORS_INSTEAD:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def become_subreaper() -> bool:
    """Make this process the parent of every orphan below it, so that what a job daemonises is still its own.

    Returns False where the system has no such thing (only Linux does).
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def release_memory() -> None:
    """Give back what the imports needed only while they ran: about a quarter of the process."""
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def silence(*descriptors: int) -> None:
    """Point descriptors at `/dev/null`, so that whoever reads their other end sees it closed."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)
