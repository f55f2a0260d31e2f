"""`current_job()`: the job as its own code sees it. It says messages, progress and lines, and runs children."""

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from gnjobs.errors import NotInJob
from gnjobs.outputs.faults import check_fault
from gnjobs.outputs.lines import Line, encode_json
from gnjobs.records.environment import ENV_CHILD, ENV_JOB, ENV_PREFIX, ENV_URL, lines_descriptor
from gnjobs.records.keys import DEFAULT_PREFIX
from gnjobs.records.scripts import Value
from gnjobs.records.values import encode_text
from gnjobs.runtime import child
from gnjobs.runtime.context import JobContext
from gnjobs.runtime.dry_run import DryContext, DryWriter, announce
from gnjobs.runtime.this_child import HasChildren
from gnjobs.text import DEFAULT_URL

_writing = threading.Lock()


class CurrentJob(JobContext, HasChildren):
    """The job that this process is part of; as a context manager it does nothing more than name it.

    What it says goes into fields that only the job's own code writes; lines that it writes are stored by the
    supervisor among what the job printed, each with its kind.
    """

    def __enter__(self) -> "CurrentJob":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def _as_job(self) -> JobContext:
        return self

    def message(self, text: str) -> None:
        """Say in a few words what the job is doing."""
        self.set_fields({"message": encode_text(text)})

    def progress(self, done: float, total: float | None = None, unit: str | None = None) -> None:
        """Say how far the job is: a percentage, or `done` of `total`, which count `unit`."""
        share = done if total is None else 100 * done / total if total else 0.0
        fields: dict[str, Value] = {"percent": f"{min(100.0, max(0.0, share)):.2f}"}
        if total is not None:
            fields |= {"done": float(done), "total": float(total)}
        if unit is not None:
            fields["unit"] = encode_text(unit)
        self.set_fields(fields)

    def log(self, text: str, level: str = "INFO", logger: str = "job") -> None:
        """Write a log line."""
        self._write("log", {"level": level, "logger": logger, "message": text})

    def fault(self, fault: Mapping[str, Any]) -> None:
        """Write something that is wrong in the data; it is counted.

        `row` and `column` count from 1, the header's row and the titles' column included; raises `ValueError` below.
        """
        self._write("fault", check_fault(fault))

    def record(self, record: Mapping[str, Any]) -> None:
        """Write a record of the job type's own."""
        self._write("record", record)

    def result(self, value: Any) -> None:
        """Write what the job came to."""
        self._write("result", value)

    def _write(self, kind: str, value: Any) -> None:
        if child.of_this_process is not None:
            child.of_this_process.write(kind, value)
            return
        descriptor = lines_descriptor(os.environ)
        if descriptor is None:
            print(encode_json(value).decode(), flush=True)  # noqa: T201 - without a supervisor it is seen all the same
            return
        line = kind.encode() + b" " + encode_json(value) + b"\n"
        with _writing:
            while line:
                line = line[os.write(descriptor, line) :]


class DryJob(DryContext, CurrentJob):
    """Stands for the job of a process that belongs to none: what it says is printed, and kept in `written`."""

    def __init__(self) -> None:
        super().__init__()
        self._writer = DryWriter("job")

    def __exit__(self, *_: object) -> None:
        self.state.finish()

    @property
    def written(self) -> Sequence[Line]:
        """The newest 100 000 lines that it wrote itself."""
        return self._writer.written

    def _write(self, kind: str, value: Any) -> None:
        writer = self._writer if child.of_this_process is None else child.of_this_process.writer
        writer.write(encode_json(value), kind)


def current_job(*, dry_run: bool | None = None) -> CurrentJob:
    """The job that this process was started for.

    A process that belongs to none gets one that prints instead of storing (`DryJob`), so that a job's code can be run
    by hand. `dry_run=True` asks for that everywhere, as a test does; with `dry_run=False`, `NotInJob` is raised.
    """
    job_id = os.environ.get(ENV_JOB)
    if dry_run or (dry_run is None and not job_id):
        if dry_run is None and child.of_this_process is None:
            announce()
        return DryJob()
    if not job_id:
        raise NotInJob(f"this process belongs to no job: {ENV_JOB} is not set (start it by `gnjobs run`)")
    return CurrentJob(
        job_id,
        os.environ.get(ENV_URL, DEFAULT_URL),
        os.environ.get(ENV_PREFIX, DEFAULT_PREFIX),
        os.environ.get(ENV_CHILD),
    )
