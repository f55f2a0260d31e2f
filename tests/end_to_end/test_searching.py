"""`gnjobs ls` that searches a server full of others' keys: it says how far it is, and nothing of it stays."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.command import environment, run
from tests.support.servers import Server
from tests.support.stored_records import write_job
from tests.support.terminal import Terminal

KEYS = 30_000
WORDS = "looking for jobs that no index lists"
# As if every search took longer than anybody likes to wait.
AT_ONCE = """
from gnjobs_tui.cli import session
from gnjobs_tui.cli.main import main
session.SAID_AFTER = session.SAID_EVERY = 0.0
main()
"""


# As if no search ever took long, however busy the machine is.
NEVER = AT_ONCE.replace("= 0.0", "= 3600.0")


def ls_that_says_it_at_once(*arguments: str) -> list[str]:
    return [sys.executable, "-c", AT_ONCE, "ls", *arguments]


@pytest.fixture
def full(server: Server) -> Iterator[Server]:
    """A server with one job of ours and many keys that are nobody's."""
    write_job(server, "one", label="a job")
    with server.client() as client:
        client.eval("for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'other:' .. i, '') end", 0, KEYS)
        yield server
        client.flushall()


@pytest.mark.parametrize("columns", [100, 30])
def test_it_is_said_on_one_line_and_erased(full: Server, columns: int) -> None:
    with Terminal(ls_that_says_it_at_once(), columns, 24, environment(full.url)) as terminal:
        assert terminal.wait_closed() == 0
        terminal.wait_for("✓")
        said = bytes(terminal.raw)
        assert said.count(WORDS[: columns - 1].encode()) >= KEYS // 1000
        assert columns < len(WORDS) or b": 30 000 keys" in said
        assert said.index("✓".encode()) > said.rindex(b"looking")
        assert "looking" not in terminal.text
        assert terminal.lines[0].startswith("Sta")


def test_whoever_interrupts_it_gets_a_clean_line(full: Server) -> None:
    endless = AT_ONCE.replace("main()", "import gnjobs.records.indexes as i; i.scan_steps = forever; main()")
    forever = "def forever(*_):\n    while True:\n        yield []\n"
    with Terminal(
        [sys.executable, "-c", forever + endless, "ls"], 100, 24, environment(full.url)
    ) as terminal:
        terminal.wait_for(WORDS)
        terminal.send("\x03")
        assert terminal.wait_closed() == 130
        terminal.wait_for(lambda text: "looking" not in text)


def test_a_quick_search_says_nothing(server: Server) -> None:
    write_job(server, "one", label="a job")
    with Terminal([sys.executable, "-c", NEVER, "ls"], 100, 24, environment(server.url)) as terminal:
        assert terminal.wait_closed() == 0
        terminal.wait_for("a job")
        assert b"looking" not in terminal.raw


def test_into_a_file_or_pipe_nothing_is_said(full: Server) -> None:
    done = subprocess.run(
        ls_that_says_it_at_once(), env=environment(full.url), capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout == run(full.url, "ls").stdout
