"""The web side of a double of gn-uploader: makes jobs and starts their workers, exactly as it does today."""

import json
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import redis

HOME = Path(__file__).parent
JOBS_PREFIX = "gn-uploader:jobs"
EXPIRY = 86400


def create_job(
    client: redis.Redis, command: list[str], job_type: str, prefix: str = JOBS_PREFIX, **extra: str
) -> str:
    """Store a job's hash with the fields that gn-uploader writes, and its expiry; return its id."""
    job_id = str(uuid.uuid4())
    words = [job_id if word == "{job_id}" else word for word in command]
    fields = {
        "jobid": job_id,
        "command": shlex.join(words),
        "status": "pending",
        "percent": 0,
        "job-type": job_type,
    }
    client.hset(f"{prefix}:{job_id}", mapping=fields | extra)
    client.expire(f"{prefix}:{job_id}", EXPIRY)
    return job_id


def start_worker(url: str, job_id: str, log: Path, prefix: str = JOBS_PREFIX) -> subprocess.Popen[bytes]:
    """Start the job's worker with its stderr in a file."""
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "scripts.worker", url, prefix, job_id],
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )


def create_qc(client: redis.Redis, url: str, files: list[Path], seconds: float = 0.0, **extra: str) -> str:
    """Make a QC job over files; each worker of its pool stays `seconds` in the middle of its file."""
    arguments = json.dumps({"files": [str(path) for path in files], "seconds": seconds})
    command = [sys.executable, "-m", "scripts.qc", url, JOBS_PREFIX, "{job_id}", arguments]
    return create_job(client, command, "qc-rqtl2-bundle", **extra)
