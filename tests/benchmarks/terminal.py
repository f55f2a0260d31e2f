"""What an operator feels and what the line carries: the dashboard itself in a pseudo-terminal, over N jobs."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import redis

from gnjobs.keys import Keys
from gnjobs.statuses import SUCCESS
from tests.benchmarks.measure import Measurement, median, percentile, spread
from tests.benchmarks.population import populate
from tests.benchmarks.watching import A_MILLION, commands
from tests.end_to_end.command import environment
from tests.end_to_end.terminal import Terminal, gnjobs
from tests.servers import Server, running_server

KEYS = Keys()
COLUMNS, ROWS = 160, 50
FLOOD_RATE = 1000
PRESSES, PRESSES_A_SECOND = 200, 30
PROBES, PROBE_EVERY = 100, 0.15
IDLE_SECONDS = 20.0
BEATING_JOBS, BEATING_VISIBLE, BEAT_SECONDS, BEATING_FOR = 100, 30, 5.0, 15.0
LINES_AROUND = 7
STEPS = 20
_CURSOR = re.compile(rb">[^>]{0,60}?((?:QC of file|single|under load) \d+)")


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """Measure the screen over this many jobs."""
    with running_server(directory) as server, server.client() as client:
        newest = populate(server, jobs)
        with _dashboard(server, newest) as terminal:
            for measurement in (
                *_memory(terminal, jobs),
                *_bytes(client, terminal),
                *_single_changes(client, terminal),
                *_presses_under_load(server, client, terminal),
                *_changes_under_load(server, client, terminal),
                *_idle(client, terminal),
            ):
                yield _of(measurement, jobs)
    with running_server(directory.with_name("beating")) as server, server.client() as client:
        newest = populate(server, BEATING_JOBS)
        with _dashboard(server, newest, BEATING_VISIBLE + LINES_AROUND) as terminal:
            yield from _beating(server, client, terminal)


def _of(measurement: Measurement, jobs: int) -> Measurement:
    return msgspec.structs.replace(measurement, name=f"{measurement.name}, N = {jobs}")


@contextmanager
def _dashboard(server: Server, newest: str, rows: int = ROWS) -> Iterator[Terminal]:
    with Terminal(gnjobs(), COLUMNS, rows, environment(server.url), is_drawn=False) as terminal:
        terminal.wait_for_bytes(newest.encode(), limit=60)
        terminal.wait_until_quiet(3.0, 600)
        terminal.send("g")
        terminal.wait_until_quiet()
        yield terminal


def _memory(terminal: Terminal, jobs: int) -> Iterator[Measurement]:
    rss = psutil.Process(terminal.pid).memory_info().rss / 1e6
    yield Measurement(name="memory", value=rss, unit="MB", budget=600.0 if jobs >= A_MILLION else None)


def _idle(client: redis.Redis, terminal: Terminal) -> Iterator[Measurement]:
    _finish_all(client)
    terminal.wait_until_quiet(1.0)
    before, sent = commands(client), len(terminal.raw)
    time.sleep(IDLE_SECONDS)
    tens = IDLE_SECONDS / 10
    yield Measurement(
        name="nothing running: Redis commands",
        value=(commands(client) - before) / tens,
        unit="in 10 s",
        budget=1.0,
    )
    sent = len(terminal.raw) - sent
    yield Measurement(
        name="nothing running: to the terminal", value=sent / IDLE_SECONDS, unit="B/s", budget=100.0
    )


def _finish_all(client: redis.Redis) -> None:
    now, pipe = time.time(), client.pipeline(transaction=False)
    for member in client.zrange(KEYS.unfinished, 0, -1):
        pipe.hset(KEYS.job(member.decode()), mapping={"status": SUCCESS, "finished": now})
    pipe.delete(KEYS.unfinished)
    pipe.execute()


def _visible(client: redis.Redis, count: int = 20) -> list[str]:
    return [KEYS.job(member.decode()) for member in client.zrevrange(KEYS.unfinished, 0, count - 1)]


def _bytes(client: redis.Redis, terminal: Terminal) -> Iterator[Measurement]:
    key = _visible(client)[0]
    changed, stepped = [], []
    for number in range(STEPS):
        before = terminal.wait_until_quiet(0.3)
        client.hset(key, "percent", number * 5 % 100)
        changed.append(float(terminal.wait_until_quiet(0.3, beyond=before) - before))
        before = terminal.wait_until_quiet(0.3)
        terminal.send("j" if number % 2 == 0 else "k")
        stepped.append(float(terminal.wait_until_quiet(0.3, beyond=before) - before))
    for name, sizes, budget in (("one changed row", changed, 600), ("one step of the cursor", stepped, 1000)):
        yield Measurement(
            name=f"bytes for {name}", value=median(sizes), unit="B", spread=spread(sizes), budget=budget
        )


def _latencies(name: str, latencies: list[float], budgets: dict[int, float]) -> Iterator[Measurement]:
    width = spread(latencies)
    for percent in (50, 99):
        value, budget = percentile(latencies, percent), budgets.get(percent)
        yield Measurement(name=f"{name}, p{percent}", value=value, unit="s", spread=width, budget=budget)


def _probe(client: redis.Redis, terminal: Terminal, name: str) -> list[float]:
    key, latencies = _visible(client)[2], []
    for number in range(PROBES):
        label, start = f"{name} {number:03}", len(terminal.raw)
        sent = time.monotonic()
        client.hset(key, "label", label)
        latencies.append(terminal.wait_for_bytes(label.encode(), start) - sent)
        time.sleep(PROBE_EVERY)
    return latencies


def _single_changes(client: redis.Redis, terminal: Terminal) -> Iterator[Measurement]:
    latencies = _probe(client, terminal, "single")
    yield from _latencies("write → terminal, single changes", latencies, {50: 0.04, 99: 0.15})


@contextmanager
def _flooded(server: Server, seconds: float) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.benchmarks.flood", server.url, str(FLOOD_RATE), str(seconds)]
    with subprocess.Popen(command) as process:
        time.sleep(1)
        yield
        process.terminate()


def _presses_under_load(server: Server, client: redis.Redis, terminal: Terminal) -> Iterator[Measurement]:
    terminal.send("g")
    terminal.wait_until_quiet()
    process, pressed = psutil.Process(terminal.pid), []
    with _flooded(server, 60):
        start, offset, used = time.monotonic(), len(terminal.raw), sum(process.cpu_times()[:2])
        for number in range(PRESSES):
            time.sleep(max(0.0, start + number / PRESSES_A_SECOND - time.monotonic()))
            pressed.append(time.monotonic())
            terminal.send("j")
        time.sleep(1)
        cores = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - start)
    name = f"key press shown, {FLOOD_RATE} changes/s"
    yield from _latencies(name, _shown(terminal, offset, pressed, _listed(client)), {99: 0.05})
    yield Measurement(
        name=f"the dashboard under {FLOOD_RATE} changes/s", value=cores, unit="cores", budget=1.0
    )


def _listed(client: redis.Redis) -> list[bytes]:
    """The labels of the first rows in the order in which they are listed: the unfinished, then the newest."""
    ids = client.zrevrange(KEYS.unfinished, 0, -1) + client.zrevrange(KEYS.jobs, 0, 2 * PRESSES)
    first = list(dict.fromkeys(ids))[: PRESSES + 1]
    return [client.hget(KEYS.job(member.decode()), "label") or b"" for member in first]


def _shown(terminal: Terminal, offset: int, pressed: list[float], labels: list[bytes]) -> list[float]:
    """How long after each press the cursor stood on the row that it leads to, or, pressed on meanwhile, beyond it."""
    rows = {label: row for row, label in enumerate(labels)}
    seen = [
        (rows[found.group(1)], terminal.arrival_of(found.end()))
        for found in _CURSOR.finditer(bytes(terminal.raw), offset)
    ]
    latencies = []
    for row, at in enumerate(pressed, 1):
        latencies.append(next(shown - at for reached, shown in seen if reached >= row and shown > at))
    return latencies


def _changes_under_load(server: Server, client: redis.Redis, terminal: Terminal) -> Iterator[Measurement]:
    terminal.send("g")
    terminal.wait_until_quiet()
    with _flooded(server, 120):
        latencies = _probe(client, terminal, "under load")
    yield from _latencies(f"write → terminal, {FLOOD_RATE} changes/s", latencies, {99: 0.3})


def _beating(server: Server, client: redis.Redis, terminal: Terminal) -> Iterator[Measurement]:
    keys, number = _visible(client, BEATING_JOBS), 0
    reads, sent, start = _reads(client), len(terminal.raw), time.monotonic()
    while time.monotonic() < start + BEATING_FOR:
        now = time.time()
        client.hset(
            keys[number % len(keys)], mapping={"heartbeat": now, "cpu": number % 90, "last-output": now}
        )
        number += 1
        time.sleep(max(0.0, start + number * BEAT_SECONDS / BEATING_JOBS - time.monotonic()))
    pipelines = (_reads(client) - reads - number) / BEATING_FOR
    what = f"{BEATING_JOBS} jobs beating, {BEATING_VISIBLE} visible"
    yield Measurement(name=f"{what}: pipelines", value=pipelines, unit="/s", budget=15.0)
    sent = len(terminal.raw) - sent
    yield Measurement(name=f"{what}: to the terminal", value=sent / BEATING_FOR, unit="B/s", budget=2000.0)


def _reads(client: redis.Redis) -> int:
    """How often the server has read from its clients: once a command or pipeline."""
    return int(client.info("stats")["total_reads_processed"])
