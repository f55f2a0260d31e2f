"""A server that is broken under a dashboard in a real terminal: how soon it says so, and how soon it is right again."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from tests.benchmarks.measure import Measurement, median, spread
from tests.support.servers import BINARIES, SYNCED, Server, running_server
from tests.support.terminal import Terminal
from tests.support.watched import (
    change,
    fill,
    kill_connections_one_by_one,
    restart,
    wait_until_away,
    wait_until_right,
    watch,
)

RUNS = 5
TIMEOUT, QUIET_FOR = 5, 16.0
LIMIT = 20.0
BUDGET, AWAY_BUDGET = 2.0, 12.0

Taken = list[float]


def _right_again(terminal: Terminal, client: redis.Redis) -> float:
    return wait_until_right(terminal, client, LIMIT)


def _restarted(server: Server, terminal: Terminal, client: redis.Redis) -> Taken:
    taken = []
    for run in range(RUNS):
        server.kill()
        wait_until_away(terminal, LIMIT)
        time.sleep(1.5)  # until it tries again at its longest interval
        restart(server, lambda other, run=run: change(other, f"r{run}"))
        taken.append(_right_again(terminal, client))
    return taken


def _flushed(server: Server, terminal: Terminal, client: redis.Redis) -> Taken:
    taken = []
    for run in range(RUNS):
        client.flushall()
        fill(client, f"f{run}")
        taken.append(_right_again(terminal, client))
    return taken


def _cut_off(server: Server, terminal: Terminal, client: redis.Redis) -> Taken:
    taken: Taken = []

    def check(number: str) -> None:
        change(client, f"c{number}")
        taken.append(_right_again(terminal, client))

    while len(taken) < RUNS:
        kill_connections_one_by_one(client, check)
    return taken


def _dropped(server: Server, terminal: Terminal, client: redis.Redis) -> Taken:
    """The server drops whoever is silent for less than the time between two pings."""
    client.config_set("timeout", TIMEOUT)
    before = terminal.raw.count(b"AWAY")
    time.sleep(QUIET_FOR)
    client.config_set("timeout", 0)
    change(client, "t")
    taken = [_right_again(terminal, client)]
    assert terminal.raw.count(b"AWAY") == before
    return taken


def _frozen(server: Server, terminal: Terminal, client: redis.Redis) -> tuple[float, float]:
    """Seconds until it is said, and until all is right after the server goes on."""
    server.send(signal.SIGSTOP)
    try:
        away = wait_until_away(terminal, LIMIT)
    finally:
        server.send(signal.SIGCONT)
    change(client, "z")
    return away, _right_again(terminal, client)


FAULTS: dict[str, Callable[[Server, Terminal, redis.Redis], Taken]] = {
    "server killed, changed and restarted": _restarted,
    "FLUSHALL and filled anew": _flushed,
    "a connection killed": _cut_off,
    f"{QUIET_FOR:.0f} s of silence, server's timeout {TIMEOUT} s": _dropped,
}


def measure(directory: Path) -> Iterator[Measurement]:
    """Break the server in each way; the screen must show all rows that a fresh read finds."""
    with running_server(directory, BINARIES["valkey"], *SYNCED) as server, server.client() as client:
        fill(client)
        with watch(server.url) as terminal:
            _right_again(terminal, client)
            for name, break_it in FAULTS.items():
                taken = break_it(server, terminal, client)
                yield Measurement(
                    name=f"{name} → screen right again",
                    value=median(taken),
                    unit="s",
                    spread=spread(taken),
                    budget=BUDGET,
                )
            away, again = _frozen(server, terminal, client)
            yield Measurement(
                name="server frozen → header says AWAY", value=away, unit="s", budget=AWAY_BUDGET
            )
            yield Measurement(
                name="frozen server goes on → screen right again", value=again, unit="s", budget=BUDGET
            )
