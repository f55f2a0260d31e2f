"""A dashboard says in its header that Redis refuses writes, accuses no job for it, and says when it is over."""

import pytest

from tests.support.command import environment
from tests.support.faults import FAULTS, Fault, broken
from tests.support.servers import Server
from tests.support.supervised import python, supervised
from tests.support.terminal import Terminal, gnjobs

pytestmark = pytest.mark.faults

REFUSING = [fault for fault in FAULTS if fault.name in ("full", "unable-to-save")]


def header(text: str) -> str:
    return text.split("\n", 1)[0]


@pytest.mark.parametrize("fault", REFUSING, ids=str)
def test_the_header_says_so_while_it_lasts(faulty: Server, fault: Fault) -> None:
    with supervised(faulty, python("import time; time.sleep(1000)"), label="a sleeper") as job:
        job.wait_for("running")
        with Terminal(gnjobs(), 140, 30, env=environment(faulty.url)) as terminal:
            terminal.wait_for("a sleeper")
            assert "refuses" not in header(terminal.text)
            with broken(faulty, fault):
                terminal.wait_for(lambda text: "Redis refuses writes" in header(text))
                assert "STUCK" not in terminal.text
            terminal.wait_for(lambda text: " live" in header(text) and "refuses" not in header(text))
            assert "STUCK" not in terminal.text
