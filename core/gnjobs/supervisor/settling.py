"""Ending in Redis what has ended on the machine: children that nobody reported on."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from gnjobs.records.connection import readable
from gnjobs.records.scripts import Value, add_transition
from gnjobs.records.statuses import KILLED, LOST, PENDING, UNFINISHED_STATUSES
from gnjobs.supervisor.children import ChildWatch, WatchedChild
from gnjobs.supervisor.outcome import Outcome
from gnjobs.supervisor.reaper import Exit
from gnjobs.supervisor.record import RecordLink

_CHILDREN_PER_PIPELINE = 500


def read_children(link: RecordLink, watch: ChildWatch) -> None:
    """Read the list of children anew, and every one that has not ended as far as was known."""
    watch.discover(link.client)
    pipe = link.client.pipeline(transaction=False)
    if watch.add_reads(pipe, all_unfinished=True):
        watch.take(pipe.execute(raise_on_error=False))
        restore_forgotten(link, watch)


def restore_forgotten(link: RecordLink, watch: ChildWatch) -> None:
    """Say again of children what the server forgot and nobody else would say; nothing of a job that was removed."""
    while watch.forgotten:
        if not link.client.exists(link.key):
            watch.forgotten.clear()
            return
        some = list(islice(watch.forgotten.items(), _CHILDREN_PER_PIPELINE))
        pipe = link.client.pipeline(transaction=False)
        for child_id, child in some:
            link.restore_child(pipe, child_id, child.label, child.status, child.fields)
        _send(pipe)
        for child_id, _ in some:
            del watch.forgotten[child_id]


def settle_children(link: RecordLink, watch: ChildWatch, outcome: Outcome, exits: Mapping[int, Exit]) -> None:
    """Give every unfinished child its final status; one whose process outlived the job stays as it is."""
    read_children(link, watch)
    alive = {process.pid for process in outcome.survivors}
    open_ids = [name for name in watch.unfinished() if watch.children[name].pid not in alive]
    for start in range(0, len(open_ids), _CHILDREN_PER_PIPELINE):
        pipe = link.client.pipeline(transaction=False)
        for child_id in open_ids[start : start + _CHILDREN_PER_PIPELINE]:
            status, fields = end_of_child(watch.children[child_id], outcome, exits)
            fields["finished"] = round(link.now(), 3)
            key = link.keys.child(link.job_id, child_id)
            token = f"{link.steps[0].token}:{child_id}"
            add_transition(pipe, key, UNFINISHED_STATUSES, status, token, fields)
        _send(pipe)
    if open_ids:
        read_children(link, watch)


def _send(pipe: Any) -> None:
    """Send what was added; a child's key of another type is somebody else's data, any other error is raised."""
    for reply in pipe.execute(raise_on_error=False):
        readable(reply)


def end_of_child(
    child: WatchedChild, outcome: Outcome, exits: Mapping[int, Exit]
) -> tuple[str, dict[str, Value]]:
    """The final status of a child that ended with its job, without a word of its own."""
    how = exits.get(child.pid) if child.pid is not None else None
    fields: dict[str, Value] = {**how.fields} if how else {}
    if outcome.stop is not None:
        return KILLED, fields | outcome.stop.fields
    if child.status == PENDING:
        fields["error"] = "never started: the job ended before"
    else:
        fields["error"] = f"ended without a report{f' ({how})' if how else ''}"
    return LOST, fields
