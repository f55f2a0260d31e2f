"""What the dashboard costs the line and the server, counted in bytes and commands on a real terminal."""

import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from gnjobs.keys import Keys
from tests.benchmarks.population import populate
from tests.end_to_end.command import environment
from tests.end_to_end.terminal import Terminal, gnjobs
from tests.servers import Server
from tests.tui.records import write_job, write_running

KEYS = Keys()
COLUMNS, ROWS, VISIBLE = 160, 38, 30
JOBS = 60
DOWN = "\x1b[B"
QUIET_SECONDS = 0.4
A_ROW = re.compile(rb"QC of file \d+")


@pytest.fixture
def ended(server: Server) -> Iterator[Terminal]:
    """A dashboard of jobs that have ended, `job 59` at the top, when all is drawn."""
    now = time.time()
    for number in range(JOBS):
        created = now - 10_000 + number
        write_job(server, f"job-{number}", label=f"job {number} ", created=created, started=created,
                  finished=created + 5)  # fmt: skip
    yield from _open(server, "1 all 60", "job 59")


def _open(server: Server, *wanted: str) -> Iterator[Terminal]:
    with Terminal(gnjobs("--no-mouse"), COLUMNS, ROWS, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: all(each in text for each in (*wanted, "live")))
        sent_until_quiet(terminal)
        yield terminal


def sent_until_quiet(terminal: Terminal) -> int:
    """Wait until nothing comes any more; how many bytes have come in all."""
    before, since = len(terminal.raw), time.monotonic()
    while time.monotonic() < since + QUIET_SECONDS:
        time.sleep(0.02)
        if len(terminal.raw) != before:
            before, since = len(terminal.raw), time.monotonic()
    return before


def commands(client: redis.Redis) -> Counter[str]:
    """How often each command was given to the server, but for those that ask this."""
    stats = client.info("commandstats")
    return Counter({name: each["calls"] for name, each in stats.items() if name != "cmdstat_info"})


def cursor_label(text: str) -> str:
    """What the row of the cursor is called."""
    return next((line for line in text.splitlines() if line.startswith(">")), "")[12:20].strip()


def test_rows_on_screen_are_sent_once_while_the_rest_is_loaded(server: Server) -> None:
    newest = populate(server, 8000)
    with Terminal(gnjobs("--no-mouse"), COLUMNS, ROWS, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: "1 all 8000" in text and "loading" not in text and newest in text, 60)
        sent_until_quiet(terminal)
        # What is unfinished comes first, and the newest push some of it down.
        assert len(A_ROW.findall(bytes(terminal.raw))) <= 3 * VISIBLE


def test_a_changed_row_costs_no_more_than_its_cells(server: Server, ended: Terminal) -> None:
    before = len(ended.raw)
    server.client().hset(KEYS.job("job-50"), "label", "changed")
    ended.wait_for("changed")
    assert 0 < sent_until_quiet(ended) - before <= 600


def test_a_step_of_the_cursor_costs_two_rows_and_the_pane(ended: Terminal) -> None:
    before = len(ended.raw)
    ended.send(DOWN)
    ended.wait_for(lambda text: cursor_label(text) == "job 58")
    assert 0 < sent_until_quiet(ended) - before <= 1000


def test_nothing_running_costs_nothing(server: Server, ended: Terminal) -> None:
    with server.client() as client:
        sent, given = len(ended.raw), commands(client)
        time.sleep(2)
        assert len(ended.raw) == sent
        assert sum((commands(client) - given).values()) <= 1


def test_every_key_is_shown_while_jobs_change(server: Server, ended: Terminal) -> None:
    with server.client() as client:
        for number in range(JOBS - 1):
            ended.send(DOWN)
            client.hset(KEYS.job(f"job-{number}"), "percent", number)
        ended.wait_for(lambda text: cursor_label(text) == "job 0")
        ended.send("g")
        ended.wait_for(lambda text: cursor_label(text) == "job 59")


def test_a_filter_that_is_typed_at_once_arrives_whole(ended: Terminal) -> None:
    ended.send("/label:17\r")
    ended.wait_for(lambda text: "job 17" in text and "job 59" not in text and "/label:17" in text)
    ended.send("\x1b")
    ended.wait_for(lambda text: "job 18" in text and cursor_label(text) == "job 17")


def test_many_beats_are_read_together_and_nothing_else_is_asked(server: Server) -> None:
    for number in range(20):
        write_running(server, f"running-{number}", label=f"job {number} ")
    for terminal in _open(server, "1 all 20", "job 19"):
        with server.client() as client:
            given = commands(client)
            pipe = client.pipeline(transaction=False)
            for beat in range(1, 11):
                for number in range(20):
                    fields = {"heartbeat": time.time(), "cpu": 9 * beat, "last-output": time.time()}
                    pipe.hset(KEYS.job(f"running-{number}"), mapping=fields)
            pipe.execute()
            terminal.wait_for(lambda text: text.count("90%") == 20)
            since = commands(client) - given
            assert since.pop("cmdstat_hset") == 200
            assert 20 <= since.pop("cmdstat_hmget") <= 100
            assert sum(since.values()) <= 1, since
