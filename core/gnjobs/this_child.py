"""The child as its own function sees it."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gnjobs.child_output import ChildOutput
from gnjobs.keys import child_id_of_output

if TYPE_CHECKING:
    from gnjobs.children import Outcome
    from gnjobs.context import CurrentJob


class ThisChild(ChildOutput):
    """The child as its function sees it: lines, progress, and children of its own."""

    def allocate_children(self, labels: Iterable[str]) -> list[str]:
        """As `CurrentJob.allocate_children`, for children of this child."""
        with self._job() as job:
            return job.allocate_children(labels)

    def run_children(
        self, function: Callable[..., Any], items: Iterable[Any], **options: Any
    ) -> "list[Outcome]":
        """As `CurrentJob.run_children`, for children of this child."""
        with self._job() as job:
            return job.run_children(function, items, **options)

    def _job(self) -> "CurrentJob":
        from gnjobs.context import CurrentJob

        keys, job_id, child_id = child_id_of_output(self.key)
        return CurrentJob(job_id, self.url, keys.prefix, child_id)
