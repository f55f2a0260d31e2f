"""Keeps one child's hash up to date: a few writes a second however often it changes, and the last value always."""

import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time
from typing import Final

from gnjobs.outputs import at_exit
from gnjobs.records.backoff import Backoff
from gnjobs.records.connection import is_wrong_type
from gnjobs.records.keys import Keys
from gnjobs.records.scripts import Value
from gnjobs.runtime.child_hash import ChildHash, EndStep, MissingHash

_FIELDS_EVERY: Final = 0.25
_LAST_OUTPUT_EVERY: Final = 1.0
_WATCH_EVERY: Final = 0.25


class ChildState:
    """One child's hash as its own process writes it: started, changing, ended.

    Never raises what Redis does: it tries again until it is told to stop. For `lasting` seconds after each write it
    watches its connection: where that was replaced, the server may have forgotten something, and everything is said
    again; an end only if it does not stand. `last_line` says when the child last wrote a line (unix seconds).
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        job_id: str,
        child_id: str,
        last_line: Callable[[], float],
        *,
        lasting: float,
    ) -> None:
        self._hash = ChildHash(url, keys, job_id, child_id)
        self._last_line = last_line
        self._lasting = lasting
        self._changed = threading.Condition()
        self._fields: dict[str, Value] = {}
        self._dirty: set[str] = set()
        self._progressed = 0.0
        self._last_output = 0.0
        self._faults = 0
        self._end: EndStep | None = None
        self._is_idle = False
        self._is_flushing = False
        self._is_stopping = False
        self._sent_at = 0.0
        self._stored_at = 0.0
        self._stated_over = 1  # the number of the connection over which everything was said
        self._is_watching = False
        self._watch_at = 0.0
        self._backoff = Backoff()
        self._is_copy = False
        self._thread = threading.Thread(target=self._run, name=f"state {self._hash.key}", daemon=True)
        at_exit.watch(self)
        self._thread.start()

    def update(self, fields: Mapping[str, Value]) -> None:
        """Set fields, soon."""
        self._check_owner()
        with self._changed:
            self._fields.update(fields)
            self._progressed = time()
            self._mark(fields)

    def count_fault(self) -> None:
        """Count one more fault."""
        with self._changed:
            self._faults += 1
            self._mark(("faults",))

    def touch(self) -> None:
        """Note that a line was written."""
        if self._is_idle:
            with self._changed:
                self._changed.notify_all()

    def end(self, status: str, fields: Mapping[str, Value], timeout: float | None = None) -> bool:
        """Set the final status with what belongs to it; returns whether that was stored or refused in time.

        Then the state's thread sees that it lasts (see `outlast`); what was not stored in time is given up.
        """
        self._check_owner()
        with self._changed:
            self._end = self._end or EndStep(status, fields)
            is_stored = self.flush(timeout)
        if not is_stored:
            self.stop()
        return is_stored

    def outlast(self, timeout: float | None = None) -> None:
        """After the end, wait until it has lasted: a server that forgot it was told again."""
        if self._end is not None:
            self._thread.join(timeout)

    def finish(self) -> None:
        """Store everything, since the process ends."""
        self.flush()

    def store_last(self, timeout: float) -> None:
        """Store everything, for at most so many seconds."""
        self.flush(timeout)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything is stored, at most `timeout` seconds; returns whether it is."""
        self._check_owner()
        with self._changed:
            self._is_flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_flushing or self._is_stopping, timeout)
            return not self._is_flushing and not self._hash.is_gone

    def stop(self) -> None:
        """Store nothing more."""
        at_exit.forget(self)
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()

    def refuse_copy(self) -> None:
        """Refuse to write from now on, in a forked copy."""
        self._is_copy = True

    def _check_owner(self) -> None:
        if self._is_copy:
            raise RuntimeError(
                f"{self._hash.key} is written by the process that opened it: a forked copy must not"
            )

    def _mark(self, names: Iterable[str]) -> None:
        if not self._dirty:
            self._changed.notify_all()
        self._dirty.update(names)

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._store()
                self._watch()
            except MissingHash:
                self._try_later()
            except Exception as error:  # noqa: BLE001 - whatever it is, the child goes on, and its end must be told
                self._hash.disconnect()
                self._try_later(is_hopeless=is_wrong_type(error))
            else:
                self._backoff.succeeded()
        self._hash.close()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._is_stopping:
                self._is_idle = True  # before looking, so that a line that comes now is not overlooked
                delay = self._delay()
                if delay is None and self._is_flushing:
                    self._is_flushing = False
                    self._changed.notify_all()
                if delay is None and self._is_watching:
                    delay = max(self._watch_at, self._backoff.retry_at) - monotonic()
                self._is_idle = delay is None
                if delay is not None and delay <= 0:
                    return True
                self._changed.wait(delay)
        return False

    def _delay(self) -> float | None:
        """How long there is nothing to store; None where there is nothing at all."""
        pressing = not self._hash.is_claimed or (self._end is not None and not self._end.is_done)
        if pressing or (self._is_flushing and (self._dirty or self._is_later())):
            due = 0.0
        elif self._dirty:
            due = self._sent_at + _FIELDS_EVERY
        elif self._is_later():
            due = self._sent_at + _LAST_OUTPUT_EVERY
        else:
            return None
        return max(due, self._backoff.retry_at) - monotonic()

    def _is_later(self) -> bool:
        return max(self._progressed, self._last_line()) > self._last_output

    def _store(self) -> None:
        if self._delay() is None:
            return
        if not self._hash.is_claimed:
            self._hash.claim()
        fields, end = self._collect()
        if end is not None and end.is_done:
            return
        if end is not None:
            self._hash.end(end, fields)
        else:
            self._hash.set(fields)
        self._stored_at = monotonic()
        self._is_watching = True

    def _collect(self) -> tuple[dict[str, Value], EndStep | None]:
        """Take what is to be stored now."""
        with self._changed:
            self._sent_at = monotonic()
            if self._is_later():
                self._last_output = max(self._progressed, self._last_line())
                self._fields["last-output"] = self._last_output
                self._dirty.add("last-output")
            if self._faults:
                self._fields["faults"] = self._hash.earlier_faults + self._faults
            is_whole = self._end is not None and not self._end.is_done
            fields = {name: self._fields[name] for name in (self._fields if is_whole else self._dirty)}
            self._dirty.clear()
            return fields, self._end

    def _watch(self) -> None:
        """Look whether what was stored lasts, until it has."""
        if not self._is_watching:
            return
        now = monotonic()
        self._watch_at = now + _WATCH_EVERY
        has_lasted = now >= self._stored_at + self._lasting
        if self._lasting and self._is_forgotten(has_lasted):
            self._restate()
        elif has_lasted and not self._is_flushing:
            self._is_watching = False
            if self._end is not None and self._end.is_done:
                self.stop()

    def _is_forgotten(self, has_lasted: bool) -> bool:
        """Ask for an end, behind which nothing is written; else any other connection than before is suspicious.

        An end that survived one death of the server survives the next.
        """
        connection = self._hash.connection
        connection.replace_if_closed()
        if not has_lasted and connection.number == self._stated_over:
            return False
        if self._end is not None and self._end.is_done:
            is_forgotten = not self._hash.has_end(self._end)
            if connection.number != self._stated_over and not is_forgotten:
                self._hash.repeat(self._end, self._fields)
        else:
            self._hash.ping()
            is_forgotten = connection.number != self._stated_over
        self._stated_over = connection.number
        return is_forgotten

    def _restate(self) -> None:
        """Say everything again: the server may have forgotten what it had confirmed."""
        with self._changed:
            self._hash.is_claimed = False
            if self._end is not None:
                self._end.is_done = False
            self._dirty.update(self._fields)

    def _try_later(self, *, is_hopeless: bool = False) -> None:
        if self._hash.is_gone or is_hopeless:
            self.stop()
        if self._end is None or not self._end.is_done:
            self._restate()
        self._backoff.failed()
