"""A process of its own that changes unfinished jobs steadily: `python -m tests.benchmarks.flood URL RATE SECONDS`."""

import random
import sys
import time

import redis

from gnjobs.keys import Keys

_STEP = 0.01


def flood(url: str, rate: int, seconds: float) -> None:
    """Write the progress of random unfinished jobs, as supervisors do."""
    keys, chance, client = Keys(), random.Random(1), redis.Redis.from_url(url)
    ids = [member.decode() for member in client.zrange(keys.unfinished, 0, -1)]
    start, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < seconds:
        pipe = client.pipeline(transaction=False)
        for _ in range(int(elapsed * rate) - sent):
            fields = {"percent": chance.randrange(100), "heartbeat": time.time(), "last-output": time.time()}
            pipe.hset(keys.job(chance.choice(ids)), mapping=fields)
            sent += 1
        pipe.execute()
        time.sleep(_STEP)


if __name__ == "__main__":
    flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
