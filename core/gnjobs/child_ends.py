"""Writing how children ended, for those that could not say so themselves."""

import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gnjobs.keeping import keep
from gnjobs.leftovers import ChildEnded
from gnjobs.output_writer import KEEP_SECONDS
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
        ended = [_as_ended(job, end, uuid.uuid4().hex) for end in ends[start : start + _AT_ONCE]]
        patiently(partial(_write, job, ended))
        for each in ended:
            keep(each)


def _as_ended(job: "CurrentJob", end: ChildEnd, token: str) -> ChildEnded:
    error = end.error[-_LONGEST_ERROR:].encode("utf-8", "surrogateescape")
    why: dict[str, Value] = {"stop-reason": error} if end.status == KILLED else {}
    fields = {"error": error, "finished": f"{time.time():.3f}", **why, **end.fields}
    return ChildEnded(
        job.url, job.keys, job.id, end.child_id, (PENDING, RUNNING), end.status, token, fields, KEEP_SECONDS
    )


def _write(job: "CurrentJob", ended: Sequence[ChildEnded]) -> None:
    pipe = job.client.pipeline(transaction=False)
    for each in ended:
        key = job.keys.child(job.id, each.child_id)
        add_transition(pipe, key, each.allowed_from, each.status, each.token, each.fields)
    pipe.execute()
