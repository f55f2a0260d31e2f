"""`gnjobs metrics`: what Prometheus is told, how it gets it, and that it costs no more with many jobs."""

import asyncio
import contextlib
import select
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gnjobs.processes.host import boot_id, host_name, pid_namespace
from gnjobs.records.events import record_event
from gnjobs.store import JobStore
from gnjobs_tui.cli.metrics import METRICS
from gnjobs_tui.cli.serving import _MOST, _Answers
from tests.support.command import environment, run
from tests.support.servers import Server, free_port
from tests.support.supervised import KEYS
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for

Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """Each number by its metric and the values of its labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, *(sample.labels[label] for label in METRICS[sample.name][0])] = sample.value
    return found


@pytest.fixture
def told(server: Server, store: JobStore) -> None:
    """A waiting job, one at work, one that ended, an agent, and what happened."""
    now = store.now()
    store.create(["true"], job_type="qc", user_id="jsmith")
    running = store.create(["true"], job_type='in"sert\n\x1b', user_id="agunn").id
    seen = {
        "status": "running",
        "host": "gn-web1",
        "started": now - 9,
        "last-output": now - 7,
        "heartbeat": now,
    }
    store.client.hset(KEYS.job(running), mapping=seen | {"cpu": 150, "rss": 1000, "processes": 3})
    ended = store.create(["true"])
    store.client.hset(KEYS.job(ended.id), mapping={"status": "error", "finished": now})
    store.client.zrem(KEYS.unfinished, ended.id)
    store.client.zadd(KEYS.hosts, {"gn-web1": now - 2})
    record_event(store.client, KEYS, "failed", ended, text="failed")


def test_the_numbers_are_those_of_the_jobs(server: Server, told: None) -> None:
    found = samples(run(server.url, "metrics").stdout)
    prefix, insert = "gn-uploader", 'in"sert␊␛'
    assert found["gnjobs_up",] == 1
    assert found["gnjobs_jobs", prefix] == 3
    assert found["gnjobs_users", prefix] == 2
    assert found["gnjobs_unfinished_jobs", prefix, "qc", "waiting"] == 1
    assert found["gnjobs_unfinished_jobs", prefix, insert, "running"] == 1
    assert found["gnjobs_unfinished_jobs", prefix, insert, "stuck"] == 0
    assert found["gnjobs_longest_silence_seconds", prefix, insert] == pytest.approx(7)
    assert 0 < found["gnjobs_longest_wait_seconds", prefix] < 60
    assert found["gnjobs_cpu_cores", prefix, "gn-web1"] == 1.5
    assert found["gnjobs_memory_bytes", prefix, "gn-web1"] == 1000
    assert found["gnjobs_processes", prefix, "gn-web1"] == 3
    assert 2 <= found["gnjobs_agent_heartbeat_age_seconds", prefix, "gn-web1"] < 60
    assert found["gnjobs_events_last_hour", prefix, "failed"] == 1


def test_what_looks_the_same_as_a_label_is_told_once(server: Server, store: JobStore) -> None:
    """Prometheus refuses a series that comes twice, and with it all others."""
    for secret in "ab":
        text = f"redis://u:{secret}@db"
        job = store.create(["true"], job_type=text)
        store.client.hset(KEYS.job(job.id), mapping={"host": text, "status": "running", "cpu": 50})
        record_event(store.client, KEYS, "x" * 200 + secret, job, text="")
        store.client.zadd(KEYS.hosts, {text: 1})
    said = run(server.url, "metrics").stdout
    named = [line.rpartition(" ")[0] for line in said.splitlines() if line[0] != "#"]
    assert len(named) == len(set(named))
    assert samples(said)["gnjobs_cpu_cores", "gn-uploader", "redis://u:***@db"] == 1


def test_a_file_for_node_exporter_is_replaced_in_one_step(server: Server, told: None, tmp_path: Path) -> None:
    file = tmp_path / "gnjobs.prom"
    assert run(server.url, "metrics", "--output", str(file)).returncode == 0
    assert samples(file.read_text())["gnjobs_jobs", "gn-uploader"] == 3
    away = run(f"redis://127.0.0.1:{free_port()}/0", "metrics", "--output", str(file))
    assert (away.returncode, away.stderr) == (5, "gnjobs: Redis did not answer\n")
    assert samples(file.read_text()) == {("gnjobs_up",): 0}
    assert list(tmp_path.iterdir()) == [file]
    nowhere = run(server.url, "metrics", "--output", "/nonexistent/x.prom")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)


@pytest.fixture
def serving(server: Server, told: None) -> Iterator[tuple[str, IO[str]]]:
    """Where the numbers are served, and what is said of that."""
    command = gnjobs("metrics", "--listen", "0")
    with subprocess.Popen(command, env=environment(server.url), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[-1], process.stderr
        finally:
            process.terminate()


def jobs_told(url: str) -> float:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return samples(reply.read().decode())["gnjobs_jobs", "gn-uploader"]


def test_it_serves_on_loopback_what_is_so_lately(store: JobStore, serving: tuple[str, IO[str]]) -> None:
    url, _ = serving
    assert url.startswith("http://127.0.0.1:")
    assert jobs_told(url) == 3
    store.create(["true"])
    wait_for(lambda: jobs_told(url) == 4)


def test_nobody_is_kept_waiting_by_others_who_ask(serving: tuple[str, IO[str]]) -> None:
    """Any account of the host may connect, and say nothing, or without end, or not listen."""
    url, said = serving
    port = int(url.rpartition(":")[2].partition("/")[0])
    requests = (b"", b"G" * 30_000, b"GET / HTTP/1.1\r\nAccept: text/plain;version=x\r\n\r\n")
    with contextlib.ExitStack() as stack:
        for request in requests * 100:
            other = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            with contextlib.suppress(OSError):
                other.sendall(request)
        assert jobs_told(url) == 3
    assert not select.select([said], [], [], 0)[0]


def test_who_ask_at_once_are_told_the_same() -> None:
    asked = []

    async def ask() -> list[bytes]:
        answers = _Answers(lambda: asked.append(1) or b"told")
        return await asyncio.gather(*(answers._tell_lately() for _ in range(100)))

    assert asyncio.run(ask()) == [b"told"] * 100
    assert len(asked) == 1


def test_of_many_whose_supervisors_are_silent_not_all_are_looked_for(
    server: Server, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes records can make any number of them."""
    here = {"host": host_name(), "boot-id": boot_id(), "pid-namespace": pid_namespace()}
    for _ in range(3):
        job_id = store.create(["true"], job_type="qc").id
        seen = {"status": "running", "heartbeat": store.now() - 400, "account": "nobody"}
        store.client.hset(KEYS.job(job_id), mapping=here | seen)

    def states() -> list[float]:
        found = samples(run(server.url, "metrics").stdout)
        return [found["gnjobs_unfinished_jobs", "gn-uploader", "qc", state] for state in ("dead", "stuck")]

    assert states() == [3, 0]
    monkeypatch.setattr("gnjobs_tui.cli.metrics._LOOK_SECONDS", 0.0)
    assert states() == [1, 2]


SCRAPE = b"GET /metrics HTTP/1.1\r\n\r\n"


async def ask(server: asyncio.Server, request: bytes, asked: contextlib.ExitStack) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    asked.callback(asyncio.StreamWriter.close, writer)  # until then it is kept, and open
    writer.write(request)
    return reader


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


def test_who_waits_for_the_numbers_is_not_left_out_for_who_asks_nothing() -> None:
    go = threading.Event()

    async def told() -> bytes:
        answers = _Answers(lambda: str(go.wait(30)).encode())
        server = await asyncio.start_server(answers._answer, "127.0.0.1", 0)
        async with server:
            with contextlib.ExitStack() as asked:
                prometheus = await ask(server, SCRAPE, asked)
                await until(lambda: answers._asking)
                silent = [await ask(server, b"", asked) for _ in range(_MOST + 10)]
                assert await silent[0].read() == b""
                go.set()
                return await prometheus.read()

    assert asyncio.run(told()).endswith(b"\r\n\r\nTrue")


def test_of_too_many_who_wait_for_the_numbers_the_first_are_left_out() -> None:
    go, measured = threading.Event(), list[bool]()

    def measure() -> bytes:
        measured.append(go.wait(30))
        return b"told"

    async def told() -> list[bytes]:
        answers = _Answers(measure)
        server = await asyncio.start_server(answers._answer, "127.0.0.1", 0)
        async with server:
            with contextlib.ExitStack() as asked:
                waiting = [await ask(server, SCRAPE, asked) for _ in range(_MOST + 50)]
                replies = [asyncio.create_task(reader.read()) for reader in waiting]
                await until(lambda: sum(reply.done() for reply in replies) == 50)
                go.set()
                return await asyncio.gather(*replies)

    replies = asyncio.run(told())
    assert replies.count(b"") == 50
    assert replies[-1].endswith(b"\r\n\r\ntold")
    assert measured == [True]


def commands(server: Server) -> int:
    """How many commands the server has carried out."""
    with server.client() as client:
        return int(client.info("stats")["total_commands_processed"])


def test_ended_jobs_cost_nothing(server: Server, store: JobStore, told: None) -> None:
    def cost() -> int:
        """How many commands it takes; what an earlier test started may still ask for something beside it."""
        return min(cost_once() for _ in range(3))

    def cost_once() -> int:
        before = commands(server)
        assert run(server.url, "metrics").returncode == 0
        return commands(server) - before

    few = cost()
    pipe = store.client.pipeline(transaction=False)
    for number in range(3000):
        pipe.hset(KEYS.job(f"old-{number}"), mapping={"status": "success", "created": number})
        pipe.zadd(KEYS.jobs, {f"old-{number}": number})
    pipe.execute()
    assert cost() == few
