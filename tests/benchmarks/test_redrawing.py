"""What is redrawn adds up to what a whole redraw shows, no row is sent twice for nothing, and no key goes astray."""

import random
import re

import pytest

from gnjobs.records.keys import Keys
from tests.support.command import environment
from tests.support.population import populate
from tests.support.servers import Server
from tests.support.stored_records import write_job, write_running
from tests.support.terminal import Terminal, gnjobs

JOBS = 12
CHANGES = 150
TABLE = slice(3, 3 + JOBS)
VISIBLE = 30
A_ROW = re.compile(rb"QC of file \d+")
CHANGING = {
    "rss": ("", "0", "33000000", "185000000", "12345678901"),
    "cpu": ("", "0", "7", "340"),
    "percent": ("", "0", "9", "61", "100"),
    "label": ("", "QC", "insert of a very long name indeed " * 5, "データ", "a\u0301e\u0301"),
    "user-id": ("", "tux", "jsmith"),
    "children": ("", "4", "12345"),
    "host": ("", "gn-web1", "a-host-with-a-long-name.example.org"),
    "status": ("running", "running", "running", "stopping", "success", "error"),
}


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        pytest.param(160, 50, marks=pytest.mark.faults),
        pytest.param(100, 30, marks=pytest.mark.faults),
        (80, 24),
    ],
)
def test_changes_leave_nothing_behind(server: Server, columns: int, rows: int) -> None:
    keys, chance = Keys(), random.Random(columns)
    jobs = [write_running(server, f"job-{number}", label=f"job {number}", rss=1e8) for number in range(JOBS)]
    client = server.client()
    with Terminal(gnjobs("--redis-url", server.url), columns, rows) as terminal:
        terminal.wait_for(lambda text: f"all {JOBS}" in text and "job 11" in text)
        for number in range(CHANGES):
            field = chance.choice(list(CHANGING))
            client.hset(keys.job(chance.choice(jobs[1:])), field, chance.choice(CHANGING[field]))
            if number % 10 == 0:
                client.hset(keys.job(jobs[0]), "label", f"change {number}")
                terminal.wait_for(f"change {number} ")
        client.hset(keys.job(jobs[0]), "label", "the last change")
        terminal.wait_for("the last change")
        piecewise = rows_after(terminal, "G", -1)
        with Terminal(gnjobs("--redis-url", server.url), columns, rows) as fresh:
            fresh.wait_for("the last change")
            rows_after(fresh, "G", -1)
            assert piecewise == rows_after(fresh, "g", 0)


def rows_after(terminal: Terminal, key: str, cursor: int, table: slice = TABLE) -> list[str]:
    """The rows without their signs when the cursor has moved, by when all that was sent before is on the screen."""
    terminal.send(key)
    terminal.wait_for(lambda text: text.split("\n")[table][cursor].startswith(">"))
    return [line[2:] for line in terminal.lines[table]]


@pytest.mark.faults
def test_rows_on_screen_are_sent_once_while_the_rest_is_loaded(server: Server) -> None:
    newest = populate(server, 8000)
    with Terminal(gnjobs("--no-mouse"), 160, VISIBLE + 8, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: "1 all 8000" in text and "loading" not in text and newest in text, 60)
        rows_after(terminal, "j", 1, slice(3, 3 + VISIBLE))
        # What is unfinished comes first, and the newest push some of it down.
        assert len(A_ROW.findall(bytes(terminal.raw))) <= 3 * VISIBLE


def test_a_filter_that_is_typed_at_once_arrives_whole(server: Server) -> None:
    for number in range(20):
        write_job(server, f"job-{number}", label=f"job {number} ")
    with Terminal(gnjobs("--no-mouse"), 100, 30, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: "1 all 20" in text and "job 19" in text)
        terminal.send("/label:17\r")
        terminal.wait_for(lambda text: "job 17" in text and "job 18" not in text and "/label:17" in text)
        terminal.send("\x1b")
        terminal.wait_for(lambda text: "job 17" in text and "job 18" in text)
