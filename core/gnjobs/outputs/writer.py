"""Writes one output: numbered lines into one stream, from any thread, and never fails the job for it."""

import threading
from collections.abc import Iterable
from itertools import islice
from time import monotonic, sleep, time
from typing import Any, Final, Protocol

import redis

from gnjobs.errors import AnotherWriter, OutputRemoved
from gnjobs.outputs import at_exit
from gnjobs.outputs.connection import OutputConnection
from gnjobs.outputs.delivery import OutputDelivery
from gnjobs.outputs.window import BATCH_BYTES, GROUP_BYTES, OutputWindow, pieces
from gnjobs.records.backoff import Backoff
from gnjobs.records.connection import passing_over_other_types
from gnjobs.records.keys import MONTH
from gnjobs.records.scripts import Run, set_fields
from gnjobs.records.servers import is_refusal
from gnjobs.records.values import encode_text

MAX_BYTES: Final = 256 * 1024 * 1024
BUFFER_BYTES: Final = 64 * 1024 * 1024

_OLDEST: Final = 0.1
_PARTIAL_EVERY: Final = 1.0
_PARTIAL_CHARACTERS: Final = 4096
_WATCH_EVERY: Final = 0.25
_LINES_AT_FIRST: Final = 100
_LINES_AT_ONCE: Final = 2000


class Companion(Protocol):
    """What the thread of a writer sends beside the lines, over the same connection: the fields of a child's hash.

    `changed` guards both; `last_line` is when a line was last written (unix seconds), `has_lines` says whether lines
    are still to be stored. Times are monotonic.
    """

    changed: threading.Condition
    is_over: bool
    has_ended: bool
    watch_until: float

    def hurry(self) -> None:
        """Send what there is at once."""

    def is_settled(self, last_line: float) -> bool:
        """Whether there is nothing to be sent, or nothing more can be."""

    def due(self, last_line: float, *, has_lines: bool) -> float | None:
        """When there is something to send; None where there is nothing yet."""

    def connected(self) -> None:
        """Say everything again, over a connection that is new."""

    def refused(self) -> None:
        """Try again later: the server answered with an error."""

    def send(self, client: redis.Redis, last_line: float) -> None:
        """Send what is due; raises redis-py's errors."""

    def wrote(self) -> None:
        """Watch for a while from now on whether what was written lasts: until `watch_until`, 0 for not at all."""

    def confirm(self, client: redis.Redis) -> None:
        """What was written is `watch_until` old, and the server is still the one that took it."""


class OutputWriter:
    """Stores lines under `key` in the order in which they are written, each once, and numbers them.

    While Redis is away lines are kept up to `buffer_bytes`; then writing waits. No error of Redis is raised here: an
    output that can't be stored any more says so in `error`. A process that ends stores everything first. A forked copy
    refuses to write (`RuntimeError`). The oldest lines are trimmed beyond `max_bytes` (0: never), and the stream
    expires `expire_seconds` after it was begun unless somebody renews it. `hash_key` names the record or child whose
    field `partial-line` shows an unfinished line, as long as it is of this `run`.

    The thread that sends the lines also sends what a `companion` has to say; once that has ended, closing leaves the
    thread at work for as long as it takes to see that lines and end last (see `outlast`).
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        hash_key: str | None = None,
        run: Run | None = None,
        expire_seconds: float = MONTH,
        max_bytes: int = MAX_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
        companion: Companion | None = None,
    ) -> None:
        self.key = key
        self.error: AnotherWriter | OutputRemoved | None = None
        self.trouble: str | None = None
        self.last_write = 0.0
        self._hash_key = hash_key
        self._run_of_hash = run
        self._buffer_bytes = buffer_bytes
        self._companion = companion
        self._changed = threading.Condition() if companion is None else companion.changed
        self._window = OutputWindow(keep_bytes=max_bytes or MAX_BYTES)
        self._connection = OutputConnection(url, key, expire=max(1, int(expire_seconds)))
        self._delivery = OutputDelivery(
            self._connection,
            key,
            self._window,
            self._changed,
            max_bytes=max_bytes,
        )
        self._partial: str | None = None
        self._partial_after = 0.0
        self._taken = 0.0
        self._watch_at = 0.0
        self._backoff = Backoff(first=0.02)
        self._hurry = 0
        self._refusal: str | None = None
        self._is_copy = False
        self._is_closed = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"output {key}", daemon=True)
        at_exit.watch(self)
        self._thread.start()

    def __enter__(self) -> "OutputWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_copy:
            self.close()

    @property
    def lines(self) -> int:
        """How many lines were written here so far, stored or not."""
        return self._window.accepted

    def write(self, text: str | bytes, kind: str = "out") -> None:
        r"""Write one line, given without its newline; each `\n` inside begins another line.

        Waits while the buffer is full. Raises `RuntimeError` when closed, or in a forked copy.
        """
        data = text if isinstance(text, bytes) else encode_text(text)
        if len(data) > BATCH_BYTES:
            for piece in pieces(data):
                self._accept(piece, kind)
        else:
            self._accept(data, kind)

    def write_many(self, lines: Iterable[str | bytes], kind: str = "out") -> None:
        """Write many lines of one kind; far faster than one by one."""
        source = iter(lines)
        at_once = _LINES_AT_FIRST
        while chunk := list(islice(source, at_once)):
            data, count = _join(chunk)
            if len(data) > BATCH_BYTES:
                self.write(data, kind)
            else:
                self._accept(data, kind, count)
            at_once = max(1, min(_LINES_AT_ONCE, len(chunk) * BATCH_BYTES // (len(data) + 1) * 31 // 32))

    def partial(self, text: str) -> None:
        r"""Show what follows the last `\r` of an unfinished line, at most once a second; `""` removes it."""
        self.check_owner()
        with self._changed:
            if text:
                self.last_write = time()
            self._partial = text.rstrip("\r").rpartition("\r")[2][-_PARTIAL_CHARACTERS:]
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was written is stored, at most `timeout` seconds; returns whether the lines are."""
        self.check_owner()
        with self._changed:
            target = self._window.accepted
            self._hurry = max(self._hurry, target)
            self._partial_after = 0.0
            if self._companion is not None:
                self._companion.hurry()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_settled(target), timeout)
            return self._is_stored(target)

    def _is_settled(self, target: int) -> bool:
        if self._stopping:
            return True
        companion = self._companion
        has_fields = companion is not None and not companion.is_settled(self.last_write)
        return not has_fields and (self._is_stored(target) or self.error is not None)

    def close(self, timeout: float | None = None) -> bool:
        """Store what is left, at most `timeout` seconds, and end; returns whether all lines are stored."""
        self.check_owner()
        self._refusal = f"the output {self.key} is closed"
        stored = self.flush(timeout)
        with self._changed:
            self._is_closed = True
            has_to_last = self._companion is not None and self._companion.has_ended
            self._stopping = not has_to_last
            self._changed.notify_all()
        if has_to_last:
            return stored
        at_exit.forget(self)
        if not stored:
            self._connection.close()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)
        return stored

    def outlast(self, timeout: float | None = None) -> None:
        """After closing, wait until what was stored has lasted: a server that forgot it got it again."""
        if self._is_closed:
            self._thread.join(timeout)

    def store_last(self, timeout: float) -> None:
        """Store what there is, for at most `timeout` seconds; what is written from now on waits."""
        self._buffer_bytes = 0
        self.flush(timeout)

    def refuse_copy(self) -> None:
        """Refuse to write from now on, in a forked copy."""
        self._is_copy = True
        self._refusal = f"{self.key} is written by the process that opened it: a forked copy must not"

    def check_owner(self) -> None:
        """Raise `RuntimeError` in a forked copy."""
        if self._is_copy:
            raise RuntimeError(self._refusal)

    def _accept(self, data: bytes, kind: str, lines: int | None = None) -> None:
        if self._refusal is not None:
            raise RuntimeError(self._refusal)
        now = time()
        window = self._window
        with self._changed:
            if window.pending >= self._buffer_bytes:
                self._changed.wait_for(lambda: window.pending < self._buffer_bytes or self._stopping)
            if begins_batch := window.add(kind, data, now, lines):
                self._changed.notify_all()
            if self.error is not None:
                window.discard()
            self.last_write = now
        if begins_batch and window.pending > 2 * GROUP_BYTES:
            # Who writes without a pause keeps the GIL, for 5 ms after each system call of the thread that sends.
            sleep(0)

    def _is_stored(self, target: int) -> bool:
        return self._window.acknowledged >= target and self._partial is None

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - whatever it is, the lines stay and the job goes on
                self._connection.close()
                self.trouble = f"{type(error).__name__}: {error}"
                self._backoff.failed(is_refusal=is_refusal(error))
            else:
                self.trouble = None
                self._backoff.succeeded()
            with self._changed:
                self._changed.notify_all()
        self._connection.close()
        at_exit.forget(self)

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._is_over():
                now = monotonic()
                delay = self._delay(now)
                if delay is not None and delay <= 0:
                    if self._open_is_due(now):
                        self._window.close_batch()
                    if self._window.waiting:
                        self._taken = now
                    return True
                self._changed.wait(delay)
            self._stopping = True
            self._changed.notify_all()
        return False

    def _is_over(self) -> bool:
        may_end = self._is_closed or self.error is not None
        return self._stopping or (may_end and (self._companion is None or self._companion.is_over))

    def _delay(self, now: float) -> float | None:
        """How long there is nothing to do; None where there is nothing at all."""
        due = []
        if self._window.waiting or (self.error is None and self._hurry > self._window.acknowledged):
            due.append(now)
        elif self._window.has_open:
            due.append(self._taken + _OLDEST)
        if self._partial is not None:
            due.append(self._partial_after)
        if self._is_watching:
            due.append(self._watch_at)
        if (at := self._companion_due()) is not None:
            due.append(at)
        return max(min(due), self._backoff.retry_at) - now if due else None

    def _companion_due(self) -> float | None:
        if self._companion is None:
            return None
        return self._companion.due(self.last_write, has_lines=self._window.pending > 0)

    @property
    def _is_watching(self) -> bool:
        return bool(self._window.kept) or (self._companion is not None and self._companion.watch_until > 0)

    def _open_is_due(self, now: float) -> bool:
        """Whether the open lines are to be sent now rather than be joined by more."""
        if self._hurry > self._window.acknowledged or time() - self._window.opened >= _OLDEST:
            return True
        return not self._window.waiting and now - self._taken >= _OLDEST

    def _work(self) -> None:
        is_new = not self._connection.is_open
        try:
            self._delivery.ensure_connected()
            has_sent = self._delivery.deliver()
        except (AnotherWriter, OutputRemoved) as error:
            self._give_up(error)
            has_sent = False
        now = monotonic()
        if self._companion is not None:
            self._send_companion(self._companion, now, is_new=is_new, has_sent=has_sent)
        if self._partial is not None and now >= self._partial_after:
            self._store_partial(now)
        if now >= self._watch_at and self._is_watching:
            self._watch(now)

    def _send_companion(self, companion: Companion, now: float, *, is_new: bool, has_sent: bool) -> None:
        if is_new:
            companion.connected()
        if has_sent and companion.has_ended:
            companion.wrote()
        with self._changed:
            due = self._companion_due()
        if due is None or due > now:
            return
        try:
            companion.send(self._connection.client, self.last_write)
        except redis.ResponseError:  # lines go on; another connection may lead to a server that takes it
            companion.refused()
            self._connection.close()

    def _watch(self, now: float) -> None:
        """Look whether the server is still there while something may have to be sent again."""
        self._watch_at = now + _WATCH_EVERY
        if not self._connection.is_open:
            return
        self._delivery.watch()
        companion = self._companion
        if companion is not None and 0 < companion.watch_until <= now and not self._window.pending:
            self._delivery.ask()
            companion.confirm(self._connection.client)

    def _store_partial(self, now: float) -> None:
        text = self._partial
        if text is not None and self._hash_key is not None:
            with passing_over_other_types():
                shown = {"partial-line": encode_text(text)}
                set_fields(self._connection.client, self._hash_key, shown, self._run_of_hash)
        self._partial_after = now + _PARTIAL_EVERY
        with self._changed:
            if self._partial is text:
                self._partial = None
                self._changed.notify_all()

    def _give_up(self, error: AnotherWriter | OutputRemoved) -> None:
        self._delivery.is_given_up = True
        self._hash_key = None  # so is the hash, another job's or gone
        with self._changed:
            self.error = error
            self._window.discard()
            self._changed.notify_all()


def _join(lines: list[str | bytes]) -> tuple[bytes, int | None]:
    """Join lines of one batch or so; also returns how many they are, if none of them has newlines inside.

    Joining them once more to look for a newline takes a third of the time of counting all newlines.
    """
    is_bytes = isinstance(lines[0], bytes)
    newline: Any = b"\n" if is_bytes else "\n"
    try:
        joined: Any = newline.join(lines)
        count = None if newline in newline[:0].join(lines) else len(lines)
    except TypeError:
        return b"\n".join(line if isinstance(line, bytes) else encode_text(line) for line in lines), None
    return (joined if is_bytes else encode_text(joined)), count
