"""Keys in one packet, as a slow line delivers them, beside the same keys typed slowly.

`python -m tests.end_to_end.typed_packets [--delay SECONDS]… [--at-once N] [SCREEN…]` tries every two and three of the
keys on every screen, in this process and a sample of them in a terminal, and says which lead elsewhere; the suite tries
a few.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import product
from math import inf
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

import redis

from gnjobs.records import requests
from gnjobs.records.actor import Actor, login_name
from gnjobs_tui.config import Config
from tests.support.command import environment
from tests.support.dashboard import dashboard
from tests.support.proxy import Proxy, running_proxy
from tests.support.servers import Server, running_server
from tests.support.stored_records import (
    KEYS,
    write_child,
    write_job,
    write_line,
    write_processes,
    write_running,
)
from tests.support.terminal import Terminal, gnjobs
from tests.support.typists import ENTER, ESC, QUIET, SCREENS, AppTypist, Place, Typist

TYPED = (ENTER, "j", "k", "K", ESC, "/")
DELAYS = (0.0, 0.3)
FOREVER = 86400
SEEN_EVERY = 10.0
USERS = ("anna", "bert")


class Difference(NamedTuple):
    """A packet that leads elsewhere than its keys do one by one."""

    delay: float
    keys: str
    slowly: Place
    at_once: Place


def write_jobs(server: Server) -> None:
    """Two users' running jobs with two children each, and one that has ended."""
    now = time.time()
    for number, user in enumerate(USERS):
        job = write_running(
            server, f"job-{user}", label=f"check of {user}", user_id=user, created=now - 50 - number
        )
        for child in ("first", "second"):
            write_child(server, job, child, label=f"{child} of {user}")
            for line in range(1, 4):
                write_line(server, KEYS.child_output(job, child), line, f"line {line}")
    write_job(server, "job-ended", label="ended", user_id="anna", created=now - 200, finished=now - 100)
    server.client().xadd(KEYS.events, {"kind": "done", "text": "done", "job": "job-ended"})


def write_more(server: Server) -> None:
    """Let the jobs have faults, more than one thing have happened, and no job be silent soon."""
    for number, user in enumerate(USERS):
        job = f"job-{user}"
        server.client().hset(KEYS.job(job), "stuck-after", FOREVER)
        server.client().xadd(KEYS.events, {"kind": "done", "text": f"event {number}", "job": job})
        for line, year in enumerate((1066, 1812), 4):
            fault = {"file": f"{user}.csv", "row": line, "value": str(year), "message": "no such year"}
            write_line(server, KEYS.child_output(job, "first"), line, json.dumps(fault), "fault")


@contextmanager
def supervisor(server: Server) -> Iterator[None]:
    """Do what the jobs' supervisors would: say which processes there are, and answer where these are looked at."""
    is_over = Event()

    def answer(client: redis.Redis) -> None:
        seen_at, last = -inf, "0-0"
        while not is_over.is_set():
            if time.monotonic() > seen_at + SEEN_EVERY:
                seen_at = time.monotonic()
                for user in USERS:
                    write_processes(server, f"job-{user}", 3)
            found: Any = client.xread({KEYS.admin_requests: last}, block=500)
            for entry_id, fields in found[0][1] if found else ():
                last = entry_id.decode()
                if asked := requests.read_request(KEYS.admin_requests, entry_id, fields):
                    told = requests.step("answered", "pid 48190: somewhere\n  in its code", final=True)
                    requests.answer(client, KEYS.answers(asked.job or ""), asked.id, told)

    write_more(server)
    answering = Thread(target=answer, args=(server.client(),))
    answering.start()
    try:
        yield
    finally:
        is_over.set()
        answering.join()


def packets(count: int) -> Iterator[str]:
    """Every so many keys."""
    return map("".join, product(TYPED, repeat=count))


ALL = tuple(keys for count in (2, 3) for keys in packets(count))


@asynccontextmanager
async def opened(server: Server, proxy: Proxy) -> AsyncIterator[AppTypist]:
    """Open the dashboard in this process, as whoever runs it would see it in a terminal."""
    actor = Actor.admin(login_name())
    async with dashboard(server, config=Config(url=proxy.url), actor=actor) as pilot:
        yield AppTypist(pilot.app)


async def slowly(typist: AppTypist, screen: str, tried: Sequence[str]) -> Mapping[str, Place]:
    """Where packets lead key by key; long ones tell of short ones with the same beginning."""
    known: dict[str, Place] = {}
    for keys in sorted(tried, key=len, reverse=True):
        if keys in known:
            continue
        await typist.go(screen)
        places = await typist.slowly(keys)
        known |= {keys[:length]: place for length, place in enumerate(places, 1)}
    return known


async def differing(
    typist: AppTypist, screen: str, proxy: Proxy, delays: Sequence[float], tried: Sequence[str] = ALL
) -> AsyncIterator[Difference]:
    """The packets that lead elsewhere than their keys do one by one; replies come late from the packet on."""
    known = await slowly(typist, screen, tried)
    print(f"{screen}: typed slowly", flush=True)
    for delay, keys in product(delays, tried):
        await typist.go(screen)
        proxy.delay = delay
        at_once = await typist.at_once(keys)
        proxy.delay = 0.0
        if at_once != known[keys]:
            yield Difference(delay, keys, known[keys], at_once)


async def differing_in_terminal(
    typist: AppTypist, hands: Typist, screen: str, proxy: Proxy, delays: Sequence[float], tried: Sequence[str]
) -> AsyncIterator[Difference]:
    """The packets after which a terminal shows something else than this process does."""
    for delay, keys in product(delays, tried):
        quiet = QUIET + 3 * delay
        await typist.go(screen)
        proxy.delay = delay
        await typist.at_once(keys)
        here = await typist.text_at_rest(quiet)
        proxy.delay = 0.0
        await asyncio.to_thread(hands.go, screen)
        proxy.delay = delay
        there = await asyncio.to_thread(hands.at_once, keys, here, quiet)
        proxy.delay = 0.0
        if there != here:
            yield Difference(delay, keys, here, there)


class Tried(NamedTuple):
    """How many packets were tried at a screen with a delay, and how many differed: in this process, in a terminal."""

    screen: str
    delay: float
    packets: int
    differ: int
    sample: int
    differ_in_terminal: int


def try_screen(screen: str, tried: Sequence[str], delays: Sequence[float], sample: int) -> list[Tried]:
    """Try all packets at one screen, and say which differ."""
    with (
        tempfile.TemporaryDirectory() as room,
        running_server(Path(room, "server")) as server,
        running_proxy(server.port) as proxy,
    ):
        write_jobs(server)
        with supervisor(server):
            return asyncio.run(_try_screen(screen, server, proxy, tried, delays, sample))


async def _try_screen(
    screen: str, server: Server, proxy: Proxy, tried: Sequence[str], delays: Sequence[float], sample: int
) -> list[Tried]:
    differ, in_terminal, began = dict.fromkeys(delays, 0), dict.fromkeys(delays, 0), time.monotonic()
    chosen = random.Random(screen).sample(ALL, min(sample, len(ALL)))
    async with opened(server, proxy) as typist:
        async for found in differing(typist, screen, proxy, delays, tried):
            _say(screen, found, "slowly", "at once")
            differ[found.delay] += 1
        print(f"{screen}: {differ} differ ({time.monotonic() - began:.0f} s)", flush=True)
        with Terminal(gnjobs(), 100, 30, environment(proxy.url)) as terminal:
            in_both = differing_in_terminal(typist, Typist(terminal), screen, proxy, delays, chosen)
            async for found in in_both:
                _say(screen, found, "in this process", "in a terminal")
                in_terminal[found.delay] += 1
    print(f"{screen}: {in_terminal} differ in a terminal ({time.monotonic() - began:.0f} s)", flush=True)
    return [Tried(screen, each, len(tried), differ[each], sample, in_terminal[each]) for each in delays]


def _say(screen: str, found: Difference, one: str, other: str) -> None:
    print(f"{screen} {found.keys!r} at {found.delay} s", flush=True)
    for where, place in ((one, found.slowly), (other, found.at_once)):
        print(f"  {where}:", *place, sep="\n    ", flush=True)


def main() -> None:
    """Try them all, say which differ, and how many of how many."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--delay", type=float, action="append", help="seconds that replies come late (0 and 0.3)"
    )
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="screens tried at the same time")
    parser.add_argument(
        "--sample", type=int, default=24, metavar="N", help="packets tried in a terminal as well"
    )
    parser.add_argument("--only-sample", action="store_true", help="try those packets alone")
    parser.add_argument("screens", nargs="*", metavar="SCREEN", help=", ".join(SCREENS))
    asked = parser.parse_args()
    screens, delays = asked.screens or list(SCREENS), asked.delay or DELAYS
    tries = partial(try_screen, tried=() if asked.only_sample else ALL, delays=delays, sample=asked.sample)
    with ProcessPoolExecutor(asked.at_once, get_context("spawn")) as pool:
        found = pool.map(tries, screens, chunksize=1)
        lines = [f"| {' | '.join(map(str, row))} |" for rows in found for row in rows]
    print(
        "| screen | delay | packets | differ | in a terminal | differ |",
        "|---|---|---|---|---|---|",
        sep="\n",
    )
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
