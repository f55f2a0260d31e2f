"""Users with counts of their jobs by status."""

from collections import Counter
from typing import Any, Final, NamedTuple

import redis

from gnjobs.records import values
from gnjobs.records.connection import is_wrong_type, readable
from gnjobs.records.indexes import read_index
from gnjobs.records.keys import Keys, is_id

MOST_COUNTED: Final = 1000
UNKNOWN: Final = "unknown"


class UserSummary(NamedTuple):
    """A user, how many of her newest 1000 jobs have which status, and when the newest was created (unix seconds)."""

    user: str
    counts: dict[str, int]
    newest: float | None


def count_users(client: redis.Redis, keys: Keys) -> list[UserSummary]:
    """Count the newest 1000 jobs of every user who has any, the user with the newest job first."""
    try:
        found: Any = client.zrevrange(keys.users, 0, -1, withscores=True)
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
        return []
    named = [(values.text(member) or "", values.seconds(str(score))) for member, score in found]
    counted = (UserSummary(user, _count(client, keys, user), newest) for user, newest in named if is_id(user))
    return [summary for summary in counted if summary.counts]


def _count(client: redis.Redis, keys: Keys, user: str) -> dict[str, int]:
    pipe = client.pipeline(transaction=False)
    for entry in read_index(client, keys.user_jobs(user), None, MOST_COUNTED):
        pipe.exists(keys.job(entry.job_id))
        pipe.hget(keys.job(entry.job_id), "status")
    replies = [readable(reply) for reply in pipe.execute(raise_on_error=False)]
    listed = zip(replies[::2], replies[1::2], strict=True)
    return dict(Counter(values.text(status) or UNKNOWN for exists, status in listed if exists))
