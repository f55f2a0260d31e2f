"""Whether one child of a job can be ended alone: only what has processes of its own."""

from collections.abc import Callable

from gnjobs.processes.find import Found
from gnjobs.records.fields import Child
from gnjobs.records.statuses import PENDING


def why_not_alone(child: Child, find: Callable[[str | None], Found]) -> str | None:
    """Say why a child that has not ended can't be killed alone, else None.

    `find` finds the processes of one child, and those of the whole job for None.
    """
    if child.status == PENDING:
        return None
    own = {process.pid for process in find(child.id).processes}
    if child.pid is None:
        return None if own else "no process of it is known; kill the whole job"
    if child.pid not in own and any(process.pid == child.pid for process in find(None).processes):
        return f"it is a thread of pid {child.pid}, which can't be killed alone; kill the whole job"
    return None
