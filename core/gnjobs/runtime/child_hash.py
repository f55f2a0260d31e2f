"""One child's hash as its own process writes it, over one connection: the claim, fields, the end."""

import contextlib
import os
import uuid
from collections.abc import Mapping
from time import monotonic, time
from typing import Any, Final

import redis

from gnjobs.processes.table import process_start
from gnjobs.records import values
from gnjobs.records.connection import CountedConnection
from gnjobs.records.fields import TOKEN_FIELD
from gnjobs.records.keys import MONTH, Keys
from gnjobs.records.scripts import Value, add_children, make_child, set_fields, transition
from gnjobs.records.statuses import ERROR, PENDING, RUNNING, STOPPING

_GIVE_UP_AFTER: Final = 10.0


class MissingHash(Exception):
    """There is no hash to write to."""


class EndStep:
    """A child's step to its final status; its token makes a second try after a lost reply harmless."""

    def __init__(self, status: str, fields: Mapping[str, Value]) -> None:
        self.token = uuid.uuid4().hex
        self.is_done = False
        self.status = status
        self.allowed_from = (PENDING, RUNNING) if status == ERROR else (PENDING, RUNNING, STOPPING)
        self.fields: dict[str, Value] = {"finished": time(), **fields}


class ChildHash:
    """What one child says of itself; used by one thread at a time.

    Methods raise redis-py's errors, and `MissingHash` where there is nothing to write to; each may be called again.
    `is_gone`: the job was removed, so there will never be. `earlier_faults` is what was counted before it began.
    """

    def __init__(self, url: str, keys: Keys, job_id: str, child_id: str) -> None:
        self.key = keys.child(job_id, child_id)
        self.connection = CountedConnection(url)
        self.is_claimed = False
        self.is_gone = False
        self.earlier_faults = 0
        self._client = self.connection.client
        self._job_key = keys.job(job_id)
        self._recorded = {child_id: keys.child_output(job_id, child_id)}
        self._was_claimed = False
        self._job_missed_at: float | None = None
        self._token = uuid.uuid4().hex
        self._start: dict[str, Value] = {"started": time(), "pid": os.getpid()}
        started = process_start(os.getpid())
        if started is not None:
            self._start["process-started"] = started
        self._is_ours = False

    def claim(self) -> None:
        """Begin; a hash that is not there is made where the job is, for its server may have forgotten it."""
        if self._begin() == "gone":
            if not self._client.exists(self._job_key):
                self._miss_job()
            pipe = self._client.pipeline(transaction=False)
            make_child(pipe, self.key, MONTH)
            pipe.execute()
            self._begin()
        # A server that forgot its last seconds may have forgotten that the job recorded this child.
        if self._was_claimed and add_children(self._client, self._job_key, self._recorded) < 0:
            self._miss_job()
        self._job_missed_at = None
        if not self._was_claimed:
            found: Any = self._client.hget(self.key, "faults")
            self.earlier_faults = values.integer(found) or 0
        if self._client.ttl(self.key) == -1:
            self._client.expire(self.key, MONTH)
        self.is_claimed = self._was_claimed = True

    def _begin(self) -> str:
        outcome, _ = transition(self._client, self.key, (PENDING,), RUNNING, self._token, self._start)
        self._is_ours = self._is_ours or outcome == "done"
        return outcome

    def _miss_job(self) -> None:
        """The job's record is not there: its supervisor will mend it soon, or it was removed."""
        now = monotonic()
        self._job_missed_at = self._job_missed_at or now
        self.is_gone = now - self._job_missed_at >= _GIVE_UP_AFTER
        raise MissingHash

    def set(self, fields: Mapping[str, Value]) -> None:
        """Set fields, if there are any."""
        if fields and not set_fields(self._client, self.key, fields):
            self._miss_hash()

    def end(self, end: EndStep, fields: Mapping[str, Value]) -> None:
        """Give it its final status, with all that belongs to it: the server may have forgotten what was stored."""
        said = self._whole(end, fields)
        if transition(self._client, self.key, end.allowed_from, end.status, end.token, said)[0] == "gone":
            self._miss_hash()
        end.is_done = True

    def _whole(self, end: EndStep, fields: Mapping[str, Value]) -> dict[str, Value]:
        return (self._start if self._is_ours else {}) | dict(fields) | end.fields

    def repeat(self, end: EndStep, fields: Mapping[str, Value]) -> None:
        """Say again what belongs to an end that stands: who restored it may know less; a refusal leaves it at that."""
        with contextlib.suppress(redis.ResponseError):
            add_children(self._client, self._job_key, self._recorded)
            if values.text(self._client.hget(self.key, "status")) == end.status:
                set_fields(self._client, self.key, self._whole(end, fields))

    def _miss_hash(self) -> None:
        self.is_claimed = False
        raise MissingHash

    def has_end(self, end: EndStep) -> bool:
        """Whether an end stands, or something in its place that would not let it be written."""
        status, token = self._client.hmget(self.key, "status", TOKEN_FIELD)
        if status is None:
            return bool(self._client.exists(self.key))
        return values.text(token) == end.token or values.text(status) not in end.allowed_from

    def disconnect(self) -> None:
        """Begin with another connection: whatever answered with an error may be no longer the one to ask."""
        self._job_missed_at = None
        self.connection.drop()

    def ping(self) -> None:
        """Make sure that the server answers."""
        self._client.ping()

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()
