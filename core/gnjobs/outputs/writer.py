"""Writes one output: numbered lines into one stream, from any thread, and never fails the job for it."""

import threading
from collections.abc import Callable, Iterable
from itertools import islice
from time import monotonic, time
from typing import Any, Final

from gnjobs.errors import AnotherWriter, OutputRemoved
from gnjobs.outputs import at_exit
from gnjobs.outputs.connection import OutputConnection
from gnjobs.outputs.delivery import OutputDelivery
from gnjobs.outputs.window import BATCH_BYTES, OutputWindow, pieces
from gnjobs.records.backoff import Backoff
from gnjobs.records.values import encode_text

KEEP_SECONDS: Final = 30 * 86400
MAX_BYTES: Final = 256 * 1024 * 1024
BUFFER_BYTES: Final = 64 * 1024 * 1024

_OLDEST: Final = 0.1
_PARTIAL_EVERY: Final = 1.0
_PARTIAL_CHARACTERS: Final = 4096
_WATCH_EVERY: Final = 0.25
_LINES_AT_FIRST: Final = 100
_LINES_AT_ONCE: Final = 2000


class OutputWriter:
    """Stores lines under `key` in the order in which they are written, each once, and numbers them.

    While Redis is away lines are kept up to `buffer_bytes`; then writing waits. Nothing that Redis does is
    raised here: an output that can't be stored any more says so in `error`. A process that ends stores
    everything first. A forked copy refuses to write (`RuntimeError`). The oldest lines are trimmed beyond
    `max_bytes` (0: never), and the stream expires `expire_seconds` after it was begun unless somebody
    renews it. `hash_key` names the record or child whose field `partial-line` shows an unfinished line;
    `on_write` is called after each write.

    For `lasting` seconds after it was closed it sees that what it stored lasts (see `outlast`).
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        hash_key: str | None = None,
        expire_seconds: float = KEEP_SECONDS,
        max_bytes: int = MAX_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
        on_write: Callable[[], object] | None = None,
        lasting: float = 0.0,
    ) -> None:
        self.key = key
        self.error: AnotherWriter | OutputRemoved | None = None
        self.trouble: str | None = None
        self.last_write = 0.0
        self._hash_key = hash_key
        self._buffer_bytes = buffer_bytes
        self._on_write = on_write
        self._lasting = lasting
        self._lasts_until: float | None = None
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._window = OutputWindow(keep_bytes=max_bytes or MAX_BYTES)
        self._delivery = OutputDelivery(
            OutputConnection(url, key),
            key,
            self._window,
            self._changed,
            max_bytes=max_bytes,
            expire=max(1, int(expire_seconds)),
        )
        self._partial: str | None = None
        self._partial_after = 0.0
        self._taken = 0.0
        self._watch_at = 0.0
        self._backoff = Backoff(first=0.02)
        self._hurry = 0
        self._refusal: str | None = None
        self._is_copy = False
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

    @property
    def acknowledged(self) -> int:
        """How many of these lines the server has confirmed."""
        return max(0, self._window.acknowledged)

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
        self._check_owner()
        with self._changed:
            self._partial = text.rstrip("\r").rpartition("\r")[2][-_PARTIAL_CHARACTERS:]
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was written is stored, at most `timeout` seconds; returns whether it is."""
        self._check_owner()
        with self._changed:
            target = self._window.accepted
            self._hurry = max(self._hurry, target)
            self._partial_after = 0.0
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_stored(target) or self.error is not None or self._stopping, timeout
            )
            return self._is_stored(target)

    def close(self, timeout: float | None = None) -> bool:
        """Store what is left, at most `timeout` seconds, and end; returns whether all is stored."""
        self._check_owner()
        self._refusal = f"the output {self.key} is closed"
        stored = self.flush(timeout)
        if stored and self._lasting:
            self._begin_to_last()
            return True
        at_exit.forget(self)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if not stored:
            self._delivery.drop()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)
        return stored

    def _begin_to_last(self) -> None:
        with self._changed:
            self._lasts_until = monotonic() + self._lasting
            self._changed.notify_all()

    def outlast(self, timeout: float | None = None) -> None:
        """After closing, wait until what was stored has lasted: a server that forgot it got it again."""
        if self._lasts_until is not None:
            self._thread.join(timeout)

    def finish(self) -> None:
        """Store what there is, since the process ends."""
        self.flush()

    def store_last(self, timeout: float) -> None:
        """Store what there is, for at most so many seconds; whoever writes from now on waits."""
        self._buffer_bytes = 0
        self.flush(timeout)

    def refuse_copy(self) -> None:
        """Refuse to write from now on, in a forked copy."""
        self._is_copy = True
        self._refusal = f"{self.key} is written by the process that opened it: a forked copy must not"

    def _check_owner(self) -> None:
        if self._is_copy:
            raise RuntimeError(self._refusal)

    def _accept(self, data: bytes, kind: str, lines: int | None = None) -> None:
        if self._refusal is not None:
            raise RuntimeError(self._refusal)
        now = time()
        window = self._window
        with self._lock:
            if window.pending >= self._buffer_bytes:
                self._changed.wait_for(lambda: window.pending < self._buffer_bytes or self._stopping)
            if window.add(kind, data, now, lines):
                self._changed.notify_all()
            if self.error is not None:
                window.discard()
            self.last_write = now
        if self._on_write is not None:
            self._on_write()

    def _is_stored(self, target: int) -> bool:
        return self._window.acknowledged >= target and self._partial is None

    def _run(self) -> None:
        try:
            self._work_on()
        finally:
            at_exit.forget(self)

    def _work_on(self) -> None:
        while self._wait_for_work():
            try:
                self._work()
            except (AnotherWriter, OutputRemoved) as error:
                self._give_up(error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the lines stay and the job goes on
                self._delivery.drop()
                self.trouble = f"{type(error).__name__}: {error}"
                self._backoff.failed()
            else:
                self.trouble = None
                self._backoff.succeeded()
        self._delivery.drop()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._stopping:
                now = monotonic()
                delay = self._delay(now)
                if delay is not None and delay <= 0:
                    if self._open_is_due(now):
                        self._window.close_batch()
                    if self._window.waiting:
                        self._taken = now
                    return True
                self._changed.wait(delay)
        return False

    def _delay(self, now: float) -> float | None:
        """How long there is nothing to do; None where there is nothing at all."""
        due = []
        if self._window.waiting or self._hurry > self._window.acknowledged:
            due.append(now)
        elif self._window.has_open:
            due.append(self._taken + _OLDEST)
        if self._partial is not None:
            due.append(self._partial_after)
        if self._window.kept or self._lasts_until is not None:
            due.append(self._watch_at)
        return max(min(due), self._backoff.retry_at) - now if due else None

    def _open_is_due(self, now: float) -> bool:
        """Whether the open lines are to be sent now rather than be joined by more."""
        if self._hurry > self._window.acknowledged or time() - self._window.opened >= _OLDEST:
            return True
        return not self._window.waiting and now - self._taken >= _OLDEST

    def _work(self) -> None:
        self._delivery.ensure_connected()
        sends_again = self._lasts_until is not None and bool(self._window.waiting)
        self._delivery.deliver()
        now = monotonic()
        if sends_again:
            self._lasts_until = now + self._lasting
        if self._partial is not None and now >= self._partial_after:
            self._store_partial(now)
        if now >= self._watch_at and (self._window.kept or self._lasts_until is not None):
            self._watch_at = now + _WATCH_EVERY
            self._delivery.watch()
            self._look_whether_it_lasted(now)

    def _look_whether_it_lasted(self, now: float) -> None:
        with self._changed:
            if self._lasts_until is None or now < self._lasts_until or self._window.waiting:
                return
        self._delivery.ask()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _store_partial(self, now: float) -> None:
        text = self._partial
        if text is not None and self._hash_key is not None:
            self._delivery.set_fields(self._hash_key, {"partial-line": encode_text(text)})
        self._partial_after = now + _PARTIAL_EVERY
        with self._changed:
            if self._partial is text:
                self._partial = None
                self._changed.notify_all()

    def _give_up(self, error: AnotherWriter | OutputRemoved) -> None:
        self._delivery.drop()
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
