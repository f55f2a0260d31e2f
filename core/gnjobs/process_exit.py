"""What happens when a process ends or forks: buffered lines are stored first, and forked copies are told."""

import atexit
import os
import sys
from collections.abc import Callable
from typing import Final

_FLUSH_FIRST: Final = 100  # multiprocessing runs finalizers of higher priority first

Flush = Callable[[], object]

_flushes: dict[int, Flush] = {}
_generation = 0
_registered_with_children = False


def generation() -> int:
    """A number that differs in every forked copy of the process."""
    return _generation


def flush_at_exit(owner: object, flush: Flush) -> None:
    """Call `flush` when this process ends, until `forget` is called with the same owner."""
    _flushes[id(owner)] = flush
    _register_with_multiprocessing()


def forget(owner: object) -> None:
    """Flush this owner no more."""
    _flushes.pop(id(owner), None)


def _flush_all() -> None:
    for flush in list(_flushes.values()):
        try:
            flush()
        except KeyboardInterrupt:
            return


def _register_with_multiprocessing() -> None:
    """Children of multiprocessing end by `os._exit`: not atexit, but their own finalizers run."""
    global _registered_with_children  # noqa: PLW0603 - once for each process
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _registered_with_children:
        util.Finalize(None, _flush_all, exitpriority=_FLUSH_FIRST)
        _registered_with_children = True


def _after_fork() -> None:
    global _generation, _registered_with_children  # noqa: PLW0603 - both belong to the process
    _generation += 1
    _registered_with_children = False
    _flushes.clear()


atexit.register(_flush_all)
os.register_at_fork(after_in_child=_after_fork)
