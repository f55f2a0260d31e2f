"""A process that is told to end stores first what it has written, and then ends as it would have."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gnjobs.outputs.at_exit import STORING_SECONDS
from gnjobs.outputs.lines import Line
from gnjobs.outputs.reader import OutputReader
from gnjobs.records.environment import ENV_URL
from gnjobs.records.keys import Keys
from tests.support.servers import Server
from tests.support.waiting import wait_for

KEYS = Keys("p")
KEY = KEYS.child_output("job", "c1")
OPENING = (
    "import hashlib, os, pathlib, signal, sys, threading, time\n"
    "from gnjobs import ChildOutput\nfrom gnjobs.outputs import at_exit\n"
    "said = pathlib.Path(sys.argv[2])\n"
    "child = ChildOutput(sys.argv[1])\n"
)
# Says after each line that it was written; the last word may be cut off, never ahead of what was written.
WRITES = (
    "sys.setswitchinterval(1e-6)\n"  # the process may be ended between any two steps
    "with said.open('w') as file:\n"
    "    for number in range(10**9):\n"
    "        child.fault({'number': number})\n"
    "        print(number, file=file, flush=True)\n"
)


@contextmanager
def started(
    server: Server, place: Path, code: str, opening: str = OPENING
) -> Iterator["subprocess.Popen[bytes]"]:
    with server.client() as client:
        client.hset(KEYS.job("job"), mapping={"status": "running", "child:c1": KEY})
        client.hset(KEYS.child("job", "c1"), mapping={"status": "pending"})
    command = [sys.executable, "-c", opening + code, KEY, str(place / "said")]
    process = subprocess.Popen(command, env=os.environ | {ENV_URL: server.url}, start_new_session=True)
    try:
        wait_for(lambda: (place / "said").exists() and (place / "said").read_text())
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stored(server: Server) -> list[Line]:
    with server.client() as client:
        return [item for item in OutputReader(client, KEY).iterate() if isinstance(item, Line)]


def test_what_was_written_is_stored_before_the_end(server: Server, tmp_path: Path) -> None:
    with started(server, tmp_path, WRITES) as process:
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
        written = int((tmp_path / "said").read_text().rsplit("\n", 2)[-2]) + 1
        lines = stored(server)
        assert written <= len(lines) <= written + 1
        with server.client() as client:
            assert int(client.hget(KEYS.child("job", "c1"), "faults")) == len(lines)


@pytest.mark.parametrize("word", ["bytes([signal.SIGTERM])", "at_exit._CAUGHT"])
def test_what_came_before_the_default_was_restored_ends_it(server: Server, tmp_path: Path, word: str) -> None:
    """As if it had come just before, and the thread that stores had not been at its turn yet."""
    restored = "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
    code = f"child.print('begun')\n{restored}os.write(at_exit._pipe[1], {word})\nsaid.write_text('x')\n"
    with started(server, tmp_path, code + "time.sleep(1000)\n") as process:
        assert process.wait(STORING_SECONDS) == -signal.SIGTERM
    assert [line.text for line in stored(server)] == ["begun"]


@pytest.mark.parametrize(
    "busy",
    [
        "threading.Event().wait()",
        "time.sleep(1000)",
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",  # in C code, where no Python handler runs
        "signal.signal(signal.SIGTERM, signal.SIG_DFL) and time.sleep(1000)",
        "os.waitpid(os.fork() or time.sleep(1000), 0)",
    ],
)
def test_it_ends_at_once_whatever_it_is_doing(server: Server, tmp_path: Path, busy: str) -> None:
    code = f"child.print('begun')\nchild.writer.flush()\nsaid.write_text('x')\n{busy}\n"
    with started(server, tmp_path, code) as process:
        process.terminate()
        assert process.wait(STORING_SECONDS) == -signal.SIGTERM
        assert [line.text for line in stored(server)] == ["begun"]


def test_a_forked_copy_that_is_told_to_end_does_not_end_its_original(server: Server, tmp_path: Path) -> None:
    code = (
        "pid = os.fork() or time.sleep(1000)\n"
        "os.kill(pid, signal.SIGTERM)\n"
        "code = os.waitpid(pid, 0)[1]\n"
        "child.print(f'its copy got {code}')\n"
        "child.succeed()\n"
        "said.write_text('x')\n"
    )
    with started(server, tmp_path, code) as process:
        assert process.wait(60) == 0
        assert [line.text for line in stored(server)] == [f"its copy got {int(signal.SIGTERM)}"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_handler_of_ones_own_is_left_alone(server: Server, tmp_path: Path, when: str) -> None:
    own = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    opening = OPENING.replace("child =", f"{own}child =") if when == "before" else OPENING + own
    with started(server, tmp_path, "said.write_text('x')\ntime.sleep(1000)\n", opening) as process:
        process.terminate()
        assert process.wait(60) == 7


def test_it_waits_for_a_server_that_is_away_but_not_for_ever(own_server: Server, tmp_path: Path) -> None:
    code = (
        "at_exit.STORING_SECONDS = 1.0\n"
        "child.print('begun')\nchild.writer.flush()\nsaid.write_text('x')\n"
        "while child.writer.trouble is None: child.print('unsent'); time.sleep(0.01)\n"
        "said.write_text('away')\ntime.sleep(1000)\n"
    )
    with started(own_server, tmp_path, code) as process:
        own_server.kill()
        wait_for(lambda: (tmp_path / "said").read_text() == "away")
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
