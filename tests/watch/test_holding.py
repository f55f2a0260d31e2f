"""Whoever answers keys computes alone for a moment: loading waits."""

import time

import redis

from gnjobs.records.keys import Keys
from gnjobs.watch.loader import Loader
from gnjobs.watch.reading import make_sources
from gnjobs.watch.requests import WatchRequests
from gnjobs.watch.rows import default_order
from tests.support.population import populate
from tests.support.servers import Server


def test_a_hold_is_waited_for_and_ends_by_itself() -> None:
    requests = WatchRequests()
    requests.wait_while_held()
    began = time.monotonic()
    requests.hold(0.05)
    requests.wait_while_held()
    assert time.monotonic() >= began + 0.05
    requests.hold(60.0)
    requests.stop()
    requests.wait_while_held()
    requests.close()


def test_loading_stops_for_a_pause_before_each_portion(server: Server) -> None:
    populate(server, 1200)
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    with server.client() as client:
        steps = list(Loader(make_sources(client, ("gn-uploader",)), pause=pause).steps())
    assert sum(len(step.rows) for step in steps) >= 1200
    assert pauses >= 3


def write_unindexed(client: redis.Redis, count: int) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        created = number * 7919 % count
        pipe.hset(Keys().job(f"job-{number}"), mapping={"status": "success", "created": created})
    pipe.execute()


def test_what_no_index_lists_comes_in_order(server: Server) -> None:
    with server.client() as client:
        write_unindexed(client, 600)
        steps = list(Loader(make_sources(client, ("gn-uploader",))).steps())
    batches = [step.rows for step in steps if step.rows]
    assert {row.id for rows in batches for row in rows} == {f"job-{number}" for number in range(600)}
    assert all(list(rows) == sorted(rows, key=default_order) for rows in batches)


def test_nothing_old_is_told_of_what_was_read_anew(server: Server) -> None:
    with server.client() as client:
        write_unindexed(client, 600)
        loader = Loader(make_sources(client, ("gn-uploader",)))
        steps = loader.steps()
        first = next(step.rows for step in steps if step.rows)
        loader.drop(f"job-{number}" for number in range(600))
        assert len(first) == 500
        assert not any(step.rows for step in steps)
