"""Jobs by the thousand, written straight into a server as finished supervisors would have left them."""

import random
import time
import uuid

import redis

from gnjobs.records.keys import Keys
from gnjobs.records.statuses import ERROR, KILLED, RUNNING, SUCCESS
from tests.support.servers import Server

USERS = ("jsmith", "agunn", "mhall", "tux", "kmurphy", "plee")
TYPES = ("qc", "insert", "generic")
_CHUNK = 2000
UNFINISHED_PER_MILLE = 2


def populate(server: Server, count: int, *, seed: int = 1, keys: Keys | None = None) -> str:
    """Write `count` jobs with their indexes; return the label of the newest, which is running."""
    names = keys or Keys()
    chance = random.Random(seed)
    now = time.time()
    client = server.client()
    label = ""
    for start in range(0, count, _CHUNK):
        pipe = client.pipeline(transaction=False)
        for number in range(start, min(count, start + _CHUNK)):
            created = now - (count - number) * 10
            running = number == count - 1 or chance.randrange(1000) < UNFINISHED_PER_MILLE
            label = f"QC of file {number}"
            job_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            user = chance.choice(USERS)
            status = RUNNING if running else chance.choices((SUCCESS, ERROR, KILLED), (90, 8, 2))[0]
            fields = {
                "jobid": job_id,
                "command": f"python3 -m scripts.qc /data/file-{number}.zip",
                "status": status,
                "percent": chance.randrange(100) if running else 100,
                "job-type": chance.choice(TYPES),
                "user-id": user,
                "label": label,
                "created": created,
                "started": created + 1,
                "heartbeat": now if running else created + 60,
                # Nobody beats: so they stay as they are.
                "heartbeat-every": 86_400,
                "last-output": now if running else created + 59,
                "host": "gn-web1",
                "account": "www-data",
                "pid": 1000 + number % 60000,
                "cpu": chance.randrange(100),
                "rss": chance.randrange(10**9),
                "lines": chance.randrange(10**6),
            }
            if not running:
                fields |= {"finished": created + 60, "exit-code": 0 if status == SUCCESS else 1}
            pipe.hset(names.job(job_id), mapping=fields)
            pipe.zadd(names.jobs, {job_id: created})
            pipe.zadd(names.users, {user: created})
            pipe.zadd(names.user_jobs(user), {job_id: created})
            if running:
                pipe.zadd(names.unfinished, {job_id: created})
        pipe.execute()
    client.close()
    return label


def ordered_ids(client: redis.Redis, count: int, keys: Keys | None = None) -> list[str]:
    """The ids of the first `count` jobs in the default order, as long as none is troubled."""
    names = keys or Keys()
    unfinished = [member.decode() for member in client.zrevrange(names.unfinished, 0, count - 1)]
    newest = [member.decode() for member in client.zrevrange(names.jobs, 0, count + len(unfinished))]
    known = set(unfinished)
    return (unfinished + [job_id for job_id in newest if job_id not in known])[:count]


def start_running(client: redis.Redis, count: int, keys: Keys | None = None) -> list[str]:
    """Write so many running jobs, the newest of all; return their ids, the newest first."""
    names, now = keys or Keys(), time.time()
    ids = [f"running-{number:03}" for number in range(count)]
    pipe = client.pipeline(transaction=False)
    for number, job_id in enumerate(ids):
        created = now - number / 1000
        fields = {"jobid": job_id, "status": RUNNING, "label": f"started {number}", "created": created}
        fields |= {"started": now, "heartbeat": now, "heartbeat-every": 5, "last-output": now, "percent": 1}
        pipe.hset(names.job(job_id), mapping=fields)
        pipe.zadd(names.jobs, {job_id: created})
        pipe.zadd(names.unfinished, {job_id: created})
    pipe.execute()
    return ids


def finish_all(client: redis.Redis, keys: Keys | None = None) -> None:
    """End every job that is unfinished, with success."""
    names, now = keys or Keys(), time.time()
    ids = [member.decode() for member in client.zrange(names.unfinished, 0, -1)]
    for start in range(0, len(ids), _CHUNK):
        pipe = client.pipeline(transaction=False)
        for job_id in ids[start : start + _CHUNK]:
            pipe.hset(names.job(job_id), mapping={"status": SUCCESS, "finished": now})
            pipe.zrem(names.unfinished, job_id)
        pipe.execute()
