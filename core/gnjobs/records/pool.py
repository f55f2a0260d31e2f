"""What is asked of a supervisor or an agent, done beside its other work and shared out among those who ask."""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import redis

from gnjobs.errors import GnjobsError
from gnjobs.records.keys import Keys
from gnjobs.records.requests import DEFAULT_GRACE, ControlRequest, KillStep, failed, proven_asker, step

MOST_ASKERS = 20  # of the same, who are told each step


class _Room(NamedTuple):
    """How many requests there may be: in all, of all but admins together, of each of these."""

    most: int
    of_others: int
    of_one: int

    def takes(self, counts: Counter[str | None], asker: str | None) -> bool:
        """Whether there may be one more of an asker's, or of an admin's (None)."""
        total = counts.total()
        if asker is None:
            return total < self.most
        return total < self.most and total - counts[None] < self.of_others and counts[asker] < self.of_one


_WAITING = _Room(1000, 900, 100)
_AT_WORK = _Room(8, 6, 2)
_LONG_GRACE = _Room(16, 12, 4)  # kills with a longer grace than usual, which mostly wait
_LOOKING = _Room(6, 4, 2)  # what changes nothing, and may hang with the file system that it looks at


class _About(NamedTuple):
    """What is asked for, and by whom: equal requests are done once."""

    asker: str | None
    kind: str
    job: str | None
    child: str | None
    force: bool
    grace: float
    digest: str | None


class RequestPool:
    """Does what is asked beside other work: some requests at a time, equal ones at once, and not without a bound.

    `handle` does one and yields its steps, which `answer` tells everybody who asked for the same. No user and no
    application, nor all of them together, keeps admins waiting: each has a share, in what is done at a time and in what
    waits. Kills with a long grace and mere looks are done in rooms of their own, so that no kill waits for one.
    """

    def __init__(
        self,
        handle: Callable[[ControlRequest], Iterable[KillStep]],
        answer: Callable[[ControlRequest, KillStep], object],
        keys: Keys,
    ) -> None:
        self._keys = keys
        self._handle = handle
        self._answer = answer
        self._lock = threading.Lock()
        self._askers: dict[_About, list[ControlRequest]] = {}
        self._waiting: deque[ControlRequest] = deque()
        self._at_work: dict[_Room, Counter[str | None]] = {
            room: Counter() for room in (_AT_WORK, _LONG_GRACE, _LOOKING)
        }
        self._workers: set[threading.Thread] = set()

    def take(self, request: ControlRequest) -> None:
        """Do what is asked soon, or tell who asks that it is too much."""
        about = self._about(request)
        with self._lock:
            if (askers := self._askers.get(about)) is not None and len(askers) < MOST_ASKERS:
                askers.append(request)
                return
            is_taken = askers is None
            if is_taken and (
                is_taken := _WAITING.takes(Counter(each.asker for each in self._askers), about.asker)
                and self._has_worker()
            ):
                self._askers[about] = [request]
                self._waiting.append(request)
        if not is_taken:
            self._answer(request, step("refused", "too much is being asked; ask again later", final=True))

    def _has_worker(self) -> bool:
        """Start one more worker, if there may be; returns whether there is any."""
        if len(self._workers) < sum(room.most for room in self._at_work):
            worker = threading.Thread(target=self._work, name="requests", daemon=True)
            with contextlib.suppress(RuntimeError):  # there is room for no thread
                worker.start()
                self._workers.add(worker)
        return bool(self._workers)

    def join(self, limit: float) -> None:
        """Wait until everything is done, at most `limit` seconds."""
        until = time.monotonic() + limit
        for worker in list(self._workers):
            worker.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        try:
            while (request := self._begin()) is not None:
                self._do(request)
        finally:
            with self._lock:
                self._workers.discard(threading.current_thread())

    def _begin(self) -> ControlRequest | None:
        """Take the first request whose asker has room for one more; without any, None, and this worker ends."""
        with self._lock:
            for request in self._waiting:
                asker, room = self._about(request).asker, _room_of(request)
                if room.takes(self._at_work[room], asker):
                    self._waiting.remove(request)
                    self._at_work[room][asker] += 1
                    return request
            self._workers.discard(threading.current_thread())
            return None

    def _do(self, request: ControlRequest) -> None:
        about = self._about(request)
        try:
            for each in self._handle(request):
                self._tell(about, each)
        except (GnjobsError, redis.RedisError, OSError) as problem:
            self._tell(about, step("refused", str(problem), final=True))
        except Exception as problem:  # noqa: BLE001 - what a record holds must not take a worker away
            self._tell(about, failed(problem))
        finally:
            with self._lock:
                self._askers.pop(about, None)
                self._at_work[_room_of(request)][about.asker] -= 1

    def _tell(self, about: _About, said: KillStep) -> None:
        with self._lock:
            askers = self._askers.get(about, [])
            told = self._askers.pop(about, []) if said.final else list(askers)
        for asker in told:
            self._answer(asker, said)

    def _about(self, request: ControlRequest) -> _About:
        """What is asked for by whom: what is done for a user reaches less than what is done for an admin.

        A kill with less grace does not wait for one with more; looks have none. A request about another run of the job,
        or to start something else, is not the same.
        """
        asker = proven_asker(self._keys, request)
        grace = 0.0 if request.force or request.kind != "kill" else request.grace
        return _About(asker, request.kind, request.job, request.child, request.force, grace, request.digest)


def _room_of(request: ControlRequest) -> _Room:
    if request.kind not in ("kill", "start"):
        return _LOOKING
    has_long_grace = request.kind == "kill" and not request.force and request.grace > DEFAULT_GRACE
    return _LONG_GRACE if has_long_grace else _AT_WORK
