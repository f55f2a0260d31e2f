"""Waiting for a Redis that is away, for code that must not go on without it."""

import time
from collections.abc import Callable
from typing import TypeVar

import redis

Value = TypeVar("Value")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
# What a server says that will take the same command later.
_PASSING = ("LOADING", "READONLY", "OOM", "MISCONF", "BUSY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN")


def is_passing(error: redis.RedisError) -> bool:
    """Whether the same command may succeed later."""
    connection_trouble = isinstance(error, redis.ConnectionError | redis.TimeoutError)
    return connection_trouble or str(error).startswith(_PASSING)


def patiently(action: Callable[[], Value]) -> Value:
    """Do something in Redis, again and again while it is away; `action` must bear being repeated."""
    pause = _FIRST_PAUSE
    while True:
        try:
            return action()
        except redis.RedisError as error:
            if not is_passing(error):
                raise
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)
