"""Connections to Redis with everything explicit: protocol, decoding, timeouts, retries."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
from redis.retry import Retry

from gnjobs.records import values
from gnjobs.records.backoff import Backoff
from gnjobs.records.bounded import Slowness
from gnjobs.records.servers import greet, is_refusal, make_pool

REPLY_TIMEOUT = 5.0
CONNECT_TIMEOUT = 3.0


def connect(
    url: str,
    *,
    reply_timeout: float | None = REPLY_TIMEOUT,
    retries: int = 2,
    slowness: Slowness | None = None,
    **options: Any,
) -> redis.Redis:
    """Make a client for any URL that `gnjobs.records.servers` describes; connects at the first command.

    Replies are bytes (RESP2, nothing decoded), since what is stored may not be UTF-8. `reply_timeout` (seconds)
    must exceed the block time of blocking reads. `retries=0` never sends a command twice. A `slowness` bounds
    the wait for slow replies; a command that got no answer in time is then not sent again. Raises a `ValueError` of one
    line for a URL that can't be used.
    """
    lost: tuple[type[Exception], ...] = (redis.ConnectionError,)
    repeated = lost if slowness is not None else (*lost, redis.TimeoutError, TimeoutError)
    defaults = {
        "socket_timeout": reply_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 0,
        "redis_connect_func": partial(greet, slowness=slowness),
        # CLIENT SETINFO would stand in the ACL LOG of every server from Redis 7.2 on.
        "driver_info": None,
        "protocol": 2,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.02), retries, repeated),
    }
    return redis.Redis.from_pool(make_pool(url, **defaults | options))


def lets_anybody_in(url: str) -> bool:
    """Whether the server obeys a client without name and password; False where it does not answer."""
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query) if pair[0] not in ("username", "password")]
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query=urlencode(query)).geturl()
    try:
        with connect(bare, reply_timeout=CONNECT_TIMEOUT, retries=0) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):
        return False


class CountedConnection:
    """A client over one connection at a time that counts its connections, for one thread at a time.

    redis-py replaces a lost connection silently, but a server that was away may have forgotten what it confirmed.
    """

    def __init__(self, url: str) -> None:
        self.number = 0
        self.client = connect(url, retries=0, max_connections=1, redis_connect_func=self._connected)

    def _connected(self, connection: Any) -> None:
        greet(connection)
        self.number += 1

    def drop(self) -> None:
        """Let the connection go; the next command makes another."""
        self.client.connection_pool.disconnect()
        self.client.connection_pool.reset()  # or one that could not be made would count as made for ever


def is_wrong_type(error: object) -> bool:
    """Whether this is how the server says that a key holds something of another type."""
    return isinstance(error, redis.ResponseError) and "WRONGTYPE" in str(error)  # a script's begins otherwise


def server_time(client: redis.Redis) -> float:
    """The server's time in unix seconds; raises `InvalidResponse` for what is none."""
    return time_of(client.time())


def time_of(reply: Any) -> float:
    """The time in a reply to TIME; raises as `server_time`."""
    seconds, microseconds = reply
    if not 0 <= seconds <= values.LATEST_TIME:
        raise InvalidResponse("it tells a time that no server has")
    return float(seconds) + float(microseconds) / 1_000_000


@contextmanager
def passing_over_other_types() -> Iterator[None]:
    """Go on where a key holds something of another type, which is somebody else's; other errors are raised."""
    try:
        yield
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise


def read_or_none(command: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Run one read command; None where the key is of another type."""
    try:
        return command(*arguments, **options)
    except redis.ResponseError as error:
        return readable(error)


def readable(reply: Any) -> Any:
    """Return one reply of a pipeline, None where its key is of another type; any other error in it is raised."""
    if is_wrong_type(reply):
        return None
    if isinstance(reply, Exception):
        raise reply
    return reply


def replies_of(pipe: Any) -> list[Any]:
    """Execute a pipeline: its replies, None for a key of another type; any other error in it is raised."""
    return [readable(reply) for reply in pipe.execute(raise_on_error=False)]


@contextmanager
def as_far_as_possible() -> Iterator[None]:
    """Ignore errors that would come again, as of data that somebody wrote; those that may pass are raised."""
    try:
        yield
    except redis.RedisError as error:
        if is_passing(error) or is_refusal(error):
            raise


Result = TypeVar("Result")

# What a server says that will take the same command later: redis-py makes classes of some of it, without the word.
_PASSING_ERRORS = (
    redis.ConnectionError,
    redis.TimeoutError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,
    MasterDownError,
    TryAgainError,
)
_IN_PIPELINE = " of pipeline caused error: "  # before it redis-py names the command
_PASSING_WORDS = ("LOADING", "READONLY", "OOM", "MISCONF", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS")


def is_passing(error: redis.RedisError) -> bool:
    """Whether the same command may succeed later."""
    said = str(error).rpartition(_IN_PIPELINE)[2]
    return not is_refusal(error) and (isinstance(error, _PASSING_ERRORS) or said.startswith(_PASSING_WORDS))


def patiently(action: Callable[[], Result], limit: float = math.inf) -> Result:
    """Do something in Redis, again and again while it is away; `action` must bear being repeated.

    Errors that will stay are raised at once, any other after `limit` seconds.
    """
    backoff, until = Backoff(), time.monotonic() + limit
    while True:
        try:
            return action()
        except redis.RedisError as error:
            if not is_passing(error) or time.monotonic() >= until:
                raise
        time.sleep(backoff.failed())
