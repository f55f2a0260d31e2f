"""A dashboard that watches a server through faults, and what its screen must show of what is in Redis."""

import re
import socket
import time
from collections.abc import Callable

import redis

from gnjobs.health.states import state_of
from gnjobs.records.keys import Keys
from tests.support.command import environment
from tests.support.mirror import add_job, rows_in
from tests.support.servers import Server
from tests.support.terminal import Terminal, gnjobs

KEYS = Keys()
COLUMNS, ROWS = 160, 50
JOBS = 24
ROW = re.compile(r"^[ >][ *]\s*\S (\w+)\s+(job-\S+)", re.MULTILINE)

Shown = dict[str, str]


def watch(url: str) -> Terminal:
    """Open the dashboard in a terminal on which all jobs have room."""
    return Terminal(gnjobs(), COLUMNS, ROWS, environment(url))


def fill(client: redis.Redis, version: str = "v1") -> None:
    """Write jobs, all of which have ended."""
    for number in range(JOBS):
        status = ("success", "error", "killed")[number % 3]
        add_job(client, f"j{number}", created=1e9 + number, status=status, label=f"job-{number}-{version}")


def change(client: redis.Redis, version: str) -> None:
    """What may happen while nobody watches: removed, changed, ended, new and unindexed jobs."""
    client.delete(KEYS.job("j1"), KEYS.job("j14"))
    for number in (0, 7, JOBS - 1):
        client.hset(KEYS.job(f"j{number}"), mapping={"status": "killed", "label": f"job-{number}-{version}"})
    add_job(client, f"new-{version}", created=1.1e9, label=f"job-new-{version}")
    add_job(client, f"uploaded-{version}", indexed=False, label=f"job-uploaded-{version}")


def send_by_hand(server: Server, command: str) -> bytes:
    """Send a command as a person does with nothing but a socket; the reply."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(4096)


def shown(text: str) -> Shown:
    """The jobs on a screen: the word for the state of each, by label."""
    return {label: word for word, label in ROW.findall(text)}


def stored(client: redis.Redis) -> Shown:
    """The same of what a fresh read finds."""
    return {row.label: state_of(row.status, "ok", row.faults).word for row in rows_in(client).values()}


def header(text: str) -> str:
    """The line that says how changes arrive."""
    return text.partition("\n")[0]


def wait_until_right(terminal: Terminal, client: redis.Redis, limit: float, how: str = "  live") -> float:
    """Wait until the screen shows exactly what is in Redis, and says how changes arrive; the seconds it took."""
    wanted, start = stored(client), time.monotonic()
    terminal.wait_for(lambda text: how in header(text) and shown(text) == wanted, limit)
    return time.monotonic() - start


def wait_until_away(terminal: Terminal, limit: float) -> float:
    """Wait until the header says that the server is away; the seconds it took."""
    start = time.monotonic()
    terminal.wait_for(lambda text: "AWAY since" in header(text), limit)
    return time.monotonic() - start


def restart(server: Server, meanwhile: Callable[[redis.Redis], None]) -> None:
    """Let a killed server with a journal return; before, things change where nobody sees it: on another port."""
    elsewhere = Server(server.directory, server.binary, server.options)
    try:
        with elsewhere.start().client() as client:
            meanwhile(client)
    finally:
        elsewhere.kill()
    server.start()


def kill_connections_one_by_one(client: redis.Redis, between: Callable[[str], None]) -> int:
    """Kill each connection but this client's, and call something after each; the number of them."""
    own = client.client_id()
    ids = [int(each["id"]) for each in client.client_list() if int(each["id"]) != own]
    for connection in ids:
        client.client_kill_filter(_id=str(connection))
        between(str(connection))
    return len(ids)
