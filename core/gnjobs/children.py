"""Children of a job: a process or a thread each, with a key each, and the end of each noticed."""

import multiprocessing
import os
import pickle
import signal
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gnjobs.child_output import ChildOutput
from gnjobs.environment import ENV_CHILD, ENV_URL
from gnjobs.keys import child_id_of_output
from gnjobs.patience import patiently
from gnjobs.scripts import Value, transition
from gnjobs.statuses import ERROR, KILLED, PENDING, RUNNING

if TYPE_CHECKING:
    from gnjobs.context import CurrentJob

_WAYS_OUT = (
    "children are started by spawn, so the function and its items must be picklable: use a function of a module, "
    'under an `if __name__ == "__main__"` guard if the module is the script, or kind="thread"'
)
_TERMINATION_SECONDS = 10.0
_MARKING = multiprocessing.RLock()


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


class ThisChild(ChildOutput):
    """The child as its function sees it: lines, progress, and children of its own."""

    def allocate_children(self, labels: Iterable[str]) -> list[str]:
        """As `CurrentJob.allocate_children`, for children of this child."""
        with self._job() as job:
            return job.allocate_children(labels)

    def run_children(
        self, function: Callable[..., Any], items: Iterable[Any], **options: Any
    ) -> list[Outcome]:
        """As `CurrentJob.run_children`, for children of this child."""
        with self._job() as job:
            return job.run_children(function, items, **options)

    def _job(self) -> "CurrentJob":
        from gnjobs.context import CurrentJob

        keys, job_id, child_id = child_id_of_output(self.key)
        return CurrentJob(job_id, self.url, keys.prefix, child_id)


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
        except Exception:  # noqa: BLE001 - a child's exception is its outcome
            self._outcomes[index] = self._failure(index, traceback.format_exc())
        else:
            self._outcomes[index] = ChildResult(self._id(index), self._labels[index], value)

    def in_processes(self) -> list[Outcome]:
        """Run each child in a process and a session of its own."""
        payloads = [_pickled(self._function, item) for item in self._items]
        self._keys = self._job.allocate_children(self._labels)
        resource_tracker.ensure_running()
        running: dict[int, _ChildProcess] = {}
        try:
            for index, payload in enumerate(payloads):
                if self._has_failed():
                    self._skip(index)
                    continue
                while len(running) >= self._workers:
                    self._collect(running)
                running[index] = _ChildProcess(self._keys[index], self._id(index), payload, self._job.url)
            while running:
                self._collect(running)
        finally:
            _terminate(running.values())
        return self._in_order()

    def _collect(self, running: "dict[int, _ChildProcess]") -> None:
        """Wait until at least one child has said its result or ended, and take what has ended."""
        waited = {handle: index for index, process in running.items() for handle in process.handles}
        for index in {waited[handle] for handle in connection.wait(list(waited))}:
            if running[index].has_ended():
                self._finish(index, running.pop(index))
        if self._has_failed() and running:
            _terminate(running.values())

    def _finish(self, index: int, process: "_ChildProcess") -> None:
        self._take_end(index, process)
        self._job.children_progress(len(self._outcomes), len(self._items))

    def _take_end(self, index: int, process: "_ChildProcess") -> None:
        if process.said is not None and process.said[0]:
            self._outcomes[index] = ChildResult(self._id(index), self._labels[index], process.said[1])
            return
        error = process.said[1] if process.said is not None else process.how_it_ended
        self._write_end(index, ERROR, error, process.exit_fields)
        code = process.exit_code
        self._outcomes[index] = self._failure(
            index, error, code if code >= 0 else None, -code if code < 0 else None
        )

    def _failure(
        self, index: int, error: str, exit_code: int | None = None, number: int | None = None
    ) -> ChildFailure:
        return ChildFailure(self._id(index), self._labels[index], error, exit_code, number)

    def _skip(self, index: int) -> None:
        failed = next(each for each in self._outcomes.values() if isinstance(each, ChildFailure))
        error = f"not started: {failed.label} failed"
        self._write_end(index, KILLED, error, {})
        self._outcomes[index] = self._failure(index, error)

    def _write_end(self, index: int, status: str, error: str, fields: Mapping[str, Value]) -> None:
        """Write how a child ended, unless it or its killer said so first."""
        key = self._job.keys.child(self._job.id, self._id(index))
        text = error.encode("utf-8", "surrogateescape")
        said: dict[str, Value] = {"error": text, "finished": f"{time.time():.3f}", **fields}
        token = uuid.uuid4().hex
        patiently(lambda: transition(self._job.client, key, (PENDING, RUNNING), status, token, said))

    def _has_failed(self) -> bool:
        return self._stops and any(isinstance(each, ChildFailure) for each in self._outcomes.values())

    def _id(self, index: int) -> str:
        return child_id_of_output(self._keys[index])[2]

    def _in_order(self) -> list[Outcome]:
        return [self._outcomes[index] for index in range(len(self._items))]


def _pickled(function: Callable[..., Any], item: Any) -> bytes:
    try:
        return bytes(ForkingPickler.dumps((function, item)))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise TypeError(
            f"{getattr(function, '__qualname__', function)!s:.100}: {error}; {_WAYS_OUT}"
        ) from error


class _ChildProcess:
    """One child's process and the pipe by which it says its result."""

    def __init__(self, key: str, child_id: str, payload: bytes, url: str) -> None:
        self._pipe, theirs = connection.Pipe(duplex=False)
        self._process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=run_child, args=(key, url, payload, theirs), name=child_id
        )
        self._is_open = True
        self.said: tuple[bool, Any] | None = None
        with _MARKING:
            before = os.environ.get(ENV_CHILD)
            os.environ[ENV_CHILD] = child_id
            try:
                self._process.start()
            finally:
                if before is None:
                    del os.environ[ENV_CHILD]
                else:
                    os.environ[ENV_CHILD] = before
        theirs.close()

    @property
    def handles(self) -> list[Any]:
        """What to wait for: its end, and its result while none came."""
        return [self._process.sentinel, *([self._pipe] if self._is_open else [])]

    def has_ended(self) -> bool:
        """Take its result if there is one; returns whether the process is over."""
        if self._is_open and self._pipe.poll():
            try:
                self.said = self._pipe.recv()
            except Exception:  # noqa: BLE001 - EOF, or a result that can't be unpickled here
                self._is_open = False
            self._is_open = self._is_open and self.said is None
        if not connection.wait([self._process.sentinel], 0):
            return False
        self._process.join()
        if self._is_open and self._pipe.poll():
            return self.has_ended()
        self._pipe.close()
        return True

    @property
    def exit_code(self) -> int:
        """Its exit code, negative for a signal."""
        return self._process.exitcode or 0

    @property
    def exit_fields(self) -> dict[str, Value]:
        """How it ended, as fields of its hash."""
        return {"signal": -self.exit_code} if self.exit_code < 0 else {"exit-code": self.exit_code}

    @property
    def how_it_ended(self) -> str:
        """How it ended, in words."""
        if self.exit_code < 0:
            return f"ended by signal {-self.exit_code} ({signal.strsignal(-self.exit_code)})"
        return f"ended with exit code {self.exit_code} without a result"

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill_after(self, deadline: float) -> None:
        """End it for sure when it has not ended by the time (monotonic)."""
        self._process.join(max(0.0, deadline - time.monotonic()))
        if self._process.is_alive():
            self._process.kill()


def _terminate(processes: "Iterable[_ChildProcess]") -> None:
    ending = list(processes)
    for process in ending:
        process.terminate()
    deadline = time.monotonic() + _TERMINATION_SECONDS
    for process in ending:
        process.kill_after(deadline)


def run_child(key: str, url: str, payload: bytes, pipe: connection.Connection) -> None:
    """Be a child: in a session of its own, run the function, store how it ended, then say the result."""
    os.setsid()
    os.environ[ENV_URL] = url
    child = ThisChild(key, url)
    try:
        with child:
            function, item = pickle.loads(payload)
            value = function(item, child)
        said = (True, value)
    except SystemExit as error:
        if error.code not in (None, 0):
            pipe.send((False, traceback.format_exc()))
            raise
        said = (True, None)
    except BaseException:  # noqa: BLE001 - a child's exception is its outcome
        said = (False, traceback.format_exc())
    _say(pipe, said)
    raise SystemExit(0 if said[0] else 1)


def _say(pipe: connection.Connection, said: tuple[bool, Any]) -> None:
    try:
        pipe.send(said)
    except Exception as error:  # noqa: BLE001 - a result that can't be pickled is told as text
        pipe.send((said[0], f"<{type(said[1]).__name__}: {error}>"))
    pipe.close()
