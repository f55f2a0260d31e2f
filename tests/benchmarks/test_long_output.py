"""A long output in a real terminal: its ends, a search, following a flood; the benchmark has ten million lines."""

import threading
from collections.abc import Iterator

import pytest

from gnjobs import OutputReader
from tests.benchmarks.long_output import JOB as LONG
from tests.benchmarks.long_output import (
    KEY,
    NEEDLE,
    NEEDLE_AT,
    dashboard,
    flood,
    resident,
    shows_line,
    write_lines,
)
from tests.support.servers import Server
from tests.support.stored_records import write_running
from tests.support.terminal import Terminal
from tests.support.watched import fill, shown, stored, watch

LINES = 100_000
FOLLOWED = 30_000
MOST_GROWTH = 12.0  # megabytes; the lines that are followed would take more


@pytest.fixture
def terminal(server: Server) -> Iterator[Terminal]:
    """The dashboard at the end of the output."""
    write_running(server, LONG, label="hay job")
    with server.client() as client:
        write_lines(client, LINES)
    with dashboard(server) as opened:
        opened.send("\r")
        opened.wait_for(shows_line(LINES))
        yield opened


@pytest.mark.faults
def test_both_ends_and_a_line_near_the_start_are_found(terminal: Terminal) -> None:
    terminal.send("g")
    terminal.wait_for(shows_line(1))
    terminal.send("G")
    terminal.wait_for(shows_line(LINES))
    # All at once, as a paste or a slow line delivers it: what follows the slash is text, not keys.
    terminal.send(f"/{NEEDLE}\r")
    terminal.wait_for(shows_line(NEEDLE_AT))
    terminal.send("/not there\r")
    terminal.wait_for(lambda text: "no match for not there" in text and "not following" in text)


@pytest.mark.faults
def test_a_flood_is_followed_without_memory_growing(server: Server, terminal: Terminal) -> None:
    stop = threading.Event()
    writer = threading.Thread(target=flood, args=(server, stop))
    writer.start()
    try:
        with server.client() as client:
            reader = OutputReader(client, KEY)
            terminal.wait_for("flood 5")
            before = resident(terminal)
            terminal.wait_for(lambda _: reader.extent().last >= LINES + FOLLOWED)
            assert resident(terminal) - before < MOST_GROWTH
            stop.set()
            writer.join()
            terminal.wait_for(shows_line(reader.extent().last))
    finally:
        stop.set()
        writer.join()


def test_a_filter_typed_at_once_is_a_filter(server: Server) -> None:
    with server.client() as client:
        fill(client)
        with watch(server.url) as terminal:
            terminal.wait_for(lambda text: shown(text) == stored(client))
            terminal.send("/job-11\r")
            terminal.wait_for(lambda text: set(shown(text)) == {"job-11-v1"})
