"""When something was last heard of, by a clock that no jump and no suspended laptop moves."""

import time
from typing import Final, NamedTuple

_JITTER: Final = 2.0
_SLACK: Final = 1.0


class Clocks(NamedTuple):
    """One moment by this host's wall clock, by its monotonic one, and by the server (seconds)."""

    wall: float
    monotonic: float
    server: float


def clocks_now(server: float) -> Clocks:
    """The moment that it is now, of which the server's time is known."""
    return Clocks(time.time(), time.monotonic(), server)


class LastSign:
    """Follows a time that is written by a wall clock; how long ago it was is measured from seeing it change.

    A wall clock that jumps, or that goes on while the machine sleeps, would make hours of a silence of seconds.
    """

    def __init__(self) -> None:
        self._told = 0.0
        self._looked_at = float("-inf")
        self._seen_at = 0.0
        self._said = 0.0

    def at(self, told: float, clocks: Clocks) -> float:
        """When it was, by the server's clock; the same is said again unless that differs by seconds."""
        has_changed = told != self._told
        if has_changed:
            age = clocks.wall - told
            is_possible = 0 <= age <= clocks.monotonic - self._looked_at + _SLACK
            self._told = told
            self._seen_at = clocks.monotonic - (age if is_possible else 0.0)
        self._looked_at = clocks.monotonic
        at = clocks.server - (clocks.monotonic - self._seen_at)
        if has_changed or abs(at - self._said) > _JITTER:
            self._said = at
        return self._said
