"""How many lines the outputs of a job's children have."""

from collections.abc import Sequence

from gnjobs.errors import NoSuchChild
from gnjobs.outputs.streams import last_numbers
from gnjobs.records.fields import Child
from gnjobs.store import JobStore


def line_counts(store: JobStore, job_id: str, children: Sequence[Child]) -> list[int | None]:
    """The number of the last line of each child's output; None where it lies outside of the job."""
    owned = {
        child.id: child.output_key
        for child in children
        if child.output_key and store.keys.owns(job_id, child.output_key)
    }
    counted = dict(zip(owned, last_numbers(store.client, list(owned.values())), strict=True))
    return [
        _last_line(store, job_id, child) if (last := counted.get(child.id)) is None else last
        for child in children
    ]


def _last_line(store: JobStore, job_id: str, child: Child) -> int | None:
    """As its own reader sees it, for one that is no stream of numbered lines."""
    try:
        return store.output(job_id, child.id).extent().last
    except NoSuchChild:
        return None
