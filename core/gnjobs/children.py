"""Children of a job: a process or a thread each, with a key each, and the end of each noticed."""

import os
import pickle
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection, resource_tracker
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gnjobs.child_process import ChildProcess, terminate_all
from gnjobs.keys import child_id_of_output
from gnjobs.patience import patiently
from gnjobs.scripts import Value, transition
from gnjobs.statuses import ERROR, KILLED, PENDING, RUNNING
from gnjobs.this_child import ThisChild

if TYPE_CHECKING:
    from gnjobs.context import CurrentJob

_WAYS_OUT = (
    "children are started by spawn, so the function and its items must be picklable: use a function of a module, "
    'under an `if __name__ == "__main__"` guard if the module is the script, or kind="thread"'
)


class ChildResult(msgspec.Struct, frozen=True):
    """What a child returned."""

    child_id: str
    label: str
    value: Any


class ChildFailure(msgspec.Struct, frozen=True):
    """Why a child returned nothing: `error` is its traceback, or how its process ended."""

    child_id: str
    label: str
    error: str
    exit_code: int | None = None
    signal: int | None = None


Outcome = ChildResult | ChildFailure


class ChildRun:
    """One call of `run_children`."""

    def __init__(
        self,
        job: "CurrentJob",
        function: Callable[..., Any],
        items: Sequence[Any],
        labels: Sequence[str],
        max_workers: int | None,
        on_failure: Literal["continue", "stop"],
    ) -> None:
        if len(labels) != len(items):
            raise ValueError(f"{len(labels)} labels for {len(items)} items")
        self._job = job
        self._function = function
        self._items = items
        self._labels = labels
        self._workers = max(1, max_workers or len(os.sched_getaffinity(0)))
        self._stops = on_failure == "stop"
        self._outcomes: dict[int, Outcome] = {}
        self._keys: list[str] = []
        self._telling = threading.Lock()
        self._stopped: set[int] = set()

    def in_threads(self) -> list[Outcome]:
        """Run each child in a thread of this process."""
        self._keys = self._job.allocate_children(self._labels)
        with ThreadPoolExecutor(self._workers, thread_name_prefix="child") as pool:
            list(pool.map(self._run_in_thread, range(len(self._items))))
        return self._in_order()

    def _run_in_thread(self, index: int) -> None:
        if self._has_failed():
            self._skip(index)
            return
        child = ThisChild(self._keys[index], self._job.url)
        try:
            with child:
                value = self._function(self._items[index], child)
        except SystemExit as error:
            self._outcomes[index] = self._after_exit(index, error)
        except BaseException:  # noqa: BLE001 - a child's exception is its outcome
            self._outcomes[index] = self._failure(index, traceback.format_exc())
        else:
            self._outcomes[index] = ChildResult(self._id(index), self._labels[index], value)
        self._tell_progress()

    def _after_exit(self, index: int, error: SystemExit) -> Outcome:
        if error.code in (None, 0):
            return ChildResult(self._id(index), self._labels[index], None)
        return self._failure(index, traceback.format_exc())

    def _tell_progress(self) -> None:
        with self._telling:
            self._job.children_progress(len(self._outcomes), len(self._items))

    def in_processes(self) -> list[Outcome]:
        """Run each child in a process and a session of its own."""
        payloads = [_pickled(self._function, item) for item in self._items]
        self._keys = self._job.allocate_children(self._labels)
        resource_tracker.ensure_running()
        running: dict[int, ChildProcess] = {}
        try:
            for index, payload in enumerate(payloads):
                while len(running) >= self._workers:
                    self._collect(running)
                if self._has_failed():
                    self._skip(index)
                    continue
                running[index] = ChildProcess(self._keys[index], self._id(index), payload, self._job.url)
            while running:
                self._collect(running)
        finally:
            terminate_all(running.values())
            for process in running.values():
                process.close()
        return self._in_order()

    def _collect(self, running: dict[int, ChildProcess]) -> None:
        """Wait until at least one child has said its result or ended, and take what has ended."""
        waited = {handle: index for index, process in running.items() for handle in process.handles}
        for index in {waited[handle] for handle in connection.wait(list(waited))}:
            if running[index].has_ended():
                self._finish(index, running.pop(index))
        if self._has_failed() and running:
            self._stopped.update(running)
            terminate_all(running.values())

    def _finish(self, index: int, process: ChildProcess) -> None:
        self._take_end(index, process)
        self._tell_progress()

    def _take_end(self, index: int, process: ChildProcess) -> None:
        if process.said is not None and process.said[0]:
            self._outcomes[index] = ChildResult(self._id(index), self._labels[index], process.said[1])
            return
        error = process.said[1] if process.said is not None else process.how_it_ended
        was_stopped = index in self._stopped and process.said is None
        if was_stopped:
            error = f"stopped: {self._first_failed} failed"
        self._write_end(index, KILLED if was_stopped else ERROR, error, process.exit_fields)
        code = process.exit_code
        self._outcomes[index] = self._failure(
            index, error, code if code >= 0 else None, -code if code < 0 else None
        )

    def _failure(
        self, index: int, error: str, exit_code: int | None = None, number: int | None = None
    ) -> ChildFailure:
        return ChildFailure(self._id(index), self._labels[index], error, exit_code, number)

    def _skip(self, index: int) -> None:
        error = f"not started: {self._first_failed} failed"
        self._write_end(index, KILLED, error, {})
        self._outcomes[index] = self._failure(index, error)

    def _write_end(self, index: int, status: str, error: str, fields: Mapping[str, Value]) -> None:
        """Write how a child ended, unless it or its killer said so first."""
        key = self._job.keys.child(self._job.id, self._id(index))
        text = error.encode("utf-8", "surrogateescape")
        said: dict[str, Value] = {"error": text, "finished": f"{time.time():.3f}", **fields}
        token = uuid.uuid4().hex
        patiently(lambda: transition(self._job.client, key, (PENDING, RUNNING), status, token, said))

    @property
    def _first_failed(self) -> str:
        return next(each.label for each in self._outcomes.values() if isinstance(each, ChildFailure))

    def _has_failed(self) -> bool:
        return self._stops and any(isinstance(each, ChildFailure) for each in self._outcomes.values())

    def _id(self, index: int) -> str:
        return child_id_of_output(self._keys[index])[2]

    def _in_order(self) -> list[Outcome]:
        return [self._outcomes[index] for index in range(len(self._items))]


def _pickled(function: Callable[..., Any], item: Any) -> bytes:
    try:
        return bytes(ForkingPickler.dumps((function, item)))
    except (pickle.PicklingError, TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            f"{getattr(function, '__qualname__', function)!s:.100}: {error}; {_WAYS_OUT}"
        ) from error
