"""A supervisor's hold on its job's record: what it has to say there, said again after a server forgot it."""

import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from gnjobs.records import values
from gnjobs.records.connection import CountedConnection
from gnjobs.records.fields import Job, read_job
from gnjobs.records.indexes import add_to_indexes
from gnjobs.records.keys import CHILD_FIELD, MONTH, Keys
from gnjobs.records.lifecycle import expire_keys, kept_for
from gnjobs.records.reading import Records
from gnjobs.records.scripts import (
    Outcome,
    Value,
    add_children,
    add_transition,
    make_child,
    set_fields,
    transition,
)
from gnjobs.records.statuses import FINAL_STATUSES, PENDING, RUNNING, UNFINISHED_STATUSES
from gnjobs.records.values import encode_text


class Step(NamedTuple):
    """One change of the job's status, repeatable by its token."""

    allowed_from: Collection[str]
    to: str
    token: str
    fields: Mapping[str, Value]


class RecordLink:
    """One job's record over one connection; used by one thread at a time.

    Methods raise redis-py's errors; each may be called again after one.
    """

    def __init__(self, url: str, keys: Keys, job_id: str) -> None:
        self.keys = keys
        self.job_id = job_id
        self.key = keys.job(job_id)
        self._connection = CountedConnection(url)
        self.client = self._connection.client
        self.records = Records(self.client, keys, url)
        self.steps: list[Step] = []
        self.said: dict[str, Value] = {}
        self.child_keys: Mapping[str, str] = {}
        self.found: dict[bytes, bytes] = {}
        self._mended_at = 0
        self._run_id: str | None = None
        self._clock_offset = time.time() - time.monotonic()

    @property
    def is_new_connection(self) -> bool:
        """Whether the server may be another one, or have forgotten something, since the last mending."""
        return self._connection.number != self._mended_at

    def doubt(self) -> None:
        """Mend at the next opportunity: a command failed, and nobody knows what of it was written."""
        self._mended_at = -1
        self._connection.drop()

    def now(self) -> float:
        """The server's time as known here (unix seconds), whatever the clock of this host says."""
        return time.monotonic() + self._clock_offset

    def set_clock(self, reply: Any, asked: float) -> None:
        """Take the reply to a TIME that was asked for at `asked` (monotonic): it was read about half way."""
        self._clock_offset = reply[0] + reply[1] / 1_000_000 - (asked + time.monotonic()) / 2

    @property
    def job(self) -> Job:
        """The record as it was found at the beginning."""
        return read_job(self.job_id, self.found)

    def read(self) -> Job | None:
        """Read the whole record, and keep it in case that the server forgets it; None where it is gone."""
        self.client.ping()
        asked = time.monotonic()
        self.set_clock(self.client.time(), asked)
        found: dict[bytes, bytes] = self.client.hgetall(self.key)  # type: ignore[assignment]
        if not found:
            return None
        prefix = CHILD_FIELD.encode()
        self.found = {name: value for name, value in found.items() if not name.startswith(prefix)}
        return read_job(self.job_id, found)

    def claim(self, fields: Mapping[str, Value]) -> tuple[Outcome, str]:
        """Make the job ours: `pending` becomes `running`, for one supervisor only."""
        if not self.steps:
            self.steps.append(Step({PENDING}, RUNNING, uuid.uuid4().hex, fields))
        outcome, status = self._take(self.steps[0])
        if outcome == "done":
            self.said |= fields
            self._mended_at = self._connection.number
            self._run_id = self._read_run_id()
            self._mend_indexes()
        return outcome, status

    def move(
        self, allowed_from: Collection[str], to: str, fields: Mapping[str, Value]
    ) -> tuple[Outcome, str]:
        """Change the status once; the same change again (after an error) is the same step."""
        if self.steps[-1].to != to:
            self.steps.append(Step(allowed_from, to, uuid.uuid4().hex, dict(fields)))
        self.said |= self.steps[-1].fields  # at once: the change may be made though its reply is lost
        outcome, status = self._take(self.steps[-1])
        if outcome == "refused":
            self.said = {name: value for name, value in self.said.items() if name not in fields}
        return outcome, status

    def _take(self, step: Step) -> tuple[Outcome, str]:
        return transition(self.client, self.key, step.allowed_from, step.to, step.token, step.fields)

    def say(self, pipe: Any, fields: Mapping[str, Value]) -> None:
        """Add to a pipeline the writing of those fields that differ from what was said before."""
        changed = {name: value for name, value in fields.items() if self.said.get(name) != value}
        self.said |= changed
        set_fields(pipe, self.key, changed or {"heartbeat": self.now()})

    def mend(self) -> bool:
        """Write what the server forgot: the record, its status, our fields, children and index entries.

        Returns False, and writes nothing, where the record is gone from a server that forgot nothing.
        """
        is_there = self.client.exists(self.key)
        connection = self._connection.number
        run_id = self._read_run_id()
        if not is_there:
            if run_id is not None and run_id == self._run_id:
                return False
            # With all that was said, so that nobody sees a status without what belongs to it.
            known: Any = self.found | {name.encode(): value for name, value in self.said.items()}
            self.client.hset(self.key, mapping=known | {b"status": PENDING.encode()})
        for step in self.steps:
            self._take(step)
        if self.said:
            set_fields(self.client, self.key, self.said)
        if self.child_keys:
            add_children(self.client, self.key, self.child_keys)
        self._mend_indexes()
        self.renew()
        self._mended_at = connection
        self._run_id = run_id
        return True

    def restore_child(
        self, pipe: Any, child_id: str, label: str | None, status: str, fields: Mapping[str, str]
    ) -> None:
        """Make a child's hash as it was before the child began, where the server forgot it: the rest says the child.

        One that had ended has nobody else who would say that again, with the `fields` that are known of it.
        """
        key = self.keys.child(self.job_id, child_id)
        make_child(pipe, key, MONTH, label)
        if status in FINAL_STATUSES:
            said = {name: encode_text(text) for name, text in fields.items()}
            add_transition(pipe, key, UNFINISHED_STATUSES, status, uuid.uuid4().hex, said)

    def _read_run_id(self) -> str | None:
        """Which run of the server answers; None where this account may not ask."""
        try:
            return str(self.client.info("server").get("run_id") or "") or None
        except ResponseError:
            return None

    def _mend_indexes(self) -> None:
        pipe = self.client.pipeline(transaction=False)
        add_to_indexes(pipe, self.keys, self.job)
        if self.steps[-1].to in FINAL_STATUSES:
            pipe.zrem(self.keys.unfinished, self.job_id)
        pipe.execute()

    @property
    def keep(self) -> int:
        """How long the job is kept after its end (seconds, rounded up)."""
        return kept_for(values.number(self.found.get(b"keep")))

    def renew(self, seconds: int | None = None) -> None:
        """Let every key of the job live for `seconds`, by default as long as a running job's must."""
        lifetime = seconds or max(self.keep, MONTH)
        expire_keys(self.client, self.keys, self.job_id, self.child_keys, lifetime)
