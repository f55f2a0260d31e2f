"""Waiting for events in tests instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(look: Callable[[], Found], limit: float = 60.0, what: str = "") -> Found:
    """Look again until what is found is true, and return it; fail after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {limit} s: {what or look}"
        time.sleep(0.01)
    return found
