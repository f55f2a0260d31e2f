"""What a writer holds in memory: lines and batches to be sent, and those that it may have to send again."""

from collections import deque
from collections.abc import Iterator
from typing import Final

BATCH_BYTES: Final = 64 * 1024
GROUP_BYTES: Final = 1024 * 1024
LONGEST_LINE: Final = 1024 * 1024
KEEP_SECONDS: Final = 5.0


class Batch:
    """The lines of one entry; once made it never changes, so that it is resent with the same boundaries.

    `last` numbers its last line, counted from the writer's own first line; `at` is in unix milliseconds.
    """

    __slots__ = ("acknowledged_at", "at", "data", "kind", "last")

    def __init__(self, last: int, at: int, kind: str, data: bytes) -> None:
        self.last = last
        self.at = at
        self.kind = kind
        self.data = data
        self.acknowledged_at = 0.0

    @property
    def first(self) -> int:
        """The number of its first line."""
        return self.last - self.data.count(b"\n")


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut joined lines into pieces of about a batch's size: between lines, and inside lines of over 1 MiB."""
    start = 0
    while len(data) - start > BATCH_BYTES:
        cut = data.rfind(b"\n", start, start + BATCH_BYTES + 1)
        if cut < 0:
            cut = data.find(b"\n", start, start + LONGEST_LINE + 1)
        if cut >= 0:
            yield data[start:cut]
            start = cut + 1
        elif len(data) - start <= LONGEST_LINE:
            break
        else:
            cut = _character_end(data, start + LONGEST_LINE)
            yield data[start:cut]
            start = cut
    yield data[start:]


def _character_end(data: bytes, position: int) -> int:
    """The nearest position at or before this one that lies between two UTF-8 characters."""
    for end in range(position, position - 4, -1):
        if data[end] & 0xC0 != 0x80:
            return end
    return position


class OutputWindow:
    """An open batch that still grows, closed ones that wait for their acknowledgement, and lately acknowledged ones.

    `pending` is the size in bytes of everything that is not acknowledged. Not thread-safe: its owner locks.
    """

    def __init__(self, keep_bytes: int) -> None:
        self.keep_bytes = keep_bytes
        self.keep_seconds = KEEP_SECONDS
        self.accepted = 0
        self.acknowledged = 0
        self.pending = 0
        self.waiting: deque[Batch] = deque()
        self.kept: deque[Batch] = deque()
        self._kept_bytes = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._kind = ""
        self._at = 0.0

    @property
    def has_open(self) -> bool:
        """Whether there are lines in no closed batch yet."""
        return bool(self._parts)

    @property
    def opened(self) -> float:
        """When the first line of the open batch came, in unix seconds."""
        return self._at

    def add(self, kind: str, data: bytes, now: float, lines: int | None = None) -> bool:
        """Take a piece of joined lines; returns whether there is now something new to be sent.

        `lines` is how many there are, where that is known already.
        """
        size = len(data) + 1
        self._size += size
        news = not self._parts or kind != self._kind or self._size > BATCH_BYTES
        if news:
            self.close_batch()
            self._kind = kind
            self._at = now
            self._size = size
        self._parts.append(data)
        self.pending += size
        if lines is None:
            lines = data.count(b"\n") + 1 if b"\n" in data else 1
        self.accepted += lines
        return news

    def close_batch(self) -> None:
        """Make the open lines a batch."""
        if self._parts:
            data = self._parts[0] if len(self._parts) == 1 else b"\n".join(self._parts)
            self.waiting.append(Batch(self.accepted, int(self._at * 1000), self._kind, data))
            self._parts = []
            self._size = 0

    def group(self, after: int = 0) -> list[Batch]:
        """The oldest batches that wait, of those after this number, as many as go into one transaction.

        They stay until they are acknowledged.
        """
        chosen: list[Batch] = []
        size = 0
        for batch in self.waiting:
            if batch.last <= after:
                continue
            size += len(batch.data)
            if chosen and size > min(GROUP_BYTES, self.keep_bytes):
                break
            chosen.append(batch)
        return chosen

    def acknowledge(self, number: int, now: float) -> None:
        """Note that lines up to this number are stored. `now` is monotonic."""
        while self.waiting and self.waiting[0].last <= number:
            batch = self.waiting.popleft()
            batch.acknowledged_at = now
            self.pending -= len(batch.data) + 1
            self._kept_bytes += len(batch.data)
            self.kept.append(batch)
        self.acknowledged = number

    def forget(self, now: float) -> None:
        """Drop what was acknowledged long enough ago, and what exceeds the server's own bound."""
        while self.kept and (
            self.kept[0].acknowledged_at <= now - self.keep_seconds or self._kept_bytes > self.keep_bytes
        ):
            self._kept_bytes -= len(self.kept.popleft().data)

    def rewind(self, number: int) -> None:
        """Withdraw acknowledgements beyond this number, because the server forgot those lines.

        Those that are held no more are lost; numbering goes on, so that they are a hole.
        """
        while self.kept and self.kept[-1].last > number:
            batch = self.kept.pop()
            self._kept_bytes -= len(batch.data)
            self.pending += len(batch.data) + 1
            self.waiting.appendleft(batch)
        if self.waiting:
            self.acknowledged = min(self.acknowledged, self.waiting[0].first - 1)

    def ends_batch(self, number: int) -> bool:
        """Whether a batch can have ended here: a known one did, or all known ones begin later."""
        held = [*self.kept, *self.waiting]
        if number == self.acknowledged or not held or number < held[0].first:
            return True
        return any(batch.last == number for batch in held)

    @property
    def reaches_start(self) -> bool:
        """Whether every line since the writer's first is still held."""
        held = self.kept or self.waiting
        return not held or held[0].first == 1

    def discard(self) -> None:
        """Drop everything: nothing more can be stored."""
        self.waiting.clear()
        self.kept.clear()
        self._parts = []
        self._size = self.pending = self._kept_bytes = 0
