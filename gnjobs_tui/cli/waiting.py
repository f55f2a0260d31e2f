"""Says on stderr how far a long search is, where a person waits for it at a terminal; nothing of it stays."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAID_AFTER = 0.5
SAID_EVERY = 0.25


@contextmanager
def searching() -> Iterator[Callable[[int], None]]:
    """Give what is to be told how many keys were looked at: it says so on one line, which is erased at the end."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns - 1 if sys.stderr.isatty() else 0
    due, is_said = time.monotonic() + SAID_AFTER, False

    def looked(keys: int) -> None:
        nonlocal due, is_said
        if width > 0 and time.monotonic() >= due:
            due, is_said = time.monotonic() + SAID_EVERY, True
            _write(
                f"looking for jobs that no index lists: {keys:,} keys".replace(",", " ")[:width].ljust(width)
            )

    try:
        yield looked
    finally:
        if is_said:
            _write(" " * width)


def _write(line: str) -> None:
    # Blanks and not an escape sequence erase it, which any terminal understands.
    print(f"\r{line}\r", end="", file=sys.stderr, flush=True)
