"""Writing how children ended, for those that could not say so themselves."""

import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gnjobs.patience import patiently
from gnjobs.scripts import Value, add_transition
from gnjobs.statuses import KILLED, PENDING, RUNNING

if TYPE_CHECKING:
    from gnjobs.context import CurrentJob

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
