"""What is seen and felt on a real terminal over N jobs: keys, changes, and what a quiet and a busy hour cost."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import redis

from gnjobs.records.keys import Keys
from gnjobs_tui.widgets.columns import CURSOR_SIGN
from tests.benchmarks.measure import Measurement, median, percentile, spread
from tests.support.command import environment
from tests.support.population import finish_all, ordered_ids, populate, start_running
from tests.support.recording import Recording
from tests.support.servers import running_server
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for

COLUMNS, ROWS = 160, 50
# As many rows as show 30 jobs.
BEATING_ROWS = 38
DOWN = "\x1b[B"
PRESSES, PRESSES_A_SECOND = 200, 30
CHANGES_A_SECOND, MARKS_A_SECOND = 1000, 10
SINGLE_CHANGES, STEPS = 100, 20
BEATING_JOBS, BEAT_SECONDS, BEATING_FOR = 100, 5.0, 20.0
IDLE_SECONDS = 20.0
A_MILLION = 1_000_000
# Of a script of six hundred letters, each of one column.
FIRST_LETTER = 0x1401
KEYS = Keys()


def at_rate(rate: float, count: int) -> Iterator[int]:
    """Numbers at so many a second, each when its time has come."""
    start = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, start + number / rate - time.perf_counter()))
        yield number


@contextlib.contextmanager
def dashboard(url: str, jobs: int, rows: int = ROWS) -> Iterator[Recording]:
    """The dashboard on a terminal, when all jobs are loaded and nothing moves any more."""
    with Recording(gnjobs(), COLUMNS, rows, environment(url)) as terminal:
        terminal.wait_for(lambda text: f"all {jobs}" in text and "loading" not in text, 600)
        terminal.wait_until_quiet()
        yield terminal


@contextlib.contextmanager
def flood(url: str, rate: float = CHANGES_A_SECOND, least: float = 0.95) -> Iterator[None]:
    """Changes at a rate, by a process of their own; fails where it reached less than this share of it."""
    command = [sys.executable, "-m", "tests.benchmarks.flood", url, str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        reached, _ = process.communicate()
    assert float(reached) > least * rate, reached


def cursor_place(terminal: Recording, places: Mapping[str, int]) -> int:
    """The place of the job that the cursor is on; 0 where none of these is."""
    screen = terminal.screen
    for y in range(screen.lines):
        if screen.buffer[y][0].data == CURSOR_SIGN:
            words = "".join(screen.buffer[y][x].data for x in range(screen.columns)).split()
            return next((places[word] for word in words if word in places), 0)
    return 0


def unlike_others(number: int) -> str:
    """A label that shares no letter with one of another number, so that a terminal is sent all of it."""
    return 8 * chr(FIRST_LETTER + number)


class Screen:
    """One dashboard that is measured."""

    def __init__(self, terminal: Recording, client: redis.Redis, url: str) -> None:
        self.terminal = terminal
        self.client = client
        self.url = url
        self.process = psutil.Process(terminal.pid)

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    def waited_seconds(self) -> float:
        """How long its event loop was ready to go on and got no processor: what a busy machine adds."""
        schedstat = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/schedstat")
        return int(schedstat.read_text().split()[1]) / 1e9

    def reads(self) -> int:
        """How often the server has read from a connection, this question included: a pipeline is one or a few."""
        return int(self.client.info("stats")["total_reads_processed"])

    def single_changes(self, key: str) -> list[float]:
        """Seconds from a write to its bytes, one change at a time."""
        taken = []
        for number in range(SINGLE_CHANGES):
            label, since = unlike_others(number), self.terminal.now()
            sent = time.perf_counter()
            self.client.hset(key, "label", label)
            taken.append(self.terminal.seen_at(label, since) - sent)
            self.terminal.wait_until_quiet(0.12)
        return taken

    def bytes_each(self, act: Callable[[int], object], times: int = STEPS) -> list[int]:
        """Bytes to the terminal for each of several things, one after the other."""
        sizes = []
        for number in range(times):
            before = self.terminal.now().bytes
            act(number)
            self.terminal.wait_for_length(before)
            self.terminal.wait_until_quiet(0.2)
            sizes.append(self.terminal.now().bytes - before)
        return sizes

    def key_presses(self, presses: int = PRESSES) -> list[float]:
        """Seconds from each press of the down key until the cursor is there on the screen."""
        places = {job_id[:8]: place for place, job_id in enumerate(ordered_ids(self.client, presses + 1))}
        for _ in self.terminal.replay():
            pass
        sent = []
        for _ in at_rate(PRESSES_A_SECOND, presses):
            sent.append(time.perf_counter())
            self.terminal.send(DOWN)
        shown: list[float] = []

        def look() -> bool:
            for moment in self.terminal.replay():
                place = cursor_place(self.terminal, places)
                shown.extend([moment] * (place - len(shown)))
            return len(shown) == presses

        wait_for(look, 60, "the last press")
        return [at - since for at, since in zip(shown, sent, strict=True)]

    def marks(self, key: str) -> list[float]:
        """Seconds from a write to its bytes, or those of a later one, of one job among many that change."""
        since, sent = self.terminal.now(), []
        labels = [unlike_others(SINGLE_CHANGES + number) for number in range(SINGLE_CHANGES)]
        for number in at_rate(MARKS_A_SECOND, SINGLE_CHANGES):
            sent.append(time.perf_counter())
            self.client.hset(key, "label", labels[number])
        self.terminal.seen_at(labels[-1], since)
        seen = [self.terminal.first_seen_at(label, since) for label in labels]
        return [
            min(at for at in seen[number:] if at is not None) - sent[number]
            for number in range(SINGLE_CHANGES)
        ]


def commands(client: redis.Redis) -> int:
    """How many commands the server has carried out, our own questions aside."""
    stats = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if not name.startswith("cmdstat_info"))


def _seconds(name: str, taken: list[float], p50: float | None, p99: float | None) -> Iterator[Measurement]:
    middle, late = median(taken), percentile(taken, 99)
    yield Measurement(name=f"{name}, p50", value=middle, unit="s", spread=spread(taken), budget=p50)
    yield Measurement(name=f"{name}, p99", value=late, unit="s", budget=p99)


def _quiet(screen: Screen, jobs: int) -> Iterator[Measurement]:
    newest = KEYS.job(ordered_ids(screen.client, 1)[0])
    yield from _seconds(
        f"write → bytes, single changes, N = {jobs}", screen.single_changes(newest), 0.04, 0.15
    )
    for name, act, budget in (
        ("one changed row", lambda number: screen.client.hset(newest, "percent", number % 90 + 10), 600),
        ("one step of the cursor", lambda _: screen.terminal.send(DOWN), 1000),
    ):
        sizes = screen.bytes_each(act)
        yield Measurement(
            name=f"{name}, N = {jobs}", value=median(sizes), unit="B", spread=spread(sizes), budget=budget
        )


def _flooded(screen: Screen, jobs: int) -> Iterator[Measurement]:
    screen.terminal.send("g")
    screen.terminal.wait_until_quiet()
    under = f"{CHANGES_A_SECOND} changes/s, N = {jobs}"
    key = KEYS.job(ordered_ids(screen.client, 1)[0])
    with flood(screen.url):
        start, used, waited = time.perf_counter(), screen.cpu_seconds(), screen.waited_seconds()
        yield from _seconds(f"key press shown, {under}", screen.key_presses(), None, 0.05)
        screen.terminal.send("g")
        yield from _seconds(f"write → bytes, {under}", screen.marks(key), None, 0.3)
        seconds = time.perf_counter() - start
        cores, waiting = (screen.cpu_seconds() - used) / seconds, (screen.waited_seconds() - waited) / seconds
    yield Measurement(name=f"processor, {under}", value=cores, unit="cores", budget=1.0)
    yield Measurement(name=f"waited for a processor, {under}", value=100 * waiting, unit="% of the time")


def _beating(screen: Screen, jobs: int) -> Iterator[Measurement]:
    """A beat as a supervisor writes it; commands of the dashboard are counted by what the server read from sockets."""
    ids = start_running(screen.client, BEATING_JOBS)
    # The cursor stayed on its job, and the screen with it.
    screen.terminal.wait_for(f"all {jobs + BEATING_JOBS}")
    screen.terminal.send("g")
    screen.terminal.wait_for("started 29 ")
    screen.terminal.wait_until_quiet()
    before, reads, start = screen.terminal.now().bytes, screen.reads(), time.perf_counter()
    beats = int(BEATING_FOR * BEATING_JOBS / BEAT_SECONDS)
    for number in at_rate(BEATING_JOBS / BEAT_SECONDS, beats):
        now = time.time()
        beat = {"heartbeat": now, "cpu": 10 + number % 7, "rss": 50_000_000 + number * 1000}
        beat |= {"lines": number, "last-output": now - 0.5, "percent": number * 40 / beats}
        screen.client.hset(KEYS.job(ids[number % len(ids)]), mapping=beat)
    seconds = time.perf_counter() - start
    pipelines = (screen.reads() - reads - beats - 1) / seconds
    sent = (screen.terminal.now().bytes - before) / seconds
    name = f"{BEATING_JOBS} jobs beating, 30 visible"
    yield Measurement(name=name, value=pipelines, unit="pipelines/s", budget=15)
    yield Measurement(name=name, value=sent, unit="B/s", budget=2000)


def _idle(screen: Screen, jobs: int) -> Iterator[Measurement]:
    finish_all(screen.client)
    screen.terminal.wait_until_quiet(2.0)
    calls, before, used = commands(screen.client), screen.terminal.now().bytes, screen.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    asked = (commands(screen.client) - calls) * 10 / IDLE_SECONDS
    sent = (screen.terminal.now().bytes - before) / IDLE_SECONDS
    cores = (screen.cpu_seconds() - used) / IDLE_SECONDS
    name = f"nothing running, N = {jobs}"
    yield Measurement(name=name, value=asked, unit="commands in 10 s", budget=1.0)
    yield Measurement(name=name, value=sent, unit="B/s", budget=100)
    yield Measurement(name=name, value=cores, unit="cores")


def measure_at(url: str, client: redis.Redis, jobs: int) -> Iterator[Measurement]:
    """Measure the dashboard on a server that holds this many jobs; ends those that are unfinished."""
    with dashboard(url, jobs) as terminal:
        screen = Screen(terminal, client, url)
        budget = 600.0 if jobs >= A_MILLION else None
        rss = screen.process.memory_info().rss / 1e6
        yield Measurement(name=f"memory of the dashboard, N = {jobs}", value=rss, unit="MB", budget=budget)
        yield from _quiet(screen, jobs)
        yield from _flooded(screen, jobs)
    with dashboard(url, jobs, BEATING_ROWS) as terminal:
        screen = Screen(terminal, client, url)
        yield from _beating(screen, jobs)
        yield from _idle(screen, jobs)


def measure(directory: Path, jobs: int) -> Iterator[Measurement]:
    """Fill a server and measure the dashboard on it."""
    with running_server(directory) as server, server.client() as client:
        populate(server, jobs)
        yield from measure_at(server.url, client, jobs)
