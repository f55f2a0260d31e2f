"""Lines a second into Redis, against raw XADD of the same batches and against an RPUSH a line."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from gnjobs import OutputReader, OutputWriter
from gnjobs.records.keys import Keys
from tests.benchmarks.measure import Measurement, median, spread
from tests.support.servers import Server, running_server

LINES = 400_000
PUSHED_LINES = 20_000
LONG_OUTPUT_BATCHES, LONG_OUTPUT_BATCH = 2000, 5000
RUNS = 5
LINE = 'row 743997 "BXD31", column 12 "BXD60": found "0.12", needs 6 decimals or more'
KEY = Keys().output("benchmark")


def _rate(lines: int, action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return lines / (time.perf_counter() - start)


def _write(server: Server, lines: list[str]) -> None:
    writer = OutputWriter(server.url, KEY)
    writer.write_many(lines)
    assert writer.close(timeout=120)


def _stored_batches(client: redis.Redis) -> list[tuple[bytes, list[bytes]]]:
    return [
        (entry_id, [part for pair in fields.items() for part in pair])
        for entry_id, fields in client.xrange(KEY)
    ]


def _xadd(client: redis.Redis, batches: list[tuple[bytes, list[bytes]]]) -> None:
    for start in range(0, len(batches), 100):
        pipe = client.pipeline(transaction=False)
        for entry_id, fields in batches[start : start + 100]:
            pipe.execute_command("XADD", KEY, entry_id, *fields)
        pipe.execute()


def _push(client: redis.Redis, lines: list[str]) -> None:
    for line in lines:
        client.rpush(KEY, line)


def measure(directory: Path) -> Iterator[Measurement]:
    """Write one output in the three ways, then open the end of a long one."""
    lines = [f"{number} {LINE}" for number in range(LINES)]
    with running_server(directory) as server:
        client = server.client()
        ours, raw, pushed = [], [], []
        for _ in range(RUNS):
            client.flushall()
            ours.append(_rate(LINES, lambda: _write(server, lines)))
            batches = _stored_batches(client)
            client.flushall()
            raw.append(_rate(LINES, lambda batches=batches: _xadd(client, batches)))
        for _ in range(RUNS):  # by themselves, since a processor that mostly waited is slow for a while
            client.flushall()
            pushed.append(_rate(PUSHED_LINES, lambda: _push(client, lines[:PUSHED_LINES])))
        for name, rates, budget in (
            ("raw pipelined XADD of the same batches", raw, 0.5),
            ("RPUSH a line", pushed, 50),
        ):
            yield Measurement(
                name="one child's output",
                value=median(ours),
                unit="lines/s",
                spread=spread(ours),
                reference_name=name,
                reference=median(rates),
                budget=budget,
                lowest_allowed=True,
            )
        yield _open_end(client)


def _open_end(client: redis.Redis) -> Measurement:
    client.flushall()
    data = "\n".join([LINE] * LONG_OUTPUT_BATCH)
    for start in range(0, LONG_OUTPUT_BATCHES, 50):
        pipe = client.pipeline(transaction=False)
        for batch in range(start, start + 50):
            fields = {"at": 1700000000000, "kind": "out", "data": data}
            pipe.xadd(KEY, fields, id=f"{(batch + 1) * LONG_OUTPUT_BATCH}-0")
        pipe.execute()
    taken = []
    for _ in range(RUNS):
        start_time = time.perf_counter()
        seen = OutputReader(client, KEY).tail(50)
        taken.append(time.perf_counter() - start_time)
        assert len(seen) == 50
    return Measurement(
        name=f"opening the end of {LONG_OUTPUT_BATCHES * LONG_OUTPUT_BATCH} lines",
        value=median(taken),
        unit="s",
        spread=spread(taken),
        budget=0.1,
    )
