"""Waiting for a Redis that is away, or may forget what it confirmed, for code that must not go on without it."""

import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.exceptions import ClusterDownError, MasterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError

Value = TypeVar("Value")

# How long a child's end is watched after it was stored: a journal that is synced every second may lose two.
LASTING_SECONDS = 2.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
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
    return isinstance(error, _PASSING_ERRORS) or said.startswith(_PASSING_WORDS)


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
