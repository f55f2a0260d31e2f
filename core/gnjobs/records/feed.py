"""The connection on which Redis tells which keys changed, whoever changed them and however the server is configured.

One connection tracks and listens: a second one that tracked could die unnoticed.
"""

import select
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import redis

PING_EVERY = 10.0
PONG_WITHIN = 1.5
_CHANNEL = "__redis__:invalidate"
_MESSAGES_AT_ONCE = 500


class TrackingRefused(Exception):
    """The server does not tell us of changes: it is too old, or its ACL forbids it."""


class FeedDead(redis.ConnectionError):
    """Nothing came back for a PING."""


class ChangeFeed:
    """Names of changed keys as they are pushed; opened once, never again by itself, so that no gap goes unnoticed.

    It reports keys whose names begin with one of the `prefixes`, even those that the account may not read.
    """

    def __init__(
        self, client: redis.Redis, prefixes: Sequence[str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool: Any = client.connection_pool
        self._prefixes = _without_overlaps(prefixes)
        self._monotonic = monotonic
        self._connection: Any = None
        self._heard_at = 0.0
        self._pinged_at: float | None = None

    def open(self) -> None:
        """Connect, track and subscribe; raises `TrackingRefused` or what the connection raises."""
        connection = self._pool.connection_class(**self._pool.connection_kwargs)
        connection.connect()
        try:
            own_id = _ask(connection, "CLIENT", "ID")
            prefixes = [part for prefix in self._prefixes for part in ("PREFIX", prefix)]
            _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", *prefixes)
            _ask(connection, "SUBSCRIBE", _CHANNEL)
        except redis.ResponseError as error:
            connection.disconnect()
            raise TrackingRefused(str(error)) from error
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection
        self._heard_at, self._pinged_at = self._monotonic(), None

    def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def read(self, timeout: float, wake: Any) -> list[bytes | None]:
        """Wait for changed keys until they come, `wake` can be read, or the time is over (seconds).

        None among the names means that everything may have changed. Raises `FeedDead` and the connection's errors.
        """
        self._look_after()
        if not self._connection.can_read(0):
            limit = max(0.0, min(timeout, self._look_in()))
            select.select([self._connection._sock, wake], [], [], limit)
        names: list[bytes | None] = []
        for _ in range(_MESSAGES_AT_ONCE):
            if not self._connection.can_read(0):
                break
            self._connection._sock.count_anew()
            self._take(self._connection.read_response(), names)
        return names

    def catch_up(self) -> list[bytes | None]:
        """The keys changed by all that the server has done so far, as `read` gives them; not for use beside `read`."""
        token = uuid.uuid4().hex.encode()
        self._connection.send_command("PING", token, check_health=False)
        names: list[bytes | None] = []
        while (message := self._connection.read_response()) != [b"pong", token]:
            self._take(message, names)
        return names

    def _take(self, message: Any, names: list[bytes | None]) -> None:
        self._heard_at, self._pinged_at = self._monotonic(), None
        if isinstance(message, list) and message[0] == b"message":
            names += [None] if message[2] is None else message[2]

    def _look_in(self) -> float:
        due = self._heard_at + PING_EVERY if self._pinged_at is None else self._pinged_at + PONG_WITHIN
        return due - self._monotonic()

    def _look_after(self) -> None:
        if self._look_in() > 0 or self._connection.can_read(0):
            return
        if self._pinged_at is not None:
            raise FeedDead(f"no answer within {PONG_WITHIN} s")
        self._connection.send_command("PING", check_health=False)
        self._pinged_at = self._monotonic()


def _without_overlaps(prefixes: Sequence[str]) -> list[str]:
    """Leave out prefixes that begin with another one, which the server refuses; their keys are told all the same."""
    return [
        prefix
        for prefix in dict.fromkeys(prefixes)
        if not any(prefix != other and prefix.startswith(other) for other in prefixes)
    ]


def _ask(connection: Any, *command: str | int) -> Any:
    connection.send_command(*command, check_health=False)
    return connection.read_response()
