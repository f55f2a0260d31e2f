"""The supervisor's writes to its job's record, repeated when a server forgot them."""

import time
from collections.abc import Collection, Mapping
from typing import Any

from redis.exceptions import ResponseError

from gnjobs.records import values
from gnjobs.records.bounded import TooLarge
from gnjobs.records.connection import CountedConnection, replies_of, time_of
from gnjobs.records.fields import JOB_FIELDS, Job, read_job
from gnjobs.records.indexes import add_to_indexes
from gnjobs.records.keys import CHILD_FIELD, MIRROR_FIELD, OWN_STATUS, Keys
from gnjobs.records.lasting import Statement, Step, say
from gnjobs.records.lifecycle import expire_keys, lifetime
from gnjobs.records.reading import Records
from gnjobs.records.scripts import MoveOutcome, Run, Value, read_small, set_fields, transition
from gnjobs.records.statuses import PENDING, RUNNING

_LONGEST_WORD = 100


class RecordLink:
    """One job's record over one connection; used by one thread at a time.

    Methods raise redis-py's errors; each may be called again after one.
    """

    def __init__(self, url: str, keys: Keys, job_id: str, created: str = "") -> None:
        self.keys = keys
        self.job_id = job_id
        self.key = keys.job(job_id)
        self._connection = CountedConnection(url)
        self.client = self._connection.client
        self.records = Records(self.client, keys, url)
        self.statement = Statement(Run(self.key, created), self.key)
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
        self._clock_offset = time_of(reply) - (asked + time.monotonic()) / 2

    @property
    def said(self) -> dict[str, Value]:
        """The fields that were written, with their values."""
        return self.statement.fields

    @property
    def has_old_readers(self) -> bool:
        """Whether another program stored the job, and its readers and its job's code go on as they did."""
        return MIRROR_FIELD.encode() in self.found

    @property
    def job(self) -> Job:
        """The record as it was found at the beginning."""
        return read_job(self.job_id, self.found)

    def read(self) -> Job | None:
        """Read the whole record, and keep it in case the server forgets it; None where it is gone, or another job's."""
        self.client.ping()
        asked = time.monotonic()
        self.set_clock(self.client.time(), asked)
        found = self._read_fields()
        job = read_job(self.job_id, found)
        if not found or self.statement.run.created not in ("", job.run):
            return None
        prefix = CHILD_FIELD.encode()
        self.found = {name: value for name, value in found.items() if not name.startswith(prefix)}
        return job

    def _read_fields(self) -> dict[bytes, bytes]:
        try:
            found: Any = self.client.hgetall(self.key)
        except TooLarge:
            listed = read_small(self.client, self.key, tuple(JOB_FIELDS))
            pairs = zip(JOB_FIELDS, listed, strict=True)
            found = {name.encode(): value for name, value in pairs if value is not None}
        return dict(found)

    def claim(self, fields: Mapping[str, Value]) -> tuple[MoveOutcome, str]:
        """Make the job ours: `pending` becomes `running`, for one supervisor only."""
        if not self.statement.steps:
            self.statement.run = self.records.run_of(self.job)
            self.statement.step({PENDING}, RUNNING, fields)
        outcome, status = self._take(self.statement.steps[0])
        if outcome == "done":
            self._mended_at = self._connection.number
            self._run_id = self._read_run_id()
            self._mend_indexes()
        return outcome, status

    def move(
        self, allowed_from: Collection[str], to: str, fields: Mapping[str, Value]
    ) -> tuple[MoveOutcome, str]:
        """Change the status once; the same change again (after an error) is the same step."""
        if self.statement.steps[-1].to != to:
            self.statement.step(allowed_from, to, fields)
        return self._take(self.statement.steps[-1])

    def _take(self, step: Step) -> tuple[MoveOutcome, str]:
        outcome, status = transition(
            self.client, self.key, step.allowed_from, step.to, step.token, step.fields, self.statement.run
        )
        if outcome == "done":
            self.said.update(step.fields)
        return outcome, status

    def say(self, pipe: Any, fields: Mapping[str, Value]) -> None:
        """Add to a pipeline the writing of those fields that differ from what was said before."""
        changed = {name: value for name, value in fields.items() if self.said.get(name) != value}
        self.said.update(changed)
        set_fields(pipe, self.key, changed or {"heartbeat": self.now()}, self.statement.run)

    def add_look(self, pipe: Any) -> None:
        """Add to a pipeline a look at the status, whose reply `is_forgotten` takes."""
        read_small(pipe, self.key, (OWN_STATUS, "status"), _LONGEST_WORD)

    def is_forgotten(self, found: Any) -> bool:
        """Whether a look found the job waiting, though we began it: older data came back over this connection."""
        status = next(filter(None, found), None) if isinstance(found, list) else None
        return status == PENDING.encode() != self.statement.steps[-1].to.encode()

    def mend(self) -> bool:
        """Write what the server forgot: the record, its status, our fields, children and index entries.

        Returns False, and writes nothing, where the record is gone from a server that forgot nothing, or where
        another supervisor has claimed the job since a server forgot that we had.
        """
        (mark,) = read_small(self.client, self.key, ("mark",), _LONGEST_WORD)
        if mark not in (None, values.encode_text(str(self.said.get("mark", "")))):
            return False
        run_id = self._read_run_id()
        connection = self._connection.number
        has_restarted = run_id is None or run_id != self._run_id
        self.statement.made = self.found
        (said,) = say(self.client, [self.statement], makes_record=has_restarted)
        if said.outcome == "gone":
            return False
        self._mend_indexes()
        self.renew()
        self._mended_at = connection
        self._run_id = run_id
        return True

    def has_lasted(self) -> bool:
        """Whether the end stands, over the connection by which it was written."""
        (said,) = say(self.client, [self.statement])
        return not self.is_new_connection and said.outcome != "done"

    def _read_run_id(self) -> str | None:
        """Which run of the server answers; None where this account may not ask."""
        try:
            return str(self.client.info("server").get("run_id") or "") or None
        except ResponseError:
            return None

    def _mend_indexes(self) -> None:
        pipe = self.client.pipeline(transaction=False)
        add_to_indexes(pipe, self.keys, self.job)
        if self.statement.is_final:
            pipe.zrem(self.keys.unfinished, self.job_id)
        replies_of(pipe)

    @property
    def lifetime(self) -> int:
        """How long the job's keys live while it may run (seconds)."""
        return lifetime(values.number(self.found.get(b"keep")))

    def renew(self) -> None:
        """Let every key of the job live for as long as a running job's must."""
        expire_keys(self.client, self.keys, self.job_id, self.statement.children, self.lifetime)
