"""Tidying of indexes: what creators and agents remove of jobs that are gone, a bounded amount each time."""

from collections.abc import Collection
from typing import Any, Final

import redis

from gnjobs.records import values
from gnjobs.records.connection import is_wrong_type, readable
from gnjobs.records.keys import Keys, is_id
from gnjobs.records.lifetimes import MONTH
from gnjobs.records.statuses import FINAL_STATUSES

_OLDEST: Final = 50
_RANDOM: Final = 50
_FINAL: Final = frozenset(status.encode() for status in FINAL_STATUSES)


def tidy(client: redis.Redis, keys: Keys, user: str | None = None) -> None:
    """Look at some entries of each index, and of one user's, and remove those whose record is gone.

    Some are the oldest, some taken at random, so that old jobs that are kept for long hide nothing.
    """
    _tidy_index(client, keys, keys.jobs)
    _tidy_index(client, keys, keys.unfinished, also=_FINAL)
    users = [user] if user is not None and is_id(user) else []
    for each in dict.fromkeys([*users, *_some_users(client, keys)]):
        _tidy_index(client, keys, keys.user_jobs(each))
    _tidy_users(client, keys)


def _some_users(client: redis.Redis, keys: Keys) -> list[str]:
    found = [values.text(member) or "" for member in _some(client, keys.users, oldest=1, random=1)]
    return [user for user in found if is_id(user)]


def _some(
    client: redis.Redis, index: str, *, oldest: int = _OLDEST, random: int = _RANDOM
) -> Collection[bytes]:
    pipe = client.pipeline(transaction=False)
    pipe.zrange(index, 0, oldest - 1)
    pipe.zrandmember(index, random)
    replies = [readable(reply) or () for reply in pipe.execute(raise_on_error=False)]
    return dict.fromkeys(member for reply in replies for member in reply)


def _tidy_index(client: redis.Redis, keys: Keys, index: str, also: frozenset[bytes] = frozenset()) -> None:
    """Remove entries that name no record, or one whose status is among `also`."""
    members = _some(client, index)
    named = {member: job_id for member in members if is_id(job_id := values.text(member) or "")}
    pipe = client.pipeline(transaction=False)
    for job_id in named.values():
        pipe.exists(keys.job(job_id))
        pipe.hget(keys.job(job_id), "status")
    replies = [readable(reply) for reply in pipe.execute(raise_on_error=False)]
    kept = {
        member
        for member, exists, status in zip(named, replies[::2], replies[1::2], strict=True)
        if exists and status not in also
    }
    gone = [member for member in members if member not in kept]
    if gone:
        client.zrem(index, *gone)


def _tidy_users(client: redis.Redis, keys: Keys) -> None:
    """Remove users who created nothing for a month and of whose jobs no index is left."""
    seconds, _ = client.time()
    try:
        found: Any = client.zrangebyscore(keys.users, "-inf", seconds - MONTH, 0, _OLDEST)
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
        return
    named = {member: user for member in found if is_id(user := values.text(member) or "")}
    pipe = client.pipeline(transaction=False)
    for user in named.values():
        pipe.exists(keys.user_jobs(user))
    has_jobs = dict(zip(named, pipe.execute(), strict=True))
    gone = [member for member in found if not has_jobs.get(member)]
    if gone:
        client.zrem(keys.users, *gone)
