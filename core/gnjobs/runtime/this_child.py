"""The child as its own function sees it."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Optional

from gnjobs.outputs.adapters import OutputFile, OutputHandler
from gnjobs.outputs.lines import encode_json
from gnjobs.records.keys import child_id_of_output
from gnjobs.runtime.child import ChildOutput

if TYPE_CHECKING:
    from gnjobs.runtime.children import Outcome
    from gnjobs.runtime.job import CurrentJob

# The child that this whole process is; None in the job's own process, whose children may be threads.
of_this_process: Optional["ThisChild"] = None


class ThisChild(ChildOutput):
    """The child as its function sees it: lines, progress, and children of its own."""

    def write(self, kind: str, value: Any) -> None:
        """Write a line of a kind whose lines are JSON."""
        if kind == "fault":
            self.fault(value)
        else:
            self._write(encode_json(value), kind)

    @contextlib.contextmanager
    def capture(self, level: int = logging.INFO) -> Iterator[None]:
        """Send what is printed and logged to this child's output, for the time of a with block.

        `print` and `logging` belong to a whole process: use it in children of kind `process`.
        """
        handler = OutputHandler(self.writer, level)
        root = logging.getLogger()
        before = root.level
        root.addHandler(handler)
        root.setLevel(min(level, before))
        with OutputFile(self.writer) as out, OutputFile(self.writer, "err") as err:
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    yield
            finally:
                root.setLevel(before)
                root.removeHandler(handler)

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
        from gnjobs.runtime.job import CurrentJob

        keys, job_id, child_id = child_id_of_output(self.key)
        return CurrentJob(job_id, self.url, keys.prefix, child_id)
