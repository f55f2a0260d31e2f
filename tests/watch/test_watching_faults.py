"""Watching through faults: it says that it is away, comes back by itself, and then shows exactly what is in Redis."""

import itertools
import signal
import time

import pytest
import redis

from gnjobs.records.connection import connect
from gnjobs.records.feed import PING_EVERY, PONG_WITHIN, ChangeFeed, FeedDead
from tests.support.clock import Clock
from tests.support.mirror import KEYS, Mirror, add_job, loaded_mirror, mirror, rows_in
from tests.support.servers import Server
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults


def fill(client: redis.Redis, count: int = 60) -> None:
    for number in range(count):
        add_job(
            client, f"j{number}", created=1000.0 + number, status="running" if number % 7 == 0 else "success"
        )


def change_everything(client: redis.Redis) -> None:
    """What may happen while nobody watches."""
    client.delete(KEYS.job("j1"), KEYS.job("j14"))
    client.hset(KEYS.job("j7"), mapping={"status": "killed", "stop-by": "tux"})
    client.hset(KEYS.job("j2"), "label", "changed")
    add_job(client, "new", status="running", created=5000.0)
    add_job(client, "uploaded", indexed=False)


def same(seen: Mirror, client: redis.Redis) -> bool:
    return seen.rows() == rows_in(client)


def test_a_restarted_server_is_shown_as_it_is_then(own_server: Server) -> None:
    with own_server.client() as client:
        fill(client)
    with loaded_mirror(own_server.url) as seen:
        own_server.kill()
        wait_for(lambda: seen.state == "away")
        assert len(seen.rows()) == 60
        own_server.start()
        with own_server.client() as client:
            fill(client)
            change_everything(client)
            wait_for(lambda: seen.state == "live" and same(seen, client))
            client.hset(KEYS.job("j3"), "label", "pushed again")
            wait_for(lambda: same(seen, client))
        away = [state for state in seen.states if state.kind == "away"]
        assert len({state.since for state in away}) == 1
        assert all(state.why and "\n" not in state.why for state in away)


def test_a_server_that_is_not_there_yet_is_waited_for(own_server: Server) -> None:
    own_server.kill()
    with mirror(own_server.url) as seen:
        wait_for(lambda: seen.state == "away")
        own_server.start()
        with own_server.client() as client:
            fill(client)
            wait_for(lambda: seen.state == "live" and same(seen, client))


def test_killed_connections_lose_nothing(own_server: Server) -> None:
    with own_server.client() as client:
        fill(client)
        own = client.client_id()
        with loaded_mirror(own_server.url) as seen:
            for number in range(5):
                pipe = client.pipeline()
                for connection in client.client_list():
                    if int(connection["id"]) != own:
                        pipe.client_kill_filter(_id=connection["id"])
                pipe.hset(KEYS.job("j5"), "label", f"label {number}")
                pipe.delete(KEYS.job(f"j{10 + number}"))
                pipe.execute(raise_on_error=False)
                wait_for(lambda: same(seen, client))
            wait_for(lambda: seen.state == "live")
            client.hset(KEYS.job("j6"), "label", "after")
            wait_for(lambda: same(seen, client))


def test_the_connections_that_read_may_die_without_being_away(own_server: Server) -> None:
    with own_server.client() as client:
        fill(client)
        own = client.client_id()
        with loaded_mirror(own_server.url) as seen:
            for connection in client.client_list():
                if int(connection["id"]) != own and int(connection["sub"]) == 0:
                    client.client_kill_filter(_id=connection["id"])
            client.hset(KEYS.job("j5"), "label", "after")
            wait_for(lambda: same(seen, client))
            assert [state.kind for state in seen.states] == ["connecting", "live"]


def test_a_server_that_drops_idle_connections_does_not_drop_the_feed(own_server: Server) -> None:
    with own_server.client() as client:
        client.config_set("timeout", 1)
        fill(client)
        with loaded_mirror(own_server.url) as seen:
            # The tests' own client is asked all the time, so only the watcher's reading connection is dropped.
            wait_for(lambda: [c["sub"] for c in client.client_list()].count("0") == 1)
            client.hset(KEYS.job("j5"), "label", "after")
            wait_for(lambda: same(seen, client))
            assert [state.kind for state in seen.states] == ["connecting", "live"]


def test_a_flush_and_refill_at_once_ends_with_what_is_there(own_server: Server) -> None:
    with own_server.client() as client:
        fill(client, 300)
        with loaded_mirror(own_server.url) as seen:
            for _ in range(3):
                client.flushall()
                fill(client, 40)
            wait_for(lambda: same(seen, client))


def test_changes_during_the_load_are_neither_lost_nor_overwritten(own_server: Server) -> None:
    with own_server.client() as client:
        fill(client, 3000)
        with mirror(own_server.url) as seen:
            for number in itertools.count():
                client.hset(KEYS.job(f"j{(number * 37) % 3000}"), "label", f"changed {number}")
                if number % 10 == 0:
                    client.delete(KEYS.job(f"j{(number * 31) % 3000}"))
                seen.apply()
                if seen.progress == 1.0 or number > 20_000:
                    break
            wait_for(lambda: same(seen, client))


def test_a_feed_that_is_dead_is_noticed_within_twelve_seconds(own_server: Server) -> None:
    clock = Clock()
    with own_server.client() as wake:
        feed = ChangeFeed(connect(own_server.url), [KEYS.jobs_namespace, KEYS.events], clock)
        feed.open()
        connection = wake.connection_pool.get_connection()
        descriptor = connection._sock
        own_server.send(signal.SIGSTOP)
        try:
            clock.now += PING_EVERY
            assert feed.read(0.0, descriptor) == []
            clock.now += PONG_WITHIN - 0.1
            assert feed.read(0.0, descriptor) == []
            clock.now += 0.1
            with pytest.raises(FeedDead):
                feed.read(0.0, descriptor)
        finally:
            own_server.send(signal.SIGCONT)
            feed.close()
            connection.disconnect()
    assert clock.now < 12.0


def test_a_feed_that_answers_lives_on_and_costs_one_ping_in_ten_seconds(own_server: Server) -> None:
    clock = Clock()
    with own_server.client() as client, own_server.client() as wake:
        feed = ChangeFeed(connect(own_server.url), [KEYS.jobs_namespace, KEYS.events], clock)
        feed.open()
        connection = wake.connection_pool.get_connection()
        client.config_resetstat()
        for _ in range(3):
            clock.now += PING_EVERY
            feed.read(0.0, connection._sock)
            assert feed.read(0.5, connection._sock) == []  # the answer, if it was not there yet
        assert client.info("commandstats")["cmdstat_ping"]["calls"] == 3
        clock.now += PING_EVERY / 2
        start = time.monotonic()
        client.hset(KEYS.job("a"), "status", "running")
        assert feed.read(5.0, connection._sock) == [KEYS.job("a").encode()]
        assert time.monotonic() - start < 5.0
        feed.close()
        connection.disconnect()


def test_a_hung_server_is_away_and_comes_back(own_server: Server) -> None:
    with own_server.client() as client:
        fill(client)
        with loaded_mirror(own_server.url) as seen:
            own_server.send(signal.SIGSTOP)
            seen.watcher.refresh()
            wait_for(lambda: seen.state == "away")
            own_server.send(signal.SIGCONT)
            change_everything(client)
            wait_for(lambda: seen.state == "live" and same(seen, client))


def test_a_server_that_still_reads_its_data_is_away_until_it_answers(own_server: Server) -> None:
    with own_server.client() as client:
        fill(client, 300)
        client.save()
    with loaded_mirror(own_server.url) as seen:
        own_server.kill()
        wait_for(lambda: seen.state == "away")
        own_server.options = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
        own_server.start()
        with own_server.client() as client:
            wait_for(lambda: seen.state == "live" and same(seen, client), 2)
        kinds = [kind for kind, _ in itertools.groupby(state.kind for state in seen.states)]
        assert kinds == ["connecting", "live", "away", "live"]
        assert any("loading" in state.why.lower() for state in seen.states)
