"""Records of jobs written straight into a server, for screens to show."""

import time
from typing import Any

import msgspec

from gnjobs.processes.seen import ProcessSnapshot, SeenProcess
from gnjobs.records.keys import CHILD_FIELD, Keys
from gnjobs.records.values import encode_text
from tests.support.servers import Server

KEYS = Keys()


def write_job(server: Server, job_id: str, *, unfinished: bool = False, **fields: Any) -> str:
    """Write a job's record and indexes; `fields` with `_` for `-`."""
    now = time.time()
    created = fields.get("created", now - 100)
    record = {"jobid": job_id, "status": "success", "job-type": "qc", "command": "true", "created": created}
    record |= {name.replace("_", "-"): value for name, value in fields.items()}
    client = server.client()
    client.hset(KEYS.job(job_id), mapping=record)
    client.zadd(KEYS.jobs, {job_id: created})
    if unfinished:
        client.zadd(KEYS.unfinished, {job_id: created})
    if user := fields.get("user_id"):
        client.zadd(KEYS.users, {user: created})
        client.zadd(KEYS.user_jobs(user), {job_id: created})
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
    return write_job(server, job_id, unfinished=True, **(running | fields))


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
