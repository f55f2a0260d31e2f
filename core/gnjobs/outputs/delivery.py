"""The rules by which lines reach the server once, over connections that break and servers that forget."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import Condition
from time import monotonic

from gnjobs.errors import AnotherWriter, OutputRemoved
from gnjobs.outputs.connection import Group, OutputConnection, StreamState
from gnjobs.outputs.lines import ENTRY_FIELDS, entry_number
from gnjobs.outputs.window import Batch, OutputWindow

_MARKS = 64
# What else the connection is for comes between two runs.
_GROUPS_A_RUN = 16
_ENTRY_OVERHEAD = 32  # bytes that an entry takes beyond its data, roughly


class StoredBytes:
    """How much the server holds, in coarse marks: enough to say from which line on it may stay."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._marks: deque[tuple[int, int]] = deque()
        self._mark_bytes = 0
        self._total = 0
        self._first = 0

    def add(self, last: int, size: int) -> None:
        """Note an entry that is sent."""
        if not self._most:
            return
        self._total += size + _ENTRY_OVERHEAD
        self._mark_bytes += size + _ENTRY_OVERHEAD
        if self._mark_bytes >= self._most // _MARKS:
            self._marks.append((last, self._mark_bytes))
            self._mark_bytes = 0

    def rewind(self, number: int) -> None:
        """Forget, roughly, what was noted beyond this number."""
        while self._marks and self._marks[-1][0] > number:
            self._total -= self._marks.pop()[1]
        self._total -= self._mark_bytes
        self._mark_bytes = 0
        self._first = min(self._first, number + 1)

    def add_earlier(self, first: int, last: int, size: int) -> None:
        """Note what an earlier writer stored, as if all its lines were of one length."""
        for mark in range(1, _MARKS + 1):
            self.add(first + (last - first) * mark // _MARKS, size // _MARKS)

    def keep_from(self, coming: int) -> int | None:
        """Drop the oldest marks beyond the limit; returns the first line that is left, if any were ever dropped."""
        while self._total + coming > self._most > 0 and self._marks:
            last, size = self._marks.popleft()
            self._total -= size
            self._first = last + 1
        return self._first or None


class OutputDelivery:
    """Stores the window's batches on the server: one connection, one group after the other.

    `changed` guards the window. Whatever is raised besides `AnotherWriter` and `OutputRemoved` means: close the
    connection, and try again later.
    """

    def __init__(
        self,
        connection: OutputConnection,
        key: str,
        window: OutputWindow,
        changed: Condition,
        *,
        max_bytes: int,
    ) -> None:
        self._connection = connection
        self._key = key
        self._window = window
        self._changed = changed
        self._stored = StoredBytes(max_bytes)
        self._base: int | None = None
        self._run_id: bytes | None = None
        self._create = False
        self._checked = 0.0
        self.is_given_up = False

    def ensure_connected(self) -> None:
        """Connect if necessary and compare what the server has with what was sent, unless the output was given up."""
        if self._connection.is_open:
            return
        state = self._connection.open()
        if self.is_given_up:
            return
        if not state.is_stream:
            raise AnotherWriter(f"{self._key} holds something other than an output")
        if self._base is None:
            self._begin(state)
        else:
            self._settle(state, self._base)
        self._run_id = state.run_id
        self._checked = monotonic()

    def deliver(self) -> bool:
        """Store what waits, up to a few groups; returns whether there was anything."""
        has_stored = False
        with closing(self._connection.store(self._groups())) as stored:
            for group in stored:
                self._create = False
                self._acknowledge(group.batches[-1].last)
                has_stored = True
        return has_stored

    def _groups(self) -> Iterator[Group]:
        """What waits, in groups; each is made while the one before is under way."""
        base, create = self._base, self._create
        after = self._window.acknowledged
        for _ in range(_GROUPS_A_RUN):
            with self._changed:
                batches = self._window.group(after)
            if not batches or base is None:
                return
            keep_from = self._stored.keep_from(sum(len(batch.data) for batch in batches))
            for batch in batches:
                self._stored.add(base + batch.last, len(batch.data))
            yield Group(batches, base, base + after, create, keep_from)
            after, create = batches[-1].last, False

    def watch(self) -> None:
        """Look whether the server is still there while something may have to be sent again.

        What was acknowledged long enough ago is dropped only after an answer on the same connection.
        """
        if not self._connection.looks_alive():
            raise ConnectionError("the server closed the connection")
        if monotonic() - self._checked >= self._window.keep_seconds:
            self.ask()

    def ask(self) -> None:
        """Check that the server still answers on the connection over which it stored the lines."""
        now = monotonic()
        self._connection.client.ping()
        self._answered(now)

    def _acknowledge(self, number: int) -> None:
        now = monotonic()
        with self._changed:
            self._window.acknowledge(number, now)
            self._changed.notify_all()
        self._answered(now)

    def _answered(self, now: float) -> None:
        self._checked = now
        with self._changed:
            self._window.forget(now)

    def _begin(self, state: StreamState) -> None:
        """On the first connection, continue after the lines that are already stored."""
        self._base = self._number(state.last_id)
        self._create = state.last_id is None
        if self._base:
            self._stored.add_earlier(self._connection.first_number(), self._base, self._connection.memory())

    def _number(self, last_id: bytes | None) -> int:
        if last_id is None or last_id == b"0-0":
            return 0
        number = entry_number(last_id)
        if number is None:
            raise AnotherWriter(f"{self._key} is a stream with other ids: {last_id!r:.60}")
        return number

    def _settle(self, state: StreamState, base: int) -> None:
        if state.last_id is None:
            self._settle_missing(state)
            return
        last = self._number(state.last_id) - base
        self._stored.rewind(last + base)
        if last > self._window.acknowledged:
            self._settle_unanswered(last, base)
        elif last < self._window.acknowledged:
            with self._changed:
                if not self._window.ends_batch(last):
                    raise AnotherWriter(
                        f"{self._key} ends at line {last + base}, where this writer never ended an entry"
                    )
                self._window.rewind(last)

    def _settle_missing(self, state: StreamState) -> None:
        """Handle a missing key: nothing was stored yet, the server forgot it, or somebody removed it."""
        if not self._create:
            restarted = self._run_id is not None and state.run_id is not None and self._run_id != state.run_id
            unknown = self._run_id is None or state.run_id is None
            with self._changed:
                if not restarted and not (unknown and self._window.reaches_start):
                    raise OutputRemoved(f"{self._key} was removed; nothing more is stored")
                self._window.rewind(-(self._base or 0))
        self._stored.rewind(0)
        self._create = True

    def _settle_unanswered(self, last: int, base: int) -> None:
        """Handle lines stored beyond the last acknowledged one: they are ours if they equal what we sent."""
        with self._changed:
            waiting = [batch for batch in self._window.waiting if batch.last <= last]
            after = self._window.acknowledged + base
        found = self._connection.entries(after, len(waiting) + 1)
        if found != [_as_stored(batch, base) for batch in waiting] or not waiting or waiting[-1].last != last:
            raise AnotherWriter(f"another writer stored lines in {self._key} after line {after}")
        self._create = False
        self._acknowledge(last)


def _as_stored(batch: Batch, base: int) -> list[object]:
    values: Sequence[bytes] = (b"%d" % batch.at, batch.kind.encode(), batch.data)
    fields = [part for pair in zip(ENTRY_FIELDS, values, strict=True) for part in pair]
    return [b"%d-0" % (base + batch.last), fields]
