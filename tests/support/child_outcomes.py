"""What became of a job's children, for the tests of `run_children`."""

from gnjobs import (
    ChildFailure,
    CurrentJob,
    JobStore,
)
from gnjobs.records.fields import Child


def stored(store: JobStore, job: CurrentJob) -> dict[str, Child]:
    return {child.id: child for child in store.all_children(job.id)}


def failure(outcome: object) -> ChildFailure:
    assert isinstance(outcome, ChildFailure)
    return outcome
