"""Doubles of GeneNetwork2, GeneNetwork3 and gn-auth: records in Redis as their code was seen to write them.

What they write is a format; none of their code is here. Each function returns the id by which gnjobs knows the job.
"""

import json
import shlex
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import redis

Client = redis.Redis


def gn2_job(client: Client, command: list[str], **later: str) -> str:
    """A job of GN2, queued, with the fields that it has by now."""
    job_id = str(uuid.uuid4())
    first = {"job_id": job_id, "command": shlex.join(command), "status": "queued"}
    received = datetime.now(UTC).replace(tzinfo=None).isoformat()
    client.hset(f"gn2:jobs:{job_id}", mapping=first | {"request_received_time": received} | later)
    return job_id


def gn2_ended(client: Client, exit_code: int, stdout: str = "", stderr: str = "") -> str:
    """A job of GN2 that has ended."""
    ending = "error" if exit_code else "success"
    said = {"stdout": stdout, "stderr": stderr, "completion-status": ending, "return-code": str(exit_code)}
    return gn2_job(client, ["/gnu/store/python3", "-m", "gn2.scripts.x"], status="completed", **said)


def gn2_completed(record: dict[str, str]) -> str | None:
    """What GN2's page takes a record for: `success`, `error`, or None while it goes on waiting."""
    return record.get("completion-status") if record.get("status") == "completed" else None


def gn3_command(client: Client, command: str | list[str], email: str = "", **later: str) -> str:
    """A command that GN3 or gn-auth queued."""
    job_id = f"{datetime.now():%Y-%m-%d%H-%M%S-%M%S-}{uuid.uuid4()}"
    fields = {"cmd": json.dumps(command), "result": "", "status": "queued"} | (
        {"email": email} if email else {}
    )
    client.hset(f"cmd::{job_id}", mapping=fields | later)
    return job_id


def json_job(client: Client, namespace: str, **fields: Any) -> str:
    """A job of GN3 or gn-auth, each of whose values is JSON."""
    job_id = str(uuid.uuid4())
    known = {
        "command": ["python3", "-m", "scripts.search_phenotypes", "mouse", "liver", job_id],
        "job_id": {"__type": "UUID", "__value": job_id},
        "created": {"__type": "DATETIME", "__value": datetime.now().isoformat()},
        "status": "queued",
    }
    stored = {name: json.dumps(value) for name, value in (known | fields).items()}
    client.hset(f"{namespace}::{job_id}", mapping=stored)
    return job_id


# A worker that runs one command as its child, as `sheepdog.worker` does, whose name stands among its arguments.
_WORKER = "import subprocess, sys; subprocess.run(eval(sys.argv[-1]))"


def start_command_worker(command: list[str]) -> "subprocess.Popen[bytes]":
    """Start what runs a queued command."""
    words = [sys.executable, "-c", _WORKER, "-m", "sheepdog.worker", "--queue-name", "q", repr(command)]
    return subprocess.Popen(words, start_new_session=True)
