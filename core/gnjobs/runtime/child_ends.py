"""Writing how children ended, for those that could not say so themselves."""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gnjobs.records import connection
from gnjobs.records.connection import readable
from gnjobs.records.keys import MONTH
from gnjobs.records.scripts import Value, add_children, add_transition, make_child
from gnjobs.records.statuses import KILLED, PENDING, RUNNING
from gnjobs.records.values import encode_text

if TYPE_CHECKING:
    from gnjobs.runtime.job import CurrentJob

_AT_ONCE = 500
_LONGEST_ERROR = 8000
_OUTLAST_SECONDS = 15.0
_NOT_OURS = b"another type"


class ChildEnd(NamedTuple):
    """How one child ended: its final status, why, and the fields that say more."""

    child_id: str
    label: str
    status: str
    error: str
    fields: Mapping[str, Value]


class ChildEnds:
    """The ends that a job's own process writes for its children."""

    def __init__(self, job: "CurrentJob") -> None:
        self._job = job
        self._written: list[ChildEnd] = []
        self._written_at = time.monotonic()

    def write(self, ends: Iterable[ChildEnd]) -> None:
        """Write each end, unless the child or its killer said so first."""
        finished: dict[str, Value] = {"finished": f"{time.time():.3f}"}
        coming = [end._replace(fields=finished | dict(end.fields)) for end in ends]
        self._written += coming
        self._write_all(coming)

    def outlast(self) -> None:
        """Wait until all that was written has stood for a while: a server that dies may have forgotten it.

        Gives up after a while where a server dies again and again, or the job was removed; waits where it is away.
        """
        deadline = time.monotonic() + _OUTLAST_SECONDS
        while self._written and time.monotonic() < deadline:
            time.sleep(max(0.0, self._written_at + connection.LASTING_SECONDS - time.monotonic()))
            if self._write_all(self._written):
                return

    def _write_all(self, ends: Sequence[ChildEnd]) -> bool:
        """Write ends; returns whether all of them stood already."""
        stood = True
        for start in range(0, len(ends), _AT_ONCE):
            chunk = ends[start : start + _AT_ONCE]
            stood = connection.patiently(partial(_write, self._job, chunk, uuid.uuid4().hex)) and stood
        if not stood:
            self._written_at = time.monotonic()
        return stood


def _write(job: "CurrentJob", ends: Sequence[ChildEnd], token: str) -> bool:
    """Write ends, and what the server forgot of these children; returns whether all ends stood already."""
    outcomes = _end_unfinished(job, ends, token)
    forgotten = [end for end, outcome in zip(ends, outcomes, strict=True) if outcome == b"gone"]
    output_keys = {end.child_id: job.keys.child_output(job.id, end.child_id) for end in forgotten}
    if forgotten and add_children(job.client, job.keys.job(job.id), output_keys) >= 0:
        pipe = job.client.pipeline(transaction=False)
        for end in forgotten:
            make_child(pipe, job.keys.child(job.id, end.child_id), MONTH, end.label)
        pipe.execute()
        _end_unfinished(job, forgotten, token)
    return all(outcome in (b"refused", _NOT_OURS) for outcome in outcomes)


def _end_unfinished(job: "CurrentJob", ends: Sequence[ChildEnd], token: str) -> list[bytes]:
    """End those that have no final status; returns the outcome of each transition, if its key is a hash."""
    pipe = job.client.pipeline(transaction=False)
    for end in ends:
        error = encode_text(end.error[-_LONGEST_ERROR:])
        why: dict[str, Value] = {"stop-reason": error} if end.status == KILLED else {}
        fields = {"error": error, **why, **end.fields}
        key = job.keys.child(job.id, end.child_id)
        add_transition(pipe, key, (PENDING, RUNNING), end.status, f"{token}:{end.child_id}", fields)
    replies = [readable(reply) for reply in pipe.execute(raise_on_error=False)]
    return [reply[0] if reply else _NOT_OURS for reply in replies]
