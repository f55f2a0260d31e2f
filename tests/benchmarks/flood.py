"""A process of its own that changes jobs at a rate, until its input ends: `flood URL RATE`."""

import select
import sys
import time

import redis

from gnjobs.records.keys import Keys
from tests.support.population import ordered_ids

CHANGED_JOBS = 2000


def main(url: str, rate: float) -> None:
    """Write to the unfinished jobs and the newest in turn; none of it changes their order."""
    client, keys = redis.Redis.from_url(url, protocol=2), Keys()
    names = [keys.job(job_id) for job_id in ordered_ids(client, CHANGED_JOBS)]
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    start, number = time.perf_counter(), 0
    while not select.select([sys.stdin], [], [], max(0.0, start + number / rate - time.perf_counter()))[0]:
        changed = {
            "percent": 1 + number % 99,
            "cpu": number % 97,
            "message": f"row {number}",
            "lines": number,
        }
        client.hset(names[number * 7 % len(names)], mapping=changed)
        number += 1
    seconds = time.perf_counter() - start
    sys.stdout.write(f"{number / seconds}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
