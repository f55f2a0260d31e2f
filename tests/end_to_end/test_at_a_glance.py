"""What a person sees in a terminal without a key: last lines, sparklines, faults, and nothing over the reason."""

import json
import re
import time
from collections.abc import Iterator

import msgspec
import pytest

from gnjobs.processes.seen import History, ProcessSnapshot
from tests.support.command import environment
from tests.support.servers import Server, running_server
from tests.support.stored_records import KEYS, write_job, write_line, write_running
from tests.support.terminal import Terminal, gnjobs

ENTER = "\r"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A job at work that says nothing itself, and one that found more kinds of faults than fit."""
    now = time.time()
    with running_server(tmp_path_factory.mktemp("server")) as server:
        job = write_running(server, "job-1", label="at work", percent=25, started=now - 7200)
        for number in range(1, 40):
            write_line(server, KEYS.output(job), number, f"line {number}")
        history = History(10.0, (5.0, 90.0, 50.0), (1e6, 2e6, 2e6), (0.0, 100.0, 12_000.0), "rows")
        server.client().set(KEYS.processes(job), msgspec.json.encode(ProcessSnapshot(now, (), history)))
        faulty = write_job(server, "job-2", label="checked", faults=60)
        faults = [{"row": 1, "expected": "a number"}]
        faults += [{"row": row, "value": "x", "expected": f"value {row}"} for row in range(2, 61)]
        write_line(server, KEYS.output(faulty), 60, "\n".join(map(json.dumps, faults)), "fault")
        yield server


def test_what_a_job_does_is_seen_without_a_key_and_how_fast_it_is(shown: Server) -> None:
    with Terminal(gnjobs(), 100, 30, environment(shown.url)) as terminal:
        text = terminal.wait_for(lambda text: "rows/s ▁▂█ 12 000" in text and "line 39" in text)
        assert "about 6 h left" in text
        assert re.search(r"says +line 39", text)
        terminal.send(ENTER)
        terminal.wait_for(lambda text: "the job itself" in text and "rows/s ▁▂█ 12 000" in text)


def test_a_job_that_says_nothing_says_its_last_line_also_below_a_long_list(server: Server) -> None:
    for number in range(30):
        write_job(server, f"job-{number}", label=f"label {number}", created=number)
    write_line(server, KEYS.output("job-29"), 1, "all is well")
    with Terminal(gnjobs(), 80, 24, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: re.search(r"says +all is well", text) is not None)
        terminal.send("j")
        terminal.wait_for(lambda text: re.search(r"says +nothing\n", text) is not None)


def test_of_faults_those_that_fit_are_seen_and_how_many_more(shown: Server) -> None:
    with Terminal(gnjobs(), 100, 30, environment(shown.url)) as terminal:
        terminal.wait_for("checked")
        terminal.send("j" + ENTER)
        text = terminal.wait_for("more kinds; e shows all")
        assert "needs a number" in text


def test_what_is_said_of_a_key_covers_neither_the_reason_nor_the_keys(shown: Server) -> None:
    with Terminal(gnjobs(), 80, 24, environment(shown.url)) as terminal:
        terminal.wait_for(lambda text: "running normally" in text and "q quit" in text)
        terminal.send("y")
        text = terminal.wait_for("sent job-1")
        assert "running normally" in text
        assert "1 all 2" in text
        assert "q quit" in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("ls",), "no jobs under gn-uploader"),
        (("ls", "--user", "jsmith"), "no jobs of jsmith under gn-uploader"),
        (("ls", "--filter", "state:stuck"), "no job matches state:stuck"),
        (("users",), "no user has jobs"),
        (("hosts",), "no agents and no running jobs"),
        (("log",), "nothing has happened"),
    ],
)
def test_a_list_of_nothing_says_so(server: Server, command: tuple[str, ...], words: str) -> None:
    with Terminal(gnjobs(*command), 80, 24, environment(server.url)) as terminal:
        terminal.wait_for(lambda text: text.strip() == words)
