"""What happens when a process ends or forks: buffered lines are stored first, and forked copies are told."""

import atexit
import contextlib
import os
import sys
import time
from typing import Final, Protocol

_OUTLAST_SECONDS: Final = 5.0
_FLUSH_FIRST: Final = 100  # multiprocessing runs finalizers of higher priority first


class Buffered(Protocol):
    """What holds something that is to be stored before its process ends."""

    def finish(self) -> object:
        """Store it."""
        ...

    def outlast(self, timeout: float) -> object:
        """Where it has ended, see for at most so many seconds that this lasts."""
        ...

    def store_last(self, timeout: float) -> object:
        """Take no more, and store what there is, for at most `timeout` seconds."""
        ...

    def refuse_copy(self) -> None:
        """Take note that this is a forked copy now, whose original goes on."""
        ...


_open: dict[int, Buffered] = {}
_registered_with_children = False
_outlast_until: float | None = None


def watch(buffered: Buffered) -> None:
    """Flush this when the process ends, and tell its forked copies what they are, until `forget`."""
    _open[id(buffered)] = buffered
    _register_with_multiprocessing()


def forget(buffered: Buffered) -> None:
    """Let go of what was closed."""
    _open.pop(id(buffered), None)


def store_all(seconds: float) -> None:
    """Store what is held, for at most so many seconds, in a process that is about to be ended from outside."""
    deadline = time.monotonic() + seconds
    for buffered in list(_open.values()):
        buffered.store_last(max(0.0, deadline - time.monotonic()))


def _flush_all() -> None:
    global _outlast_until  # noqa: PLW0603 - a process may be ended by multiprocessing and by atexit, and waits once
    held = list(_open.values())
    with contextlib.suppress(KeyboardInterrupt):
        for buffered in held:
            buffered.finish()
        _outlast_until = _outlast_until or time.monotonic() + _OUTLAST_SECONDS
        for buffered in held:
            buffered.outlast(max(0.0, _outlast_until - time.monotonic()))


def _register_with_multiprocessing() -> None:
    """Children of multiprocessing end by `os._exit`: not atexit, but their own finalizers run."""
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
