"""An output of ten million lines in a real terminal: its end, its beginning, searches, and following a flood."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from gnjobs import OutputReader, OutputWriter
from tests.benchmarks.measure import Measurement, median, percentile, spread
from tests.support.command import environment
from tests.support.servers import Server, running_server
from tests.support.stored_records import KEYS, write_running
from tests.support.terminal import Terminal, gnjobs

LINES, SHORT, LINES_AN_ENTRY = 10_000_000, 100, 850
JOB = "long-output"
KEY = KEYS.output(JOB)
COLUMNS, ROWS = 100, 30
NEEDLE, NEEDLE_AT = "needle in the hay", 12_346
RUNS = 7
FLOOD_RATE, FLOOD_SECONDS = 10_000, 60.0
LIMIT = 60.0


def line(number: int) -> str:
    """One line as a quality check might print it."""
    return f'row {number} "BXD31": {NEEDLE if number == NEEDLE_AT else "found 0.12, needs 6 decimals"}'


def write_lines(client: redis.Redis, lines: int) -> None:
    """Store so many lines as a writer would have stored them."""
    for start in range(1, lines + 1, 50 * LINES_AN_ENTRY):
        pipe = client.pipeline(transaction=False)
        for first in range(start, min(lines + 1, start + 50 * LINES_AN_ENTRY), LINES_AN_ENTRY):
            last = min(lines, first + LINES_AN_ENTRY - 1)
            data = "\n".join(map(line, range(first, last + 1)))
            pipe.xadd(KEY, {"at": 1_700_000_000_000, "kind": "out", "data": data}, id=f"{last}-0")
        pipe.execute()


def shows_line(number: int) -> Callable[[str], bool]:
    """Whether a screen shows a line of the output; a job's screen, too, says what was printed last."""
    pattern = re.compile(rf"^ *{number}[ >]", re.MULTILINE)
    return lambda text: "f follow" in text and pattern.search(text) is not None


def shows_job(text: str) -> bool:
    """Whether the job's screen is there, down to the last line."""
    return "the job itself" in text and "enter output" in text


@contextmanager
def dashboard(server: Server) -> Iterator[Terminal]:
    """The dashboard on the screen of the job."""
    with Terminal(gnjobs(), COLUMNS, ROWS, environment(server.url)) as terminal:
        terminal.wait_for("hay job")
        terminal.send("\r")
        terminal.wait_for(shows_job)
        yield terminal


def resident(terminal: Terminal) -> float:
    """Megabytes that the dashboard has in memory."""
    status = Path(f"/proc/{terminal.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def _seconds(terminal: Terminal, keys: str, wanted: Callable[[str], bool]) -> float:
    start = time.perf_counter()
    terminal.send(keys)
    terminal.wait_for(wanted, LIMIT)
    return time.perf_counter() - start


def _opened(terminal: Terminal, lines: int) -> list[float]:
    taken = []
    for _ in range(RUNS):
        taken.append(_seconds(terminal, "\r", shows_line(lines)))
        terminal.send("\x1b")
        terminal.wait_for(shows_job)
    terminal.send("\r")
    terminal.wait_for(shows_line(lines))
    return taken


def _key_presses_while_searching(terminal: Terminal) -> tuple[list[float], float]:
    """Search all for what is not there; how long keys take meanwhile, and the search."""
    presses: list[float] = []
    start = time.perf_counter()
    terminal.send("/nowhere to be found\r")
    terminal.wait_for(lambda text: "searching" in text or "no match" in text)
    while "no match" not in terminal.text:
        before = len(terminal.raw)
        pressed = time.perf_counter()
        terminal.send("j" if len(presses) % 2 else "k")
        terminal.wait_for(lambda _, before=before: len(terminal.raw) > before, LIMIT)
        presses.append(time.perf_counter() - pressed)
        time.sleep(0.03)
    return presses, time.perf_counter() - start


def _back_to_end(terminal: Terminal, lines: int) -> None:
    """Forget what was searched for, and follow the end."""
    terminal.wait_for(lambda text: "no match" in text or f"/{NEEDLE}" in text)
    terminal.send("\x1b")
    terminal.wait_for(lambda text: "no match" not in text and f"/{NEEDLE}" not in text)
    terminal.send("G")
    terminal.wait_for(shows_line(lines))


def flood(server: Server, stop: threading.Event) -> None:
    """Write lines at the flood's rate until told to stop."""
    writer = OutputWriter(server.url, KEY)
    start, written = time.perf_counter(), 0
    while not stop.wait(0.02):
        due = int((time.perf_counter() - start) * FLOOD_RATE)
        writer.write_many([f"flood {number}" for number in range(written, due)])
        written = due
    writer.close(timeout=30)


def _followed(server: Server, terminal: Terminal) -> tuple[list[float], float]:
    """Megabytes each second of a flood, and bytes to the terminal in a second."""
    stop = threading.Event()
    writer = threading.Thread(target=flood, args=(server, stop))
    writer.start()
    try:
        terminal.wait_for("flood 2")
        before, start, sizes = len(terminal.raw), time.perf_counter(), []
        while time.perf_counter() - start < FLOOD_SECONDS:
            time.sleep(1.0)
            sizes.append(resident(terminal))
        sent = (len(terminal.raw) - before) / (time.perf_counter() - start)
    finally:
        stop.set()
        writer.join()
    with server.client() as client:
        last = OutputReader(client, KEY).extent().last
    terminal.wait_for(f"{last:,}".replace(",", " "), 10)
    return sizes, sent


def _line(name: str, taken: list[float], unit: str = "s", budget: float | None = None) -> Measurement:
    return Measurement(name=name, value=median(taken), unit=unit, spread=spread(taken), budget=budget)


def measure(directory: Path, lines: int = LINES) -> Iterator[Measurement]:
    """Open it, go about in it, and follow it."""
    with running_server(directory) as server, server.client() as client:
        write_running(server, JOB, label="hay job")
        write_lines(client, SHORT)
        with dashboard(server) as terminal:
            short = _opened(terminal, SHORT)
        client.delete(KEY)
        write_lines(client, lines)
        with dashboard(server) as terminal:
            opened = _opened(terminal, lines)
            yield _line(f"{lines} lines: key press → its end on screen", opened, budget=0.1)
            yield Measurement(
                name=f"{lines} lines: the same, whatever the machine is busy with",
                value=median(opened),
                unit="s",
                reference=median(short),
                reference_name=f"an output of {SHORT} lines",
                budget=2.0,
            )
            yield from _walk(server, terminal, lines)


def _walk(server: Server, terminal: Terminal, lines: int) -> Iterator[Measurement]:
    where = f"{lines} lines:"
    yield _line(f"{where} memory at its end", [resident(terminal)], "MB")
    ends = [
        (_seconds(terminal, "g", shows_line(1)), _seconds(terminal, "G", shows_line(lines)))
        for _ in range(RUNS)
    ]
    yield _line(f"{where} to its first line", [first for first, _ in ends], budget=0.1)
    yield _line(f"{where} to its last line", [last for _, last in ends], budget=0.1)
    found = _seconds(terminal, f"/{NEEDLE}\r", shows_line(NEEDLE_AT))
    yield _line(f"{where} a line near the start found from the end", [found])
    _back_to_end(terminal, lines)
    presses, seconds = _key_presses_while_searching(terminal)
    yield _line(f"{where} all searched in vain", [seconds])
    yield _line(f"{where} key press while it searches, p50", presses)
    yield _line(f"{where} key press while it searches, p99", [percentile(presses, 99)], budget=0.05)
    _back_to_end(terminal, lines)
    sizes, sent = _followed(server, terminal)
    quarter = len(sizes) // 4
    growth = median(sizes[-quarter:]) - median(sizes[quarter : 2 * quarter])
    yield _line(f"memory while it follows {FLOOD_RATE} lines/s", sizes, "MB")
    yield _line("memory's growth in the last half of that", [growth], "MB", budget=2.0)
    yield _line("bytes to the terminal while it follows that", [sent / 1000], "KB/s")
