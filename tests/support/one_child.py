"""A job with one child, as `allocate_children` leaves it, and what is stored of it."""

import redis

from gnjobs.outputs.lines import Line
from gnjobs.outputs.reader import OutputReader
from gnjobs.records.fields import Child, read_child
from gnjobs.records.keys import Keys

KEYS = Keys("p")
HASH = KEYS.child("job", "c1")
KEY = KEYS.child_output("job", "c1")


def prepare(client: redis.Redis) -> None:
    """What `allocate_children` leaves."""
    client.hset(KEYS.job("job"), mapping={"status": "running", "child:c1": KEY})
    client.hset(HASH, mapping={"status": "pending", "label": "a file"})


def state(client: redis.Redis) -> Child:
    return read_child("c1", client.hgetall(HASH))


def lines(client: redis.Redis) -> list[tuple[str, str]]:
    return [(item.kind, item.text) for item in OutputReader(client, KEY).iterate() if isinstance(item, Line)]
