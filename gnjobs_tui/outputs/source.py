"""One output of a job or child, as threads open it, and what its record says beside it."""

from typing import Any, NamedTuple

import redis

from gnjobs.outputs.reader import OutputReader
from gnjobs.records import values
from gnjobs.records.keys import is_id
from gnjobs.records.statuses import FINAL_STATUSES
from gnjobs.store import JobStore


class Beside(NamedTuple):
    """What the record says of an output: whether its writer has ended, and the line that has no end yet."""

    has_ended: bool = False
    partial: str = ""


class OutputSource(NamedTuple):
    """Names an output; every thread opens a reader of its own."""

    store: JobStore
    job_id: str
    child_id: str | None = None

    def open(self) -> OutputReader:
        """Open it; raises `NoSuchChild`, and redis-py's errors."""
        return self.store.output(self.job_id, self.child_id)

    def beside(self) -> Beside:
        """Read what the record says, whatever it holds."""
        keys = self.store.keys
        own = self.child_id is not None and is_id(self.child_id)
        key = keys.child(self.job_id, self.child_id or "") if own else keys.job(self.job_id)
        try:
            found: Any = self.store.client.hmget(key, "status", "partial-line")
        except redis.ResponseError:
            return Beside()
        status, partial = found
        has_partial = own or self.child_id is None
        return Beside(
            values.text(status) in FINAL_STATUSES, (values.text(partial) or "") if has_partial else ""
        )
