"""Writing how children ended, for those that could not say so themselves."""

import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import redis

from gnjobs.connections import is_wrong_type
from gnjobs.patience import patiently
from gnjobs.scripts import Value, add_transition, transition
from gnjobs.statuses import KILLED, PENDING, RUNNING, UNFINISHED_STATUSES

if TYPE_CHECKING:
    from gnjobs.context import CurrentJob
    from gnjobs.store import JobStore

_AT_ONCE = 500
_LONGEST_ERROR = 8000


class ChildEnd(NamedTuple):
    """How one child ended: its final status, why, and the fields that say more."""

    child_id: str
    status: str
    error: str
    fields: dict[str, Value]


def write_ends(job: "CurrentJob", ends: Sequence[ChildEnd]) -> None:
    """Write each end, unless the child or its killer said so first."""
    for start in range(0, len(ends), _AT_ONCE):
        patiently(partial(_write, job, ends[start : start + _AT_ONCE], uuid.uuid4().hex))


def end_children(store: "JobStore", job_id: str, status: str, fields: Mapping[str, Value]) -> None:
    """Give a final status to all children that have none, for a job of which nothing runs any more."""
    for child in store.children(job_id):
        if not child.is_final:
            key = store.keys.child(job_id, child.id)
            try:
                transition(store.client, key, UNFINISHED_STATUSES, status, uuid.uuid4().hex, fields)
            except redis.ResponseError as error:
                if not is_wrong_type(error):  # a key of another type is somebody else's data
                    raise


def _write(job: "CurrentJob", ends: Sequence[ChildEnd], token: str) -> None:
    pipe = job.client.pipeline(transaction=False)
    finished = f"{time.time():.3f}"
    for end in ends:
        error = end.error[-_LONGEST_ERROR:].encode("utf-8", "surrogateescape")
        why: dict[str, Value] = {"stop-reason": error} if end.status == KILLED else {}
        fields = {"error": error, "finished": finished, **why, **end.fields}
        key = job.keys.child(job.id, end.child_id)
        add_transition(pipe, key, (PENDING, RUNNING), end.status, f"{token}:{end.child_id}", fields)
    pipe.execute()
