"""What is asked of a supervisor or an agent, done beside its other work and shared out among those who ask."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

import redis

from gnjobs.errors import GnjobsError
from gnjobs.records.keys import Keys
from gnjobs.records.requests import ControlRequest, KillStep, step, user_asking
from gnjobs.text import safe_line

_AT_ONCE, _MOST_WAITING = 8, 1000
_AT_ONCE_OF_USERS, _MOST_OF_USERS = 6, 900  # the rest is left to admins
_AT_ONCE_OF_ONE, _MOST_OF_ONE = 2, 100
_LONGEST_PROBLEM = 200

About = tuple[str | None, str, str | None, str | None, bool]


class RequestPool:
    """Does what is asked beside other work: some requests at a time, equal ones at once, and not without a bound.

    `handle` does one and yields its steps, which `answer` tells everybody who asked for the same. No user, nor all of
    them together, keeps admins waiting: both have a share, in what is done at a time and in what waits.
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
        self._askers: dict[About, list[ControlRequest]] = {}
        self._waiting: deque[ControlRequest] = deque()
        self._at_work: Counter[str | None] = Counter()
        self._workers: set[threading.Thread] = set()

    def take(self, request: ControlRequest) -> None:
        """Do what is asked soon, or tell who asks that it is too much."""
        about = self._about(request)
        with self._lock:
            if (askers := self._askers.get(about)) is not None:
                askers.append(request)
                return
            asked = Counter(user for user, *_ in self._askers)
            if is_taken := _has_room(asked, about[0], _MOST_WAITING, _MOST_OF_USERS, _MOST_OF_ONE):
                self._askers[about] = [request]
                self._waiting.append(request)
                if len(self._workers) < _AT_ONCE:
                    worker = threading.Thread(target=self._work, name="requests", daemon=True)
                    self._workers.add(worker)
                    worker.start()
        if not is_taken:
            self._answer(request, step("refused", "too much is being asked; ask again later", final=True))

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
        """Take the first that waits and whose asker has not too much done already; None, and no worker, without any."""
        with self._lock:
            for request in self._waiting:
                user = self._about(request)[0]
                if _has_room(self._at_work, user, _AT_ONCE, _AT_ONCE_OF_USERS, _AT_ONCE_OF_ONE):
                    self._waiting.remove(request)
                    self._at_work[user] += 1
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
            text = safe_line(f"it failed: {type(problem).__name__}: {problem}"[:_LONGEST_PROBLEM])
            self._tell(about, step("refused", text, final=True))
        finally:
            with self._lock:
                self._askers.pop(about, None)
                self._at_work[about[0]] -= 1

    def _tell(self, about: About, step: KillStep) -> None:
        with self._lock:
            askers = self._askers.get(about, [])
            told = self._askers.pop(about, []) if step.final else list(askers)
        for asker in told:
            self._answer(asker, step)

    def _about(self, request: ControlRequest) -> About:
        """What is asked for by whom: what is done for a user reaches less than what is done for an admin."""
        user = user_asking(self._keys, request)
        return user, request.kind, request.job, request.child, request.force


def _has_room(counts: Counter[str | None], user: str | None, most: int, of_users: int, of_one: int) -> bool:
    """Whether there may be one more of a user's, or of an admin's (None)."""
    total = counts.total()
    if user is None:
        return total < most
    return total < most and total - counts[None] < of_users and counts[user] < of_one
