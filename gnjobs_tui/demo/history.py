"""Writes what earlier days left: some hundred ended jobs of several types, users and hosts, as supervisors do."""

import json
import random
import uuid
from typing import Any, Final, NamedTuple

from gnjobs.health.states import DONE
from gnjobs.records.events import record_event
from gnjobs.records.fields import Job, read_job
from gnjobs.records.keys import child_ids
from gnjobs.records.statuses import ERROR, KILLED, LOST, SUCCESS
from gnjobs.store import JobStore
from gnjobs.text import DAY, HOUR, MINUTE, count_text, plural
from gnjobs_tui.demo.files import BAD_CELLS, STRAINS

JOBS: Final = 320
DAYS: Final = 9
HOSTS: Final = ("gn-web1", "gn-web2", "gn-db1")
_SEED: Final = 1865
_HOURS: Final = (7, 8, 9, 9, 10, 10, 11, 13, 14, 14, 15, 16, 17, 20, 23)


class Kind(NamedTuple):
    """A kind of job: how its jobs are called, how long they take (seconds, median), of how many children each has."""

    type: str
    user: str
    labels: tuple[str, ...]
    seconds: float
    children: int
    weight: int


KINDS: Final = (
    Kind("qc", "jsmith", ("QC average, {month}", "QC std error, {month}"), 11 * MINUTE, 3, 6),
    Kind("qc", "agunn", ("QC geno HS-rats {day}", "QC geno CC {day}"), 4 * MINUTE, 2, 4),
    Kind("insert", "mhall", ("insert pheno BXD-{day}", "insert pheno CC-{day}"), 38 * MINUTE, 0, 4),
    Kind("insert", "agunn", ("insert geno HS-rats {day}",), 70 * MINUTE, 0, 2),
    Kind("map", "plee", ("map eQTL liver {day}", "map eQTL brain {day}"), 95 * MINUTE, 0, 2),
    Kind("generic", "kmurphy", ("check links {day}", "rebuild index {day}"), 2 * MINUTE, 0, 3),
)
_ENDS: Final = {SUCCESS: 84, ERROR: 9, KILLED: 5, LOST: 2}
_ERRORS: Final = {
    "qc": "exit code 1: UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe9 in position 4711",
    "insert": "exit code 1: OperationalError: Lock wait timeout exceeded; try restarting transaction",
    "map": "killed by signal 9 (out of memory?)",
    "generic": "exit code 2: URLError: connection refused",
}
_WORDS: Final = {
    "qc": "all files checked",
    "insert": "inserted {rows} rows",
    "map": "mapped {number} traits",
    "generic": "{number} pages looked at",
}
_LOST: Final = "supervisor 4711 is gone, and nothing of it runs any more"


def write_history(store: JobStore, count: int = JOBS) -> None:
    """Write so many ended jobs of the last days, and the events of their ends."""
    chance = random.Random(_SEED)
    now = store.now()
    pipe = store.client.pipeline(transaction=False)
    ended = [_write_job(pipe, store, chance, now) for _ in range(count)]
    at = 0.0
    for job in sorted(ended, key=lambda job: job.finished or 0.0):
        at = max(job.finished or 0.0, at + 0.002)
        kind = {KILLED: "killed", ERROR: "failed", LOST: "lost"}.get(job.status or "", "ended")
        text = {SUCCESS: DONE.word, ERROR: f"failed: {job.error}"}.get(job.status or "", job.status or "")
        if job.faults:
            text += f", {plural(job.faults, 'fault')} in its data"
        record_event(pipe, store.keys, kind, job, text=text, by=job.stop_by, reason=job.stop_reason, at=at)
    pipe.execute()


def _write_job(pipe: Any, store: JobStore, chance: random.Random, now: float) -> Job:
    kind = chance.choices(KINDS, [kind.weight for kind in KINDS])[0]
    job_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    fields = _fields(kind, chance, now) | {"jobid": job_id}
    if kind.children:
        fields |= _write_children(pipe, store, job_id, kind, fields, chance)
    pipe.hset(store.keys.job(job_id), mapping=fields)
    pipe.zadd(store.keys.jobs, {job_id: fields["created"]})
    pipe.zadd(store.keys.users, {kind.user: fields["created"]}, gt=True)
    pipe.zadd(store.keys.user_jobs(kind.user), {job_id: fields["created"]})
    return read_job(job_id, {name.encode(): str(value).encode() for name, value in fields.items()})


def _fields(kind: Kind, chance: random.Random, now: float) -> dict[str, Any]:
    day = chance.randrange(DAYS)
    midnight = now - now % DAY - day * DAY
    created = min(
        midnight + (chance.choice(_HOURS) + chance.random()) * HOUR, now - chance.uniform(3, 9) * HOUR
    )
    started = created + min(chance.expovariate(1 / 6) + 0.4, 55)
    status = chance.choices(list(_ENDS), list(_ENDS.values()))[0]
    took = kind.seconds * chance.lognormvariate(0, 0.5) * (1 if status == SUCCESS else chance.random())
    finished = min(started + took, now - 20 * MINUTE)
    number = chance.randrange(1, 29)
    month = ("April", "May", "June", "July")[number % 4]
    fields: dict[str, Any] = {
        "job-type": kind.type,
        "user-id": kind.user,
        "label": chance.choice(kind.labels).format(month=month, day=f"{number:02d}"),
        "command": f"python3 -m scripts.{kind.type} /data/uploads/{number:02d}.zip",
        "status": status,
        "percent": 100 if status == SUCCESS else chance.randrange(5, 95),
        "created": f"{created:.3f}",
        "started": f"{started:.3f}",
        "finished": f"{finished:.3f}",
        "heartbeat": f"{finished:.3f}",
        "last-output": f"{finished:.3f}",
        "host": HOSTS[2] if kind.type == "insert" else chance.choice(HOSTS[:2]),
        "account": "www-data",
        "pid": chance.randrange(2000, 60000),
        "faults": 0,
        "lines": 0,
    }
    return fields | _end_fields(kind, status, finished, chance)


def _end_fields(kind: Kind, status: str, finished: float, chance: random.Random) -> dict[str, Any]:
    if status == KILLED:
        why = chance.choice(("runaway", "wrong file", "to be repeated", "blocks the database"))
        asked = {"stop-by": chance.choice(("tux", kind.user)), "stop-reason": why, "signal": 15}
        return asked | {"stop-requested": f"{finished - 1:.3f}"}
    if status == SUCCESS:
        number = chance.randrange(90, 2000)
        words = _WORDS[kind.type].format(number=number, rows=count_text(number * 1000))
        return {"exit-code": 0, "message": words}
    if status == LOST:
        return {"error": _LOST}
    return {"error": _ERRORS[kind.type]} | ({"signal": 9} if kind.type == "map" else {"exit-code": 1})


def _write_children(
    pipe: Any, store: JobStore, job_id: str, kind: Kind, job: dict[str, Any], chance: random.Random
) -> dict[str, Any]:
    """Write the children of a job, each with the faults that it found; returns what the job's record says of them."""
    labels = ["pheno_av.tsv", "geno_av.tsv", "covar_se.tsv"][: kind.children]
    faulty = job["status"] == SUCCESS and chance.random() < 0.4
    told: dict[str, Any] = {"children": len(labels)}
    total = 0
    for child_id, label in zip(child_ids(labels), labels, strict=True):
        faults = _faults(label, chance) if faulty and (not total or chance.random() < 0.3) else []
        total += len(faults)
        output = store.keys.child_output(job_id, child_id)
        told[f"child:{child_id}"] = output
        said = {
            name: job[name] for name in ("status", "percent", "started", "finished", "last-output", "pid")
        }
        pipe.hset(store.keys.child(job_id, child_id), mapping=said | {"label": label, "faults": len(faults)})
        lines = [*(("fault", fault) for fault in faults), ("log", _log(label, len(faults)))]
        for number, (line_kind, line) in enumerate(lines, start=1):
            at = int(float(job["finished"]) * 1000)
            pipe.xadd(output, {"at": at, "kind": line_kind, "data": json.dumps(line)}, id=f"{number}-0")
    counts = {"counts": {job["status"]: len(labels)}}
    return told | {"faults": total, "children-summary": json.dumps(counts)}


def _faults(file: str, chance: random.Random) -> list[dict[str, Any]]:
    found = []
    for row in sorted(chance.sample(range(2, 90_000), chance.randrange(1, 9))):
        column = chance.randrange(len(STRAINS))
        place = {
            "row": row,
            "row_title": f"row{row - 1}",
            "column": column + 2,
            "column_title": STRAINS[column],
        }
        expected = "exactly 3 decimals"
        found.append({"file": file, **place, "value": chance.choice(BAD_CELLS), "expected": expected})
    return found


def _log(file: str, faults: int) -> dict[str, str]:
    return {
        "level": "INFO",
        "logger": "gn.qc",
        "message": f"checked 90 000 rows of {file}, found {faults} faults",
    }
