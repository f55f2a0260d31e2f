"""`run_children` with its options, for jobs and for children; `ThisChild`, which a child's function is given."""

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from gnjobs.outputs.adapters import OutputFile, OutputHandler
from gnjobs.outputs.writer import MAX_BYTES
from gnjobs.records.keys import DRY_RUN_PREFIX, child_id_of_output
from gnjobs.runtime.child import ChildOutput
from gnjobs.runtime.context import JobContext
from gnjobs.runtime.dry_run import DryContext

if TYPE_CHECKING:
    from gnjobs.runtime.children import ChildFailure, ChildResult


class HasChildren(ABC):
    """What can have children: a job, or a child of it."""

    @abstractmethod
    def _as_job(self) -> JobContext:
        """The job, with which child of it this is."""

    def run_children(
        self,
        function: Callable[..., Any],
        items: Iterable[Any],
        *,
        max_workers: int | None = None,
        kind: Literal["process", "thread"] = "process",
        labels: Iterable[str] | None = None,
        on_failure: Literal["continue", "stop", "ignore"] = "continue",
        output_limit: int = MAX_BYTES,
        via: Literal["slurm"] | None = None,
        options: Sequence[str] = (),
    ) -> "list[ChildResult | ChildFailure]":
        """Run `function(item, child)` for each item in a child of its own; returns each result or failure, in order.

        At most `max_workers` (by default one for each core) are at work at once. Their keys are recorded before
        the first starts. `labels` says what to call each, by default after the path that its item is or holds. Of each
        child's output the newest `output_limit` bytes are kept (0: all of it).

        Where a child fails the others go on, and the job ends as `error`, naming the children that failed, though its
        command exits with 0. With `on_failure="stop"` the first failure ends the others. With `on_failure="ignore"`
        failures are the caller's to handle: the job may end as `success` all the same.

        With `via="slurm"` each child runs where Slurm places it, with `options` for `srun`: as a step on any node of
        the job, by default as many at once as the job has processors there.

        A `TypeError` is raised for a function or item that a process can't be given.
        """
        from gnjobs.runtime.children import ChildRun  # here, since multiprocessing takes long to import

        if kind not in ("process", "thread"):
            raise ValueError(f'kind is "process" or "thread", not {kind!r:.100}')
        if via not in (None, "slurm") or (via == "slurm" and kind == "thread") or (options and via is None):
            raise ValueError('via is "slurm" or None; threads run here, and options are for Slurm')
        if output_limit < 0:
            raise ValueError(f"output_limit is a number of bytes, or 0 for no limit, not {output_limit}")
        given = list(items)
        names = (
            [str(label) for label in labels] if labels is not None else [_label_of(item) for item in given]
        )
        job = self._as_job()
        make_child = partial(ThisChild, url=job.url, output_limit=output_limit)
        run = ChildRun(job, make_child, function, given, names, max_workers, on_failure)
        if via == "slurm" and not isinstance(job, DryContext):
            return run.in_slurm(options)
        return run.in_threads() if kind == "thread" else run.in_processes()


def _label_of(item: Any) -> str:
    """Call a child by its item: a path by its last part, of a tuple the first path in it, anything else by its text."""
    if isinstance(item, tuple):
        item = next((part for part in item if _is_path(part)), item)
    text = str(item)
    return os.path.basename(text.rstrip("/")) or text if isinstance(item, str | os.PathLike) else text[:100]


def _is_path(part: object) -> bool:
    return isinstance(part, os.PathLike) or (isinstance(part, str) and "/" in part and "://" not in part)


class ThisChild(ChildOutput, HasChildren):
    """The child as its function sees it: lines, progress, and children of its own."""

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

    def allocate_children(self, labels: Iterable[str], *, may_fail: bool = False) -> list[str]:
        """As `CurrentJob.allocate_children`, for children of this child."""
        return self._as_job().allocate_children(labels, may_fail=may_fail)

    def _as_job(self) -> JobContext:
        keys, job_id, child_id = child_id_of_output(self.key)
        if keys.prefix == DRY_RUN_PREFIX:
            return DryContext(job_id, child_id)
        return JobContext(job_id, self.url, keys.prefix, child_id)
