"""Every key that a job or an index has, as each type that Redis knows: what somebody's mistake could leave."""

from collections.abc import Callable, Mapping, Sequence

import redis

from gnjobs.records.foreign import Part, part_key
from gnjobs.records.keys import CHILD_FIELD, Keys

KEYS = Keys()
USER, CHILD = "jsmith", "child"

TYPES: dict[str, Callable[[redis.Redis, str], object]] = {
    "string": lambda client, key: client.set(key, b"\xff not json \x1b]0;owned\x07"),
    "list": lambda client, key: client.rpush(key, b"one", b"\xff\x1b[2J", b"{}"),
    "set": lambda client, key: client.sadd(key, "member", "job-of-set"),
    "zset": lambda client, key: client.zadd(key, {"member": 1, b"\xff\x1b[2J": 2, "*": float("inf")}),
    "hash": lambda client, key: client.hset(
        key, mapping={"field": "value", b"\xff": b"\xff", "status": "odd"}
    ),
    "stream": lambda client, key: client.xadd(key, {"field": b"\xff\x1b[2J", "at": "NaN"}),
}

JOB_KEYS: dict[str, Callable[[str], str]] = {
    "record": KEYS.job,
    "output": KEYS.output,
    "processes": KEYS.processes,
    "control": KEYS.control,
    "child": lambda job_id: KEYS.child(job_id, CHILD),
    "child-output": lambda job_id: KEYS.child_output(job_id, CHILD),
    "foreign-errors": lambda job_id: part_key(KEYS, job_id, Part("geno", "errors", "f.tsv")),
    "foreign-logs": lambda job_id: part_key(KEYS, job_id, Part("geno", "logs", "f.tsv")),
    "foreign-metadata": lambda job_id: part_key(KEYS, job_id, Part("geno", "metadata", "f.tsv")),
}

# Each can be of a wrong type together with the others of its group: it hides nothing of them.
GROUPS: dict[str, list[str]] = {
    "record": ["record"],
    "ours": [name for name in JOB_KEYS if name != "record" and not name.startswith("foreign")],
    "foreign": [name for name in JOB_KEYS if name.startswith("foreign")],
}

INDEXES: dict[str, str] = {
    "jobs": KEYS.jobs,
    "unfinished": KEYS.unfinished,
    "users": KEYS.users,
    "user-jobs": KEYS.user_jobs(USER),
    "hosts": KEYS.hosts,
    "events": KEYS.events,
}


def job_with(client: redis.Redis, key_name: str, type_name: str) -> str:
    """Write a job that is right but for one key, which is of this type; return its id."""
    return job_with_all(client, f"{key_name}-as-{type_name}", {key_name: type_name})


def job_with_all(client: redis.Redis, job_id: str, types: Mapping[str, str]) -> str:
    """Write a job that is right but for some keys, each of which is of a type; return its id."""
    is_foreign = any(key_name.startswith("foreign") for key_name in types)
    fields = {"jobid": job_id, "status": "running", "command": "true", "label": job_id, "user-id": USER}
    if not is_foreign:
        fields |= {"created": "1700000000", "heartbeat": "1700000001", "host": "gn-web1"}
        fields[f"{CHILD_FIELD}{CHILD}"] = KEYS.child_output(job_id, CHILD)
        client.hset(KEYS.child(job_id, CHILD), mapping={"status": "running", "label": "a child"})
        client.zadd(KEYS.jobs, {job_id: 1700000000})
        client.zadd(KEYS.unfinished, {job_id: 1700000000})
    client.hset(KEYS.job(job_id), mapping=fields)
    for key_name, type_name in types.items():
        key = JOB_KEYS[key_name](job_id)
        client.delete(key)
        TYPES[type_name](client, key)
    return job_id


def shifted_types(key_names: Sequence[str], shift: int) -> dict[str, str]:
    """A type for each of some keys: over all shifts, each key is once of each type."""
    names = list(TYPES)
    return {key: names[(place + shift) % len(names)] for place, key in enumerate(key_names)}
