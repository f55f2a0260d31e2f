"""The worker of a double of gn-uploader: `python -m scripts.worker <redis-url> <prefix> <job-id>`."""

import os
import shlex
import subprocess
import sys
import time

import redis


def append(client: redis.Redis, key: str, field: str, text: str) -> None:
    """Append to a field by reading it whole and writing it back longer, as gn-uploader does."""
    client.hset(key, field, (client.hget(key, field) or b"") + text.encode())


def main() -> int:
    """Run one job's command, tell its status every second, and end with `success` or `error`."""
    url, prefix, job_id = sys.argv[1:4]
    client = redis.Redis.from_url(url, protocol=2)
    key = f"{prefix}:{job_id}"
    command = shlex.split((client.hget(key, "command") or b"").decode())
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.set_blocking(process.stdout.fileno(), False)
        while process.poll() is None:
            client.hset(key, "status", "running")
            append(client, key, "stdout", (process.stdout.read() or b"").decode())
            time.sleep(1)
        append(client, key, "stdout", (process.stdout.read() or b"").decode())
        client.hset(key, "stderr", process.stderr.read().decode())
        client.hset(key, "status", "success" if process.returncode == 0 else "error")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
