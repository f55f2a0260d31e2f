"""Records of jobs written straight into a server, for screens to show."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import redis

from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records.keys import CHILD_FIELD, Keys
from gnjobs.records.statuses import UNFINISHED_STATUSES
from gnjobs.records.values import encode_text
from tests.support.servers import Server

KEYS = Keys()


def put_job(
    client: redis.Redis, keys: Keys, job_id: str, fields: Mapping[str, Any], *, indexed: bool = True
) -> None:
    """Write a job's record, and where it is `indexed` its indexes; `fields` with `_` for `-`."""
    record = {name.replace("_", "-"): value for name, value in fields.items()}
    client.hset(keys.job(job_id), mapping=record)
    if indexed:
        client.zadd(keys.jobs, {job_id: record["created"]})
        if record["status"] in UNFINISHED_STATUSES:
            client.zadd(keys.unfinished, {job_id: record["created"]})
        if user := record.get("user-id"):
            client.zadd(keys.users, {user: record["created"]})
            client.zadd(keys.user_jobs(user), {job_id: record["created"]})


def write_job(server: Server, job_id: str, **fields: Any) -> str:
    """Write a job's record and indexes; `fields` with `_` for `-`."""
    usual = {"jobid": job_id, "status": "success", "job_type": "qc", "command": "true"}
    put_job(server.client(), KEYS, job_id, {"created": time.time() - 100, **usual, **fields})
    return job_id


def write_running(server: Server, job_id: str, **fields: Any) -> str:
    """Write a job that runs on another host and beats now."""
    now = time.time()
    running = {"status": "running", "started": now - 60, "heartbeat": now, "heartbeat-every": 3600}
    running |= {
        "last_output": now,
        "host": "gn-web1",
        "account": "www-data",
        "supervisor_pid": 48190,
        "cpu": 5,
    }
    return write_job(server, job_id, **(running | fields))


def write_child(server: Server, job_id: str, child_id: str, **fields: Any) -> None:
    """Write a child's hash and its field in the record."""
    client = server.client()
    client.hset(KEYS.job(job_id), f"{CHILD_FIELD}{child_id}", KEYS.child_output(job_id, child_id))
    client.hincrby(KEYS.job(job_id), "children", 1)
    child = {"status": "running", "label": child_id} | {k.replace("_", "-"): v for k, v in fields.items()}
    client.hset(KEYS.child(job_id, child_id), mapping=child)


def write_line(server: Server, key: str, number: int, text: str, kind: str = "out") -> None:
    """Write one numbered line."""
    fields = {"at": int(time.time() * 1000), "kind": kind, "data": encode_text(text)}
    server.client().xadd(key, fields, id=f"{number}-0")


def write_processes(server: Server, job_id: str, count: int, child: str | None = None) -> None:
    """Write what a supervisor saw of a job's processes."""
    seen = tuple(
        SeenProcess(
            48000 + n, n, child, command=f"python3 -m scripts.qc {n}", cpu=0.0, idle_since=time.time() - 3600
        )
        for n in range(count)
    )
    server.client().set(KEYS.processes(job_id), msgspec.json.encode(ProcessSnapshot(time.time(), seen)))
