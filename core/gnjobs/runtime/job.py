"""A job seen from inside: what its own code says of it, and the children that it starts."""

import os
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from gnjobs.errors import NoSuchJob, NotInJob
from gnjobs.outputs.lines import encode_json
from gnjobs.records import values
from gnjobs.records.connection import connect, patiently
from gnjobs.records.environment import ENV_CHILD, ENV_JOB, ENV_PREFIX, ENV_URL, lines_descriptor
from gnjobs.records.keys import CHILD_FIELD, DEFAULT_PREFIX, MONTH, Keys, check_id, child_ids
from gnjobs.records.scripts import add_children, make_child, set_fields
from gnjobs.records.values import encode_text
from gnjobs.text import DEFAULT_URL

if TYPE_CHECKING:
    from gnjobs.runtime.children import ChildFailure, ChildResult

_LONGEST_NESTED_PREFIX = 24
_CHUNK = 500
_allocating = threading.Lock()
_writing = threading.Lock()


class CurrentJob:
    """The job that this process is part of; as a context manager it does nothing more than name it.

    What it says goes into fields that only the job's own code writes; lines that it writes are stored by the
    supervisor among what the job printed, each with its kind.
    """

    def __init__(self, job_id: str, url: str, prefix: str, child_id: str | None) -> None:
        self.id = check_id(job_id, "job id")
        self.url = url
        self.keys = Keys(prefix)
        self.client = connect(url)
        self.child_id = child_id

    def __enter__(self) -> "CurrentJob":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()

    def message(self, text: str) -> None:
        """Say in a few words what the job is doing."""
        self._set({"message": encode_text(text)})

    def progress(self, done: float, total: float | None = None) -> None:
        """Say how far the job is: a percentage, or `done` of `total`."""
        share = done if total is None else 100 * done / total if total else 0.0
        self._set({"percent": f"{min(100.0, max(0.0, share)):.2f}"})

    def children_progress(self, percent: float, message: str | None = None) -> None:
        """Say how far the job's children are together."""
        said = {} if message is None else {"message": message}
        self._set({"percent": f"{percent:.2f}", **said})

    def _set(self, fields: Mapping[str, str | bytes]) -> None:
        patiently(lambda: set_fields(self.client, self.keys.job(self.id), fields))

    def log(self, text: str, level: str = "INFO", logger: str = "job") -> None:
        """Write a log line."""
        self._write("log", {"level": level, "logger": logger, "message": text})

    def fault(self, fault: Mapping[str, Any]) -> None:
        """Write something that is wrong in the data; it is counted."""
        self._write("fault", fault)

    def record(self, record: Mapping[str, Any]) -> None:
        """Write a record of the job type's own."""
        self._write("record", record)

    def result(self, value: Any) -> None:
        """Write what the job came to."""
        self._write("result", value)

    def _write(self, kind: str, value: Any) -> None:
        from gnjobs.runtime import this_child

        if this_child.of_this_process is not None:
            this_child.of_this_process.write(kind, value)
            return
        descriptor = lines_descriptor(os.environ)
        if descriptor is None:
            print(encode_json(value).decode(), flush=True)  # noqa: T201 - without a supervisor it is seen all the same
            return
        line = kind.encode() + b" " + encode_json(value) + b"\n"
        with _writing:
            while line:
                line = line[os.write(descriptor, line) :]

    def allocate_children(self, labels: Iterable[str]) -> list[str]:
        """Build and record the output keys of children that are to be started; returns them in order.

        Call it before any of them starts. Each then writes by `ChildOutput(key)`. Raises `NoSuchJob` where the
        job's record is gone, and `TypeError` in a child that runs its parent's script for want of a guard.
        """
        from gnjobs.runtime.process import refuse_in_bootstrap

        names = [str(label) for label in labels]
        refuse_in_bootstrap()
        with _allocating:
            ids = self._free_ids(names)
            output_keys = {child_id: self.keys.child_output(self.id, child_id) for child_id in ids}
            record = self.keys.job(self.id)
            if output_keys and patiently(lambda: add_children(self.client, record, output_keys)) < 0:
                raise NoSuchJob(f"the record of job {self.id} is gone, so it can have no children")
        pairs = list(zip(ids, names, strict=True))
        for start in range(0, len(pairs), _CHUNK):
            patiently(partial(self._make_hashes, pairs[start : start + _CHUNK]))
        return list(output_keys.values())

    def _free_ids(self, labels: Sequence[str]) -> list[str]:
        """Ids that no child has; those of grandchildren begin with their parent's, since siblings allocate, too."""
        prefix = self._nested_prefix()
        found = patiently(
            lambda: list(self.client.hscan_iter(self.keys.job(self.id), f"{CHILD_FIELD}*", 1000))
        )
        taken = ((values.text(field) or "").removeprefix(CHILD_FIELD) for field, _ in found)
        ours = [child_id.removeprefix(prefix) for child_id in taken if child_id.startswith(prefix)]
        return [prefix + child_id for child_id in child_ids(labels, ours)]

    def _nested_prefix(self) -> str:
        if self.child_id is None:
            return ""
        if len(self.child_id) <= _LONGEST_NESTED_PREFIX:
            return f"{self.child_id}."
        return f"{zlib.crc32(self.child_id.encode()):08x}."

    def _make_hashes(self, children: Sequence[tuple[str, str]]) -> None:
        pipe = self.client.pipeline(transaction=False)
        for child_id, label in children:
            make_child(pipe, self.keys.child(self.id, child_id), MONTH, label)
        pipe.execute()

    def run_children(
        self,
        function: Callable[..., Any],
        items: Iterable[Any],
        *,
        max_workers: int | None = None,
        kind: Literal["process", "thread"] = "process",
        labels: Iterable[str] | None = None,
        on_failure: Literal["continue", "stop"] = "continue",
    ) -> "list[ChildResult | ChildFailure]":
        """Run `function(item, child)` for each item in a child of its own; returns each result or failure, in order.

        At most `max_workers` (by default one for each core) are at work at once. Their keys are recorded before
        the first starts. A `TypeError` is raised for a function or item that a process can't be given.
        """
        from gnjobs.runtime.children import ChildRun

        if kind not in ("process", "thread"):
            raise ValueError(f'kind is "process" or "thread", not {kind!r:.100}')
        given = list(items)
        names = (
            [str(label) for label in labels] if labels is not None else [_label_of(item) for item in given]
        )
        run = ChildRun(self, function, given, names, max_workers, on_failure)
        return run.in_threads() if kind == "thread" else run.in_processes()


def _label_of(item: Any) -> str:
    """Call a child by its item: a path by its last part, anything else by its text."""
    text = str(item)
    return os.path.basename(text.rstrip("/")) or text if isinstance(item, str | os.PathLike) else text[:100]


def current_job() -> CurrentJob:
    """The job that this process was started for; raises `NotInJob` outside of one."""
    job_id = os.environ.get(ENV_JOB)
    if not job_id:
        raise NotInJob(f"this process belongs to no job: {ENV_JOB} is not set (start it by `gnjobs run`)")
    return CurrentJob(
        job_id,
        os.environ.get(ENV_URL, DEFAULT_URL),
        os.environ.get(ENV_PREFIX, DEFAULT_PREFIX),
        os.environ.get(ENV_CHILD),
    )
