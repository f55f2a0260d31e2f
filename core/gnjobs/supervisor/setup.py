"""What a supervisor does to its own process first, so that nothing inherited from its starter matters."""

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ERRORS_INSTEAD = (signal.SIGPIPE, signal.SIGXFSZ)


def reset_signals() -> None:
    """Give every signal its default action; a closed pipe stays an error rather than our end.

    Those that tell us to stop are held back until `hear_stop_signals`: the job must be told of them. A web server
    may ignore SIGCHLD, and then the exit code of every process below it would read 0.
    """
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    for number in _ERRORS_INSTEAD:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, STOP_SIGNALS)


def hear_stop_signals() -> None:
    """Block no signal any more: somebody listens."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


@contextlib.contextmanager
def holding_stop_signals() -> Iterator[None]:
    """Start processes that are told to stop only when they listen: they inherit what this thread blocks."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
