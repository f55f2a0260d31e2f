"""How one call of `run_children` goes: starts each child as a process or thread, and notices how each ends."""

import contextlib
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import connection, resource_tracker
from typing import Any, Literal

import msgspec
import redis

from gnjobs.outputs.at_exit import store_before_ending
from gnjobs.records.keys import child_id_of_output
from gnjobs.records.lasting import Statement, new_child
from gnjobs.records.scripts import Value
from gnjobs.records.statuses import ERROR, KILLED, PENDING, RUNNING
from gnjobs.records.values import encode_text
from gnjobs.runtime.child import LONGEST_ERROR, ChildOutput
from gnjobs.runtime.context import JobContext
from gnjobs.runtime.process import ChildProcess, MakeChild, cannot_be_child, pickled, terminate_all
from gnjobs.runtime.progress import ChildrenProgress


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


# Each lasts for some seconds: fewer would keep the workers of a job with many short children waiting.
_LASTING_AT_ONCE = 16
_LASTING_THREADS_AT_ONCE = 100

ChildOutcome = ChildResult | ChildFailure


class ChildRun:
    """One call of `run_children`."""

    def __init__(
        self,
        job: JobContext,
        make_child: MakeChild,
        function: Callable[..., Any],
        items: Sequence[Any],
        labels: Sequence[str],
        max_workers: int | None,
        on_failure: Literal["continue", "stop", "ignore"],
    ) -> None:
        if len(labels) != len(items):
            raise ValueError(f"{len(labels)} labels for {len(items)} items")
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        if on_failure not in ("continue", "stop", "ignore"):
            raise ValueError(f'on_failure is "continue", "stop" or "ignore", not {on_failure!r:.100}')
        self._job = job
        self._make_child = partial(make_child, may_fail=on_failure == "ignore")
        self._function = function
        self._items = items
        self._labels = labels
        self._given_workers = max_workers
        self._workers = max_workers or _cores()
        self._child_process: type[ChildProcess] = ChildProcess
        self._stops = on_failure == "stop"
        self._may_fail = on_failure == "ignore"
        self._outcomes: dict[int, ChildOutcome] = {}
        self._keys: list[str] = []
        self._taking = threading.Lock()
        self._first_failed: str | None = None
        self._stopped: set[int] = set()
        self._lasting: deque[ChildProcess] = deque()
        self._lasting_threads: deque[ChildOutput] = deque()
        self._ends = job.child_ends()
        self._has_begun = False

    def in_threads(self) -> list[ChildOutcome]:
        """Run each child in a thread of this process."""
        self._keys = self._job.allocate_children(self._labels, may_fail=self._may_fail)
        store_before_ending()
        try:
            with (
                ChildrenProgress(self._job, len(self._items), self._workers) as self._progress,
                ThreadPoolExecutor(self._workers, thread_name_prefix="child") as pool,
            ):
                list(pool.map(self._run_in_thread, range(len(self._items))))
        except BaseException as error:
            self._abandon({}, error)
            raise
        self._skip_rest()
        self._ends.outlast()
        return self._in_order()

    def _run_in_thread(self, index: int) -> None:
        if self._is_over or self._take_killed(index):
            return
        self._progress.started(self._id(index))
        child = self._make_child(self._keys[index])
        try:
            with child:
                value = self._function(self._items[index], child)
        except SystemExit as error:
            self._take(index, self._after_exit(index, error))
        except BaseException:  # noqa: BLE001 - a child's exception is its outcome
            self._take(index, self._failure(index, traceback.format_exc()))
        else:
            self._take(index, ChildResult(self._id(index), self._labels[index], value))
        self._let_thread_last(child)

    def _let_thread_last(self, child: ChildOutput) -> None:
        """Let few ended children keep the threads and connections with which they see that their ends last."""
        with self._taking:
            self._lasting_threads.append(child)
            many = len(self._lasting_threads) > _LASTING_THREADS_AT_ONCE
            oldest = self._lasting_threads.popleft() if many else None
        if oldest is not None:
            oldest.outlast()

    def _after_exit(self, index: int, error: SystemExit) -> ChildOutcome:
        if error.code in (None, 0):
            return ChildResult(self._id(index), self._labels[index], None)
        return self._failure(index, traceback.format_exc())

    def in_slurm(self, options: Sequence[str]) -> list[ChildOutcome]:
        """Run each child where Slurm places it, with these options of `srun`."""
        from gnjobs.runtime import remote

        self._child_process = remote.child_in_slurm(options)
        self._workers = self._given_workers or remote.workers_in_slurm()
        return self.in_processes()

    def in_processes(self) -> list[ChildOutcome]:
        """Run each child in a process and a session of its own."""
        function = pickled(self._function, self._function)
        for item in self._items:
            pickled(item, self._function)
        self._keys = self._job.allocate_children(self._labels, may_fail=self._may_fail)
        resource_tracker.ensure_running()
        running: dict[int, ChildProcess] = {}
        try:
            with ChildrenProgress(self._job, len(self._items), self._workers) as self._progress:
                self._run_all(function, running)
        except BaseException as error:
            self._abandon(running, error)
            raise
        self._skip_rest()
        self._ends.outlast()
        return self._in_order()

    def _run_all(self, function: bytes, running: dict[int, ChildProcess]) -> None:
        """Keep the workers busy; items are pickled when their turn comes, so that few are held twice."""
        for index, item in enumerate(self._items):
            while len(running) >= self._workers:
                self._collect(running)
            if self._is_over:
                break
            if self._take_killed(index):
                continue
            key, payload = self._keys[index], pickled(item, self._function)
            running[index] = self._child_process(
                self._make_child, key, self._id(index), function, payload, self._job.url
            )
            self._progress.started(self._id(index))
        while running:
            self._collect(running)
        self._let_last(0)

    def _let_last(self, most: int) -> None:
        """Wait for children that have said their result and see that it lasts, until only so many are left."""
        while len(self._lasting) > most:
            self._lasting.popleft().wait_for_end()

    def _collect(self, running: dict[int, ChildProcess]) -> None:
        """Wait until at least one child has said something or ended, and take what has ended."""
        waited = {handle: index for index, process in running.items() for handle in process.handles}
        for index in {waited[handle] for handle in connection.wait(list(waited))}:
            if running[index].has_ended():
                self._take_end(index, running[index])
                del running[index]
            elif running[index].has_succeeded:
                self._take_end(index, running[index])
                self._lasting.append(running.pop(index))
        self._let_last(max(self._workers, _LASTING_AT_ONCE))
        if self._is_over and running:
            self._stopped.update(running)
            terminate_all(running.values())

    def _take_killed(self, index: int) -> bool:
        """Take one that was killed while it waited, which is not started; returns whether it was."""
        is_killed = self._job.is_killed(self._id(index))
        if is_killed:
            self._take(index, self._failure(index, "killed before it began"))
        return is_killed

    def _take_end(self, index: int, process: ChildProcess) -> None:
        self._has_begun = self._has_begun or process.has_begun
        if process.said is not None and process.said[0]:
            self._take(index, ChildResult(self._id(index), self._labels[index], process.said[1]))
            return
        error = process.said[1] if process.said is not None else process.how_it_ended
        was_stopped = index in self._stopped and process.said is None
        if was_stopped:
            error = f"stopped: {self._first_failed} failed"
        was_killed = was_stopped or process.is_ended_from_outside
        self._ends.write([self._end(index, KILLED if was_killed else ERROR, error, process.exit_fields)])
        code = process.exit_code
        self._take(
            index, self._failure(index, error, code if code >= 0 else None, -code if code < 0 else None)
        )
        if code > 0 and not self._has_begun and not process.is_elsewhere:
            raise cannot_be_child(self._function, f"a child could not get it: {error.strip()}")

    def _take(self, index: int, outcome: ChildOutcome) -> None:
        has_failed = isinstance(outcome, ChildFailure)
        with self._taking:
            self._outcomes[index] = outcome
            if has_failed:
                self._first_failed = self._first_failed or outcome.label
        self._progress.ended(outcome.child_id, failed=has_failed)

    def _failure(
        self, index: int, error: str, exit_code: int | None = None, number: int | None = None
    ) -> ChildFailure:
        return ChildFailure(self._id(index), self._labels[index], error, exit_code, number)

    def _skip_rest(self) -> None:
        """Give those that were not started their end."""
        rest = [index for index in range(len(self._items)) if index not in self._outcomes]
        error = f"not started: {self._first_failed} failed"
        self._ends.write([self._end(index, KILLED, error) for index in rest])
        self._outcomes |= {index: self._failure(index, error) for index in rest}

    def _abandon(self, running: dict[int, ChildProcess], error: BaseException) -> None:
        """End what runs and say of every child why it has no outcome, for the job itself was interrupted."""
        terminate_all([*running.values(), *self._lasting])
        for lasting in self._lasting:
            lasting.close()
        why = type(error).__name__
        ends = []
        for index in range(len(self._keys)):
            if (process := running.get(index)) is not None:
                process.close()
                ends.append(self._end(index, KILLED, f"stopped by {why}", process.exit_fields))
            elif index not in self._outcomes:
                ends.append(self._end(index, KILLED, f"not started: {why}"))
        with contextlib.suppress(redis.RedisError):
            self._ends.write(ends)

    def _end(
        self, index: int, status: str, error: str, fields: Mapping[str, Value] | None = None
    ) -> Statement:
        why = encode_text(error[-LONGEST_ERROR:])
        said: dict[str, Value] = {"finished": f"{time.time():.3f}", "error": why, **(fields or {})}
        if status == KILLED:
            said["stop-reason"] = why
        made = new_child(self._labels[index], may_fail=self._may_fail)
        end = Statement.of_child(self._job.keys, self._job.run, self._job.id, self._id(index), made=made)
        end.step((PENDING, RUNNING), status, said)
        return end

    @property
    def _is_over(self) -> bool:
        return self._stops and self._first_failed is not None

    def _id(self, index: int) -> str:
        return child_id_of_output(self._keys[index])[2]

    def _in_order(self) -> list[ChildOutcome]:
        return [self._outcomes[index] for index in range(len(self._items))]


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
