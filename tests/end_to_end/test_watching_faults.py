"""A dashboard in a real terminal, its server broken under it: it says so, comes back, and shows what is there then."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import BINARIES, Server, running_server
from tests.support.waiting import wait_for
from tests.support.watched import (
    KEYS,
    change,
    fill,
    header,
    kill_connections_one_by_one,
    restart,
    send_by_hand,
    shown,
    wait_until_away,
    wait_until_right,
    watch,
)

pytestmark = pytest.mark.faults

LASTING = ("--appendonly", "yes", "--appendfsync", "always")
# The budget is 2 s, see the benchmark of recovery; a test among others on a busy machine may take longer.
SOON = 6.0


@pytest.fixture(params=sorted(BINARIES))
def faulty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server with a journal and some jobs, to be broken."""
    with running_server(tmp_path / "server", BINARIES[request.param], *LASTING) as server:
        with server.client() as client:
            fill(client)
        yield server


def test_a_server_that_dies_and_returns_is_shown_as_it_is_then(faulty: Server) -> None:
    with watch(faulty.url) as terminal:
        with faulty.client() as client:
            wait_until_right(terminal, client, 20)
        faulty.kill()
        wait_until_away(terminal, SOON)
        assert len(shown(terminal.text)) > 20
        restart(faulty, lambda client: change(client, "v2"))
        with faulty.client() as client:
            wait_until_right(terminal, client, SOON)
            client.hset(KEYS.job("j3"), "label", "job-3-pushed")
            wait_until_right(terminal, client, SOON)
        assert b"AWAY since" in terminal.raw


def test_a_flush_a_change_by_hand_and_an_expiring_key_are_seen(faulty: Server) -> None:
    with watch(faulty.url) as terminal, faulty.client() as client:
        wait_until_right(terminal, client, 20)
        assert send_by_hand(faulty, f"HSET {KEYS.job('j5')} label job-5-by-hand") == b":0\r\n"
        wait_until_right(terminal, client, SOON)
        client.pexpire(KEYS.job("j5"), 50)
        wait_for(lambda: not client.exists(KEYS.job("j5")))
        wait_until_right(terminal, client, SOON)
        client.flushall()
        wait_until_right(terminal, client, SOON)
        fill(client, "v3")
        change(client, "v4")
        wait_until_right(terminal, client, SOON)
        assert b"AWAY" not in terminal.raw


def test_each_of_its_connections_may_be_killed(faulty: Server) -> None:
    with watch(faulty.url) as terminal, faulty.client() as client:
        wait_until_right(terminal, client, 20)

        def check(number: str) -> None:
            change(client, f"v{number}")
            wait_until_right(terminal, client, SOON)

        assert kill_connections_one_by_one(client, check) >= 2


def test_a_server_that_drops_idle_connections_is_live_all_the_time(faulty: Server) -> None:
    with faulty.client() as client:
        client.config_set("timeout", 1)
        with watch(faulty.url) as terminal:
            wait_until_right(terminal, client, 20)
            # The tests' own client is asked all the time, so only what the dashboard reads with is dropped.
            wait_for(lambda: [c["sub"] for c in client.client_list()].count("0") == 1)
            change(client, "v2")
            wait_until_right(terminal, client, SOON)
            assert b"AWAY" not in terminal.raw


def test_where_tracking_is_refused_the_header_says_that_it_polls(faulty: Server) -> None:
    with faulty.client() as client:
        commands = ["+@all", "-client|tracking"]
        client.acl_setuser(
            "viewer", enabled=True, passwords=["+x"], keys=["*"], channels=["*"], commands=commands
        )
        with watch(faulty.url.replace("redis://", "redis://viewer:x@")) as terminal:
            wait_until_right(terminal, client, 20, "polling:")
            client.hset(KEYS.job("j5"), "label", "job-5-changed")
            wait_until_right(terminal, client, SOON, "polling:")
            terminal.wait_for(lambda text: "  live" not in header(text))
            faulty.send(signal.SIGSTOP)
            try:
                wait_until_away(terminal, 12.0)
            finally:
                faulty.send(signal.SIGCONT)
            wait_until_right(terminal, client, SOON, "polling:")


@pytest.mark.parametrize("faulty", ["valkey"], indirect=True)
def test_a_frozen_server_is_said_to_be_away(faulty: Server) -> None:
    with watch(faulty.url) as terminal, faulty.client() as client:
        wait_until_right(terminal, client, 20)
        faulty.send(signal.SIGSTOP)
        try:
            # Noticed after 11.5 s; to the hundredth is what the feed's own test looks at, with a clock of its own.
            wait_until_away(terminal, 11.5 + SOON)
        finally:
            faulty.send(signal.SIGCONT)
        change(client, "v2")
        wait_until_right(terminal, client, SOON)
