"""How long to wait before trying again, for every retry and every new connection.

Apart from `connection`, so that redis need not be imported for it.
"""

from time import monotonic

# What the server's ACL refuses it goes on refusing until somebody changes it (seconds until the next try).
REFUSED_PAUSE = 30.0


class Backoff:
    """The pauses between tries: each twice as long as the one before, from `first` to `longest` seconds.

    `retry_at` is when the next try is due (monotonic seconds; 0 when nothing failed).
    """

    def __init__(self, first: float = 0.05, longest: float = 2.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first
        self.retry_at = 0.0

    def failed(self, *, is_refusal: bool = False) -> float:
        """Note a failure; returns how long to wait before the next try (seconds), longer after a refusal."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        pause = REFUSED_PAUSE if is_refusal else pause
        self.retry_at = monotonic() + pause
        return pause

    def succeeded(self) -> None:
        """Begin anew with the shortest pause."""
        self._next = self._first
        self.retry_at = 0.0
