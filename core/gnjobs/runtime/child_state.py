"""A child's state in Redis: its start, its latest fields a few times a second, and its end after all lines."""

import os
from collections.abc import Mapping
from threading import Condition
from time import monotonic, time
from typing import Final

import redis

from gnjobs.processes.proc import process_start
from gnjobs.records import values
from gnjobs.records.backoff import Backoff
from gnjobs.records.connection import replies_of
from gnjobs.records.environment import created_here
from gnjobs.records.fields import MAY_FAIL_FIELD
from gnjobs.records.keys import Keys
from gnjobs.records.lasting import Lasting, Statement, new_child, say
from gnjobs.records.scripts import Run, Value, make_hash, set_fields
from gnjobs.records.statuses import ERROR, PENDING, RUNNING, STOPPING

_FIELDS_EVERY: Final = 0.25
_LAST_OUTPUT_EVERY: Final = 1.0
# By the pauses in between at least 9 s, in which a supervisor restores what its server forgot. Only answers count: a
# server that is away, or that breaks again and again, may still get the record back.
_MOST_MISSES: Final = 10


class ChildState:
    """One child's hash as the thread of its `OutputWriter` keeps it up to date (see `outputs.writer.Companion`).

    Over each new connection everything is said again, for the server may have forgotten it; the end also once it has
    stood for a while. Where the job was removed it gives up (`is_over`).
    """

    def __init__(self, keys: Keys, job_id: str, child_id: str, *, may_fail: bool = False) -> None:
        self.changed = Condition()
        self.is_over = False
        self.has_ended = False
        self.watch_until = 0.0
        made = new_child(None, may_fail=may_fail)
        self.run = Run(keys.job(job_id), created_here(keys.prefix, job_id))
        self._statement = Statement.of_child(keys, self.run, job_id, child_id, made=made, first_hand=True)
        self._claim = self._statement.step((PENDING,), RUNNING, _this_process())
        self._lasting = Lasting(self._statement)
        self._end: tuple[str, Mapping[str, Value]] | None = None
        # An end is not said before the fields that were set until then were taken.
        self._end_taken: tuple[str, Mapping[str, Value]] | None = None
        self._news: dict[str, Value] = {}
        self._progressed = self._last_output = 0.0
        self._faults = 0
        self._earlier_faults: int | None = None
        self._is_said = False
        self._is_sending = False
        self._is_hurried = False
        self._sent_at = 0.0
        self._misses = 0
        self._backoff = Backoff()

    def update(self, fields: Mapping[str, Value]) -> None:
        """Set fields, soon."""
        with self.changed:
            self._progressed = time()
            self._add(fields)

    def count_fault(self) -> None:
        """Count one more fault."""
        with self.changed:
            self._faults += 1
            self._add({"faults": self._faults})

    def _add(self, fields: Mapping[str, Value]) -> None:
        if self._end is None:
            if not self._news:
                self.changed.notify_all()
            self._news.update(fields)

    def end(self, status: str, fields: Mapping[str, Value]) -> None:
        """Set the final status with what belongs to it, once all lines are stored."""
        with self.changed:
            self._end = (status, {"finished": time(), **fields})
            self._is_said = False
            self.changed.notify_all()

    def hurry(self) -> None:
        """Send what there is at once."""
        self._is_hurried = True

    def is_settled(self, last_line: float) -> bool:
        """Whether there is nothing to be sent, or nothing more can be; `last_line` is when one was written."""
        is_sent = self._is_said and not self._is_sending and not self._news
        return self.is_over or (is_sent and not self._is_later(last_line))

    def _is_later(self, last_line: float) -> bool:
        return not self.has_ended and max(self._progressed, last_line) > self._last_output

    def due(self, last_line: float, *, has_lines: bool) -> float | None:
        """When there is something to send (monotonic); None where there is nothing, or an end that waits for lines."""
        if self.is_over or (self._end is not None and has_lines):
            return None
        if self.is_settled(last_line):
            self._is_hurried = False
            return None
        at = 0.0
        if self._is_said and not self._is_hurried:
            at = self._sent_at + (_FIELDS_EVERY if self._news else _LAST_OUTPUT_EVERY)
        return max(at, self._backoff.retry_at)

    def connected(self) -> None:
        """Say everything again, over a connection that is new."""
        self._is_said = False

    def refused(self) -> None:
        """Try again later: the server answered with an error."""
        self._backoff.failed()

    def send(self, client: redis.Redis, last_line: float) -> None:
        """Send what is due; raises redis-py's errors."""
        if self._earlier_faults is None:
            self._earlier_faults = self._look(client)
        news = self._take_news(last_line)
        is_whole = not self._is_said
        outcome = self._say(client) if is_whole else self._set(client, news)
        if outcome == "gone":
            self._miss()
            return
        if is_whole:
            self._is_said = self._end is None or self.has_ended
        self._is_sending = False
        if outcome != "stood" or not self.has_ended:
            self.wrote()
        self.is_over = outcome == "foreign" or (self.has_ended and not self.watch_until)
        self._misses = 0
        self._backoff.succeeded()

    def _look(self, client: redis.Redis) -> int:
        """How many faults an earlier process of this child counted; from now on its hash expires.

        Remembers what the hash was made with, which nobody else knows once it has to be made anew.
        """
        pipe = client.pipeline(transaction=False)
        pipe.hmget(self._statement.key, "faults", "label", MAY_FAIL_FIELD)
        make_hash(pipe, self._statement.key, {}, self._statement.run)
        found, _ = replies_of(pipe)
        faults, label, may_fail = found or (None, None, None)
        found_as = new_child(values.text(label), may_fail=may_fail is not None)
        self._statement.made = {**self._statement.made, **found_as}
        return values.integer(faults) or 0

    def _set(self, client: redis.Redis, news: Mapping[str, Value]) -> str:
        is_set = not news or set_fields(client, self._statement.key, news, self._statement.run)
        return "done" if is_set else "gone"

    def _take_news(self, last_line: float) -> dict[str, Value]:
        with self.changed:
            self._sent_at = monotonic()
            self._is_sending = True  # until it has arrived, whatever is raised
            news, self._news = self._news, {}
            self._end_taken = self._end
            if self._is_later(last_line):
                news["last-output"] = self._last_output = max(self._progressed, last_line)
            if self._faults:
                news["faults"] = (self._earlier_faults or 0) + self._faults
            self._statement.fields.update(news)
        return news

    def _say(self, client: redis.Redis) -> str:
        """Say everything; an end only after the claim is settled, whose fields are ours only if it was made."""
        (said,) = say(client, [self._statement])
        if said.outcome in ("done", "stood") and not self._statement.is_final:
            self._statement.fields |= self._claim.fields
        if said.outcome in ("gone", "foreign") or self._end_taken is None:
            return said.outcome
        if self._statement.is_final:
            self.has_ended = True
            return said.outcome
        status, fields = self._end_taken
        allowed = (PENDING, RUNNING) if status == ERROR else (PENDING, RUNNING, STOPPING)
        self._statement.step(allowed, status, fields)
        return self._say(client)

    def _miss(self) -> None:
        """There is no hash, and no job: its supervisor will restore its record soon, or it was removed."""
        self._is_said = False
        self._misses += 1
        self.is_over = self._misses >= _MOST_MISSES
        self._backoff.failed()

    def wrote(self) -> None:
        """Watch for a while from now on whether what was written lasts."""
        self._lasting.said()
        self.watch_until = self._lasting.due

    def confirm(self, client: redis.Redis) -> None:
        """Take what was watched for long enough as lasting; an end only if it stands."""
        if not self.has_ended:
            self.watch_until = 0.0
        elif (outcome := self._say(client)) == "gone":
            self._miss()
        elif outcome == "done":
            self.wrote()
        else:
            self.is_over = True


def _this_process() -> dict[str, Value]:
    started = process_start(os.getpid())
    known: dict[str, Value] = {"started": time(), "pid": os.getpid()}
    return known if started is None else known | {"process-started": started}
