"""The thread that tells Redis about the job: a beat every few seconds, and its end."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from redis.exceptions import RedisError

from gnjobs.health.assess import BEAT_SECONDS
from gnjobs.outputs.writer import OutputWriter
from gnjobs.records.backoff import Backoff
from gnjobs.records.connection import is_wrong_type
from gnjobs.records.keys import MONTH
from gnjobs.records.lasting import lasting_seconds
from gnjobs.records.scripts import Value
from gnjobs.records.servers import is_refusal
from gnjobs.supervisor.children import ChildWatch, restore_forgotten
from gnjobs.supervisor.listed_faults import ListedFaults
from gnjobs.supervisor.measure import Measuring, clocks_now
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.signs import Beat, JobSigns
from gnjobs.text import complain

_PATIENCE_SECONDS = 60.0
_RENEW_SECONDS = 86400


class Reporter(threading.Thread):
    """Owns the connection that a job's record is written by.

    `measure` looks at the job's processes, `printed` and `count_faults` tell of what it printed. `on_removed` and
    `on_lasting` are called from this thread: when the record was taken away under the running job, and when its end is
    reported and has lasted.
    """

    def __init__(
        self,
        link: RecordLink,
        watch: ChildWatch,
        measure: Measuring,
        printed: OutputWriter,
        count_faults: Callable[[], int],
        listed: ListedFaults,
        on_removed: Callable[[], None],
        on_lasting: Callable[[], None],
    ) -> None:
        super().__init__(name="reporter", daemon=True)
        self._link = link
        self._watch = watch
        self._signs = JobSigns(link.keys, link.job_id, watch, measure)
        self._printed = printed
        self._count_faults = count_faults
        self._listed = listed
        self._on_removed = on_removed
        self._on_lasting = on_lasting
        self._poked = threading.Event()
        self._moves: deque[tuple[Collection[str], str, Mapping[str, Value]]] = deque()
        self._says: deque[Mapping[str, Value]] = deque()
        self._finish: Callable[[], bool] | None = None
        self._renewed = time.monotonic()
        self._has_snapshot = False
        self._removed = False
        self._has_complained = False
        self._told_at: float | None = None

    def say(self, fields: Mapping[str, Value]) -> None:
        """Write fields soon; may be called from any thread."""
        self._says.append(fields)
        self._poked.set()

    def move(self, allowed_from: Collection[str], to: str, fields: Mapping[str, Value]) -> None:
        """Change the status soon; may be called from any thread."""
        self._moves.append((allowed_from, to, fields))
        self._poked.set()

    def finish(self, work: Callable[[], bool]) -> None:
        """Report the end by calling `work` until the server takes it; `work` returns whether it has to last."""
        self._finish = work
        self._poked.set()

    def run(self) -> None:
        """Beat, and do what is asked for in between, until the end is reported and lasts."""
        backoff, wait = Backoff(), BEAT_SECONDS
        while True:
            self._poked.wait(wait)
            self._poked.clear()
            began = time.monotonic()
            try:
                if self._finish is not None:
                    self._report_end(self._finish)
                    break
                self._beat()
                backoff.succeeded()
                wait = max(BEAT_SECONDS / 2, began + BEAT_SECONDS - time.monotonic())
            except Exception as problem:  # noqa: BLE001 - whatever it is, the job's end must be told
                if self._is_replaced(problem):
                    self._note_removed()
                    self._poked.set()
                    continue
                self._complain_once(problem)
                if self._is_patience_over():
                    break
                self._link.doubt()
                wait = backoff.failed(is_refusal=is_refusal(problem))
        self._on_lasting()

    def _is_patience_over(self) -> bool:
        """Whether the server accepted the job's end and has been away for long: it may never come back."""
        return self._told_at is not None and time.monotonic() - self._told_at > _PATIENCE_SECONDS

    def _complain_once(self, problem: Exception) -> None:
        if not isinstance(problem, RedisError) and not self._has_complained:
            self._has_complained = True
            complain(f"job {self._link.job_id}: {problem!r}")

    def _beat(self) -> None:
        if self._removed:
            return
        self._make_moves()
        said = self._signs.look(clocks_now(self._link.now()), self._printed.last_write)
        pipe = self._link.client.pipeline(transaction=False)
        pipe.time()
        reads = self._signs.add_reads(pipe)
        fields = self._fields(said)
        if "faults" not in fields:
            self._link.said.pop("faults", None)
        self._link.say(pipe, fields)
        self._link.add_look(pipe)
        asked = time.monotonic()
        with self._watch.noting_what_is_too_large():
            replies = pipe.execute(raise_on_error=False)
        if self._take(replies, asked, reads):
            self._say_beside(said.snapshot)
            self._renew_daily()

    def _say_beside(self, snapshot: bytes | None) -> None:
        """Write what no condition holds for, now that the record is known to be ours."""
        if "faults" not in self._link.said:
            self._link.client.hdel(self._link.key, "faults")  # what was counted before is not all
        if snapshot is not None:
            name = self._link.keys.processes(self._link.job_id)
            self._link.client.set(name, snapshot, ex=MONTH, xx=self._has_snapshot)
            self._has_snapshot = True

    def _make_moves(self) -> None:
        while self._moves:
            self._link.move(*self._moves[0])
            self._moves.popleft()

    def _say_what_is_left(self) -> None:
        """Write what was to be said with a beat that no longer comes."""
        if not self._says:
            return
        pipe = self._link.client.pipeline(transaction=False)
        self._link.say(pipe, {name: value for fields in self._says for name, value in fields.items()})
        pipe.execute()
        self._says.clear()

    def _fields(self, said: Beat) -> dict[str, Value]:
        fields = said.fields | {"lines": self._printed.lines}
        while self._says:
            fields |= self._says.popleft()
        left = self._listed.count()
        if left is not None:
            fields["faults"] = self._count_faults() + self._watch.faults + left
        return fields | self._listed.notes

    def _take(self, replies: list[Any], asked: float, reads: int) -> bool:
        """Take what a beat was answered; returns whether the record is there, and ours."""
        clock, *rest = replies
        for reply in (clock, rest[0], *rest[reads:]):
            if isinstance(reply, RedisError):
                raise reply
        self._link.set_clock(clock, asked)
        count = self._signs.take(rest[:reads])
        restore_forgotten(self._link, self._watch)
        is_there = bool(rest[reads])
        if self._link.is_new_connection or (is_there and self._link.is_forgotten(rest[reads + 1])):
            self._has_snapshot = False
            is_there = self._mend()
        if not is_there:
            self._note_removed()
            return False
        self._watch.discover(self._link.client, count)
        return True

    def _is_replaced(self, problem: Exception) -> bool:
        """Whether something else stands where the record was: somebody's data, which we leave alone."""
        try:
            return is_wrong_type(problem) and self._link.client.type(self._link.key) != b"hash"
        except RedisError:
            return False

    def _note_removed(self) -> None:
        self._removed = True
        self._on_removed()

    def _mend(self) -> bool:
        self._watch.doubt()
        return self._link.mend()

    def _renew_daily(self) -> None:
        if time.monotonic() - self._renewed >= _RENEW_SECONDS:
            self._link.renew()
            self._renewed = time.monotonic()

    def _report_end(self, work: Callable[[], bool]) -> None:
        if self._removed:
            return
        self._make_moves()
        self._say_what_is_left()
        while True:
            if self._link.is_new_connection and not self._mend():
                return
            if not work():
                return
            self._told_at = self._told_at or time.monotonic()
            time.sleep(lasting_seconds())
            if self._link.has_lasted():
                return
