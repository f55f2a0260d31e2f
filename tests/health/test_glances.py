"""A close look at what seems to wake by its timer alone: who asks and is answered in between is at work."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from gnjobs.health.glances import Glances, Suspect
from gnjobs.processes.proc import process_start
from tests.support.waiting import wait_for

SECONDS = 0.6
IDLERS = {
    "a timer": "while 1: time.sleep(.05)",
    "an event": "e = threading.Event()\nwhile 1: e.wait(.05)",
    "a refused connection": (
        "while 1:\n try: socket.create_connection(('127.0.0.1', 1))\n except OSError: time.sleep(.05)"
    ),
    "shorter and shorter timers": "while 1:\n for n in range(9): time.sleep(.1 / 2**n)",
}
ASKERS = {"without a time limit": None, "with one": 5.0}


@contextlib.contextmanager
def suspected(code: str) -> Iterator[Suspect]:
    """A process under suspicion, once it runs."""
    code = f"import socket, threading, time\nprint(flush=True)\n{code}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Suspect((process.pid, process_start(process.pid) or 0), [process.pid], ())
        process.kill()


def answer(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(9)
                connection.send(b"yes")


@pytest.fixture
def port() -> Iterator[int]:
    """The port of somebody who answers whoever asks, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("limit", ASKERS.values(), ids=ASKERS.keys())
def test_who_asks_and_is_answered_at_once_is_at_work(port: int, limit: float | None) -> None:
    asks = (
        f"while 1:\n s = socket.create_connection(('127.0.0.1', {port}), timeout={limit})\n"
        " s.send(b'?')\n s.recv(9)\n s.close()\n time.sleep(.05)"
    )
    with suspected(asks) as suspect:
        glances, found = Glances(SECONDS), set[tuple[int, int]]()

        def look() -> bool:
            glances.begin([suspect])
            found.update(glances.take().at_work)
            return bool(found)

        wait_for(look, what="it to be seen at work")
        assert found == {suspect.identity}


def test_who_wakes_by_a_timer_alone_does_nothing() -> None:
    with contextlib.ExitStack() as stack:
        suspects = [stack.enter_context(suspected(code)) for code in IDLERS.values()]
        glances = Glances(SECONDS)
        glances.begin(suspects)
        wait_for(lambda: not any(each.name == "glances" for each in threading.enumerate()))
        assert not glances.take().at_work


def test_who_is_gone_does_nothing() -> None:
    with suspected("") as suspect:
        pass
    glances = Glances(SECONDS)
    glances.begin([suspect])
    wait_for(lambda: not any(each.name == "glances" for each in threading.enumerate()))
    assert not glances.take().at_work
