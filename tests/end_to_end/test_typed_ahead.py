"""Keys that come in one packet act as the same keys typed slowly, and never answer a question that was not seen."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.typed_packets import ENTER, ESC, LEAST_QUIET, Typist, write_jobs
from tests.support.command import environment
from tests.support.proxy import running_proxy
from tests.support.servers import running_server
from tests.support.terminal import Terminal, gnjobs

PACKETS = {
    "jobs": (
        ENTER + "j", ENTER + "jK", ENTER + "K", "j" + ENTER + "K", "K" + ENTER + "j",
        "/" + ENTER + "j", "jK" + ESC, "/jk", ENTER + ESC + "j", "K" + ESC + "j",
    ),
    "job": ("j" + ENTER + "k", "jK", ENTER + "K" + ESC, ENTER + "/j", "K" + ESC + "k"),
    "pulse": (ESC + "j" + ESC,),
    "output": ("kK", "/j" + ENTER, "K" + ESC + "k"),
}  # fmt: skip


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        write_jobs(server)
        with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
            terminal.wait_for("3 running 2")
            yield terminal


def one_dashboard(screen: str) -> pytest.MarkDecorator:
    """What is tried at one screen is tried in one dashboard, also where several processes share the tests."""
    return pytest.mark.xdist_group(f"typed ahead: {screen}")


@pytest.mark.parametrize(
    ("screen", "keys"),
    [
        pytest.param(screen, keys, marks=one_dashboard(screen))
        for screen in PACKETS
        for keys in PACKETS[screen]
    ],
)
def test_a_packet_of_keys_acts_as_the_keys_typed_slowly(terminal: Terminal, screen: str, keys: str) -> None:
    typist = Typist(terminal, LEAST_QUIET)
    slowly, at_once = typist.both(screen, keys)
    if slowly != at_once:
        with typist.slower():
            slowly, at_once = typist.both(screen, keys)
    assert slowly == at_once


@pytest.mark.faults
@pytest.mark.parametrize(
    ("screen", "keys"), [("jobs", ENTER + "jK"), ("jobs", "j" + ENTER + "K"), ("job", "jK" + ESC)]
)
def test_a_packet_acts_as_typed_slowly_also_where_the_server_is_far(
    tmp_path: Path, screen: str, keys: str
) -> None:
    with running_server(tmp_path) as server, running_proxy(server.port) as proxy:
        write_jobs(server)
        proxy.delay = 0.3
        with Terminal(gnjobs(), 100, 30, environment(proxy.url)) as terminal:
            terminal.wait_for("3 running 2", 60)
            typist = Typist(terminal, 1.2)
            slowly = typist.slowly(screen, keys)
            assert typist.at_once(screen, keys, slowly) == slowly


@one_dashboard("output")
def test_no_key_answers_a_question_that_was_not_seen_yet(terminal: Terminal) -> None:
    typist = Typist(terminal)
    typist.go("jobs")
    terminal.send("K\t\t" + ENTER)
    terminal.wait_for("typed before this was seen")
    assert "asked as" not in typist.at_rest()
    terminal.send("\t\t" + ENTER)
    terminal.wait_for("asked as")


def test_keys_typed_before_the_first_jobs_are_listed_act_on_them(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        write_jobs(server)
        with Terminal(gnjobs(), 100, 30, environment(server.url)) as terminal:
            terminal.wait_for("gnjobs")
            terminal.send("j" + ENTER)
            assert terminal.wait_for("the job itself").startswith("gnjobs › check of bert")
