"""Watching N jobs: loading them all, memory, how soon a change is there, and what it costs when nothing happens."""

import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import redis

from gnjobs.records.keys import Keys
from gnjobs.watch.catalogue import Catalogue
from gnjobs.watch.judge import Judge
from gnjobs.watch.rows import Change
from gnjobs.watch.watcher import Watcher
from tests.benchmarks.catalogue_process import Loaded
from tests.benchmarks.measure import Measurement, median, percentile, spread
from tests.support.command import environment
from tests.support.population import populate
from tests.support.servers import Server, running_server
from tests.support.terminal import gnjobs

LOADS = 3
# A line a job has seven values, in the other two forms 26, of which each is made and masked.
LISTED = {("ls",): 6.0, ("ls", "--tsv"): 12.0, ("ls", "--json"): 12.0}
SINGLE_CHANGES, EXPIRIES = 100, 30
FLOOD_SECONDS, FLOOD_RATE = 5.0, 1000
BEATING_JOBS, BEAT_SECONDS, BEATING_FOR = 100, 5.0, 5.0
SETTLE_SECONDS, IDLE_SECONDS = 0.5, 20.0
A_MILLION = 1_000_000
KEYS = Keys()


def _load(mode: str, url: str) -> Loaded:
    command = [sys.executable, "-m", "tests.benchmarks.catalogue_process", mode, url]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Loaded)


def _list_all(url: str, words: tuple[str, ...]) -> float:
    """Seconds that it takes to print everything into a pipe."""
    start = time.perf_counter()
    with subprocess.Popen(gnjobs(*words), env=environment(url), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.read(2**20):
            pass
    assert process.returncode == 0
    return time.perf_counter() - start


def _loading(url: str, jobs: int) -> Iterator[Measurement]:
    raw, loads = [], []
    lists: dict[tuple[str, ...], list[float]] = {words: [] for words in LISTED}
    is_many = jobs >= A_MILLION
    for _ in range(LOADS):  # in turn, so that what else the machine does slows all
        raw.append(_load("raw", url).seconds)
        loads.append(_load("watcher", url))
        for words, taken in lists.items():
            taken.append(_list_all(url, words))
    seconds = [load.seconds for load in loads]
    for name, taken, most in (
        ("whole catalogue loaded", seconds, 4.0),
        *(
            # Of fewer jobs it would be the program's start that is measured.
            (f"gnjobs {' '.join(words)} of everything, into a pipe", lists[words], most if is_many else None)
            for words, most in LISTED.items()
        ),
    ):
        yield Measurement(
            name=f"{name}, N = {jobs}",
            value=median(taken),
            unit="s",
            spread=spread(taken),
            reference_name="ten fields by HMGET put together once",
            reference=median(raw),
            budget=most,
        )
    budget = 600.0 if is_many else None
    for name, sizes in (
        ("memory without a screen", [load.rss for load in loads]),
        ("most memory ever, columns sorted and all read anew", [load.peak for load in loads]),
    ):
        megabytes = [size / 1e6 for size in sizes]
        yield Measurement(name=f"{name}, N = {jobs}", value=median(megabytes), unit="MB", budget=budget)
    for name, values in (
        ("first rows in the catalogue", [load.first_rows for load in loads]),
        ("longest batch applied", [load.longest_apply for load in loads]),
        ("all filtered by text", [load.filter_seconds for load in loads]),
        ("longest step of the filter", [load.longest_step for load in loads]),
        ("all sorted by the slowest of three columns", [load.sort_seconds for load in loads]),
    ):
        yield Measurement(name=f"{name}, N = {jobs}", value=median(values), unit="s", spread=spread(values))


class _Watched:
    """A catalogue that is kept right by a thread, with the moment when each label came into it, or a key went."""

    def __init__(self, url: str) -> None:
        self._changes: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self.arrived: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.loaded = threading.Event()
        self.batches = 0
        self.watcher = Watcher(url, self._changes.put)
        self.catalogue = Catalogue(Judge(), self.watcher.now)
        self._thread = threading.Thread(target=self._apply)

    def __enter__(self) -> "_Watched":
        self._thread.start()
        self.watcher.start()
        assert self.loaded.wait(600)
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop(5)
        self._changes.put(None)
        self._thread.join()

    def _apply(self) -> None:
        while (change := self._changes.get()) is not None:
            self.catalogue.apply(change)
            now = time.perf_counter()
            if self.loaded.is_set():
                self.batches += bool(change.rows)
                self.arrived.update({row.label: now for row in change.rows})
                self.gone.update(dict.fromkeys(change.removed, now))
            if change.progress == 1.0:
                self.loaded.set()

    def wait_for(self, label: str) -> float:
        return _when(self.arrived, label)

    def wait_until_gone(self, key: str) -> float:
        return _when(self.gone, key)


def _when(moments: dict[str, float], name: str) -> float:
    deadline = time.perf_counter() + 10
    while name not in moments:
        assert time.perf_counter() < deadline, name
        time.sleep(0.0005)
    return moments[name]


def _single_changes(client: redis.Redis, watched: _Watched, key: str) -> list[float]:
    latencies = []
    for number in range(SINGLE_CHANGES):
        label = f"single {number}"
        sent = time.perf_counter()
        client.hset(key, "label", label)
        latencies.append(watched.wait_for(label) - sent)
        time.sleep(0.12)
    return latencies


def _by_hand(server: Server, watched: _Watched, key: str) -> list[float]:
    """Changes by somebody who has a socket and no library."""
    latencies = []
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        for number in range(SINGLE_CHANGES):
            label = f"by-hand-{number}"
            sent = time.perf_counter()
            connection.sendall(f"HSET {key} label {label}\r\n".encode())
            latencies.append(watched.wait_for(label) - sent)
            connection.recv(64)
            time.sleep(0.12)
    return latencies


def _expiring(client: redis.Redis, watched: _Watched) -> list[float]:
    """From the server's own notice of a key that expired until its row is gone."""
    client.config_set("notify-keyspace-events", "Ex")
    latencies = []
    with client.pubsub(ignore_subscribe_messages=True) as notices:
        notices.subscribe("__keyevent@0__:expired")
        for number in range(EXPIRIES):
            job_id = f"expiring-{number}"
            client.hset(KEYS.job(job_id), mapping={"status": "success", "label": job_id})
            watched.wait_for(job_id)
            client.pexpire(KEYS.job(job_id), 250)
            while (notice := notices.get_message(timeout=10)) is None:
                pass
            noticed = time.perf_counter()
            assert notice["data"] == KEYS.job(job_id).encode()
            latencies.append(watched.wait_until_gone(job_id) - noticed)
    client.config_set("notify-keyspace-events", "")
    return latencies


def _flood(client: redis.Redis, watched: _Watched, keys: list[str]) -> list[float]:
    sent: dict[str, float] = {}
    start = time.perf_counter()
    for number in range(int(FLOOD_SECONDS * FLOOD_RATE)):
        due = start + number / FLOOD_RATE
        if (early := due - time.perf_counter()) > 0.001:
            time.sleep(early)
        label = f"flood {number}"
        sent[label] = time.perf_counter()
        client.hset(keys[number % len(keys)], "label", label)
    watched.wait_for(label)
    return [watched.arrived[label] - at for label, at in sent.items() if label in watched.arrived]


def _changes(server: Server, client: redis.Redis, watched: _Watched, jobs: int) -> Iterator[Measurement]:
    ids = [member.decode() for member in client.zrevrange(KEYS.jobs, 0, 5000)]
    keys = [KEYS.job(job_id) for job_id in ids]
    for name, latencies, p50, p99 in (
        ("write → in the catalogue, single changes", _single_changes(client, watched, keys[0]), 0.04, 0.15),
        ("HSET by hand → in the catalogue", _by_hand(server, watched, keys[1]), 0.04, 0.15),
        ("key expires → out of the catalogue", _expiring(client, watched), 0.04, 0.15),
        (f"write → in the catalogue, {FLOOD_RATE} changes/s", _flood(client, watched, keys), None, 0.3),
    ):
        where = f"{name}, N = {jobs}"
        middle, late = median(latencies), percentile(latencies, 99)
        yield Measurement(name=f"{where}, p50", value=middle, unit="s", spread=spread(latencies), budget=p50)
        yield Measurement(name=f"{where}, p99", value=late, unit="s", budget=p99)


def _beating(client: redis.Redis, watched: _Watched) -> Measurement:
    ids = [member.decode() for member in client.zrevrange(KEYS.jobs, 0, BEATING_JOBS - 1)]
    before, start, number = watched.batches, time.perf_counter(), 0
    while (now := time.perf_counter()) < start + BEATING_FOR:
        client.hset(KEYS.job(ids[number % len(ids)]), "heartbeat", time.time())
        number += 1
        time.sleep(max(0.0, start + number * BEAT_SECONDS / BEATING_JOBS - now))
    pipelines = (watched.batches - before) / BEATING_FOR
    return Measurement(name=f"{BEATING_JOBS} jobs beating", value=pipelines, unit="pipelines/s", budget=15)


def commands(client: redis.Redis) -> int:
    """How many commands the server has run for others than INFO."""
    return sum(
        stats["calls"]
        for name, stats in client.info("commandstats").items()
        if not name.startswith("cmdstat_info")
    )


def _idle(client: redis.Redis) -> Measurement:
    time.sleep(SETTLE_SECONDS)
    before = commands(client)
    time.sleep(IDLE_SECONDS)
    each = (commands(client) - before) * 10.0 / IDLE_SECONDS
    return Measurement(name="nothing running: Redis commands", value=each, unit="in 10 s", budget=1.0)


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """Measure everything about watching this many jobs but the screen."""
    with running_server(directory) as server:
        populate(server, jobs)
        yield from _loading(server.url, jobs)
        yield from _watched(server, jobs)


def _watched(server: Server, jobs: int) -> Iterator[Measurement]:
    with server.client() as client, _Watched(server.url) as watched:
        yield from _changes(server, client, watched, jobs)
        yield _beating(client, watched)
        yield _idle(client)
