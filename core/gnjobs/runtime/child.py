"""`ChildOutput`: what one child writes (lines, progress, its end), and the options that its author sets.

The options reach it from `run_children`, among them `output_limit`, the largest size of the child's output.
"""

import math
import os
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Optional

from gnjobs.errors import AnotherWriter, NotInJob, OutputRemoved
from gnjobs.outputs.at_exit import store_before_ending
from gnjobs.outputs.faults import check_fault
from gnjobs.outputs.lines import encode_json
from gnjobs.outputs.writer import MAX_BYTES, OutputWriter
from gnjobs.records.environment import ENV_URL
from gnjobs.records.keys import DRY_RUN_PREFIX, child_id_of_output
from gnjobs.records.scripts import Value
from gnjobs.records.statuses import ERROR, SUCCESS
from gnjobs.records.values import encode_text
from gnjobs.runtime.child_state import ChildState
from gnjobs.runtime.dry_run import DryState, DryWriter

LONGEST_ERROR = 8000
_LONGEST_MESSAGE = 1000


# The child that this whole process is; None in the job's own process, whose children may be threads.
of_this_process: Optional["ChildOutput"] = None


class ChildOutput:
    """Writes one child's output and state, in whatever process or thread the child runs.

    `key` is the output key that the job recorded for it (`allocate_children`); `url` is by default what the
    job's environment says in `GNJOBS_REDIS_URL`. Of the output the newest `output_limit` bytes are kept (0: all of
    it). `may_fail` repeats what the job recorded, in case the server forgot it. The child is running from here on. As
    a context manager it ends as success, or as error with the traceback.

    No error of Redis is raised; ending waits until it is stored. For a moment after that a thread checks that the end
    lasts, and so does the process when it ends: a server that dies may forget its last second. In a dry run it prints
    instead, and keeps what was written in `writer.written`.
    """

    def __init__(
        self,
        key: str,
        url: str | None = None,
        *,
        output_limit: int = MAX_BYTES,
        may_fail: bool = False,
    ) -> None:
        keys, self.job_id, self.id = child_id_of_output(key)
        self.key = key
        self.url = url or os.environ.get(ENV_URL, "")
        self._has_ended = False
        self._state: ChildState | DryState
        self.writer: OutputWriter | DryWriter
        if keys.prefix == DRY_RUN_PREFIX:
            self._state, self.writer = DryState(self.id), DryWriter(self.id)
            return
        if not self.url:
            raise NotInJob(f"no Redis URL for {key}: give `url`, or set {ENV_URL}")
        store_before_ending()
        self._state = ChildState(keys, self.job_id, self.id, may_fail=may_fail)
        self.writer = OutputWriter(
            self.url,
            key,
            hash_key=keys.child(self.job_id, self.id),
            run=self._state.run,
            max_bytes=output_limit,
            companion=self._state,
        )

    def __enter__(self) -> "ChildOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.succeed()
        else:
            text = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
            self.fail(text)

    @property
    def error(self) -> AnotherWriter | OutputRemoved | None:
        """Why nothing more is stored, if so."""
        return self.writer.error

    def print(self, text: str) -> None:
        """Write text as it would be printed, of one line or more."""
        self.writer.write(encode_text(text), "out")

    def log(self, text: str, level: str = "INFO", logger: str = "") -> None:
        """Write a log line."""
        self.writer.write(encode_json({"level": level, "logger": logger or self.id, "message": text}), "log")

    def write(self, kind: str, value: Any) -> None:
        """Write a line of a kind whose lines are JSON; a fault is counted."""
        data = encode_json(value)
        # A process that is ended in between would have stored one without the other.
        with self._state.changed:
            self.writer.write(data, kind)
            if kind == "fault":
                self._state.count_fault()

    def fault(self, fault: Mapping[str, Any]) -> None:
        """Write something that is wrong in the data, and count it.

        `row` and `column` count from 1, the header's row and the titles' column included; raises `ValueError` below.
        """
        self.write("fault", check_fault(fault))

    def record(self, record: Mapping[str, Any]) -> None:
        """Write a record of the job type's own."""
        self.write("record", record)

    def result(self, value: Any) -> None:
        """Write what the child came to."""
        self.write("result", value)

    def message(self, text: str) -> None:
        """Say in a few words what is being done."""
        self._say({"message": encode_text(text[:_LONGEST_MESSAGE])})

    def progress(
        self, done: float, total: float | None = None, unit: str | None = None, message: str | None = None
    ) -> None:
        """Say how much of how much is done; stored a few times a second at most, and the last value always."""
        fields: dict[str, Value] = {"done": _number(done)}
        if total:
            fields["total"] = _number(total)
            fields["percent"] = round(min(100.0, max(0.0, float(100 * done / total))), 2)
        if unit is not None:
            fields["unit"] = encode_text(unit)
        if message is not None:
            fields["message"] = encode_text(message[:_LONGEST_MESSAGE])
        self._say(fields)

    def succeed(self, timeout: float | None = None) -> bool:
        """End as success; waits at most `timeout` seconds until it is stored, and returns whether it is."""
        return self._finish(SUCCESS, {}, timeout)

    def fail(self, error: str, timeout: float | None = None) -> bool:
        """End as error, with the text that says why; waits as `succeed` does."""
        if not self._has_ended:
            self.writer.write(encode_text(error), "err")
        return self._finish(ERROR, {"error": encode_text(error[-LONGEST_ERROR:])}, timeout)

    def _say(self, fields: Mapping[str, Value]) -> None:
        self.writer.check_owner()
        self._state.update(fields)

    def outlast(self) -> None:
        """After the end, wait until it has lasted."""
        self.writer.outlast()

    def _finish(self, status: str, fields: Mapping[str, Value], timeout: float | None) -> bool:
        """End; its thread stores all lines first: behind a final status the output is complete."""
        self.writer.check_owner()
        if self._has_ended:
            return True
        self._has_ended = True
        self._state.end(status, fields)
        return self.writer.close(timeout) and self._state.has_ended


def _number(value: float) -> int | float:
    """The number without a type that the connection does not know, such as numpy's."""
    return int(value) if math.isfinite(value) and value == int(value) else float(value)
