"""Keys that come in one packet act as the same keys typed slowly, and never answer a question that was not seen."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.end_to_end.typed_packets import (
    ALL,
    differing,
    differing_in_terminal,
    opened,
    supervisor,
    write_jobs,
)
from tests.support.command import environment
from tests.support.proxy import running_proxy
from tests.support.servers import Server, running_server
from tests.support.terminal import Terminal, gnjobs
from tests.support.typists import ENTER, ESC, SCREENS, Typist

PACKETS = {
    "jobs": ("j" + ENTER + "K", "K" + ENTER + "j", "/jk", ENTER + "K" + ESC),
    "job": ("jK" + ESC, ESC + ENTER + "K"),
    "output": ("/j" + ENTER,),
    "pulse": (ESC + "j" + ESC,),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        write_jobs(server)
        with supervisor(server):
            yield server


@pytest.mark.faults
@pytest.mark.parametrize("delay", [0.0, 0.3])
async def test_a_packet_of_keys_acts_as_the_keys_typed_slowly(server: Server, delay: float) -> None:
    with running_proxy(server.port) as proxy:
        async with opened(server, proxy) as typist:
            for screen, tried in PACKETS.items():
                async for found in differing(typist, screen, proxy, [delay], tried):
                    raise AssertionError(f"at {screen}: {found}")


@pytest.mark.faults
@pytest.mark.parametrize("screen", SCREENS)
async def test_packets_lead_in_a_terminal_where_they_lead_here(server: Server, screen: str) -> None:
    with running_proxy(server.port) as proxy, Terminal(gnjobs(), 100, 30, environment(proxy.url)) as terminal:
        async with opened(server, proxy) as typist:
            hands = Typist(terminal)
            tried: Sequence[str] = ALL[::40]
            for _ in range(3):  # one of the two may be looked at before it has read what lies behind
                differ = [
                    each async for each in differing_in_terminal(typist, hands, screen, proxy, [0.0], tried)
                ]
                tried = [each.keys for each in differ]
            assert not differ, f"at {screen}: {differ}"


def test_no_key_answers_a_question_that_was_not_seen_yet(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        write_jobs(server)
        with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
            terminal.wait_for("3 running 2")
            terminal.send("K\t\t" + ENTER)
            terminal.wait_for("not killed: that key was pressed")
            assert "asked as" not in Typist(terminal).at_rest()
            # An enter behind an escape presses nothing that was left.
            terminal.send("\t\t")
            terminal.send(ESC + ENTER)
            terminal.wait_for("the job itself")
            terminal.send(ESC)
            terminal.wait_for("3 running 2")
            terminal.send("K")
            terminal.wait_for("Kill one job")
            terminal.answer("\t\t" + ENTER)
            terminal.wait_for("asked as")


def test_keys_typed_before_the_first_jobs_are_listed_act_on_them(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        write_jobs(server)
        with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
            terminal.wait_for("gnjobs")
            terminal.send("j" + ENTER)
            assert terminal.wait_for("the job itself").startswith("gnjobs › check of bert")
