"""The two scripts, in process and on real servers."""

import threading

import pytest
import redis

from gnjobs.records.scripts import Run, add_children, transition
from gnjobs.records.statuses import FINAL_STATUSES, RUNNING, UNFINISHED_STATUSES
from tests.support.servers import Server

KEY = "P:jobs:j"


@pytest.fixture(params=["fake", "server"])
def client(request: pytest.FixtureRequest) -> redis.Redis:
    found = request.getfixturevalue(request.param)
    return found.client() if isinstance(found, Server) else found


def test_an_allowed_transition_writes_status_and_fields(client: redis.Redis) -> None:
    client.hset(KEY, "status", "pending")
    assert transition(client, KEY, {"pending"}, "running", "t1", {"pid": 7}) == ("done", "running")
    assert client.hmget(KEY, "status", "pid") == [b"running", b"7"]


def test_the_first_final_status_wins(client: redis.Redis) -> None:
    client.hset(KEY, "status", "running")
    assert transition(client, KEY, UNFINISHED_STATUSES, "killed", "t1")[0] == "done"
    for status in FINAL_STATUSES:
        assert transition(client, KEY, UNFINISHED_STATUSES, status, f"t-{status}") == ("refused", "killed")


def test_the_same_token_again_is_success_and_writes_nothing(client: redis.Redis) -> None:
    client.hset(KEY, "status", "running")
    transition(client, KEY, {RUNNING}, "success", "t1", {"exit-code": 0})
    assert transition(client, KEY, {RUNNING}, "success", "t1", {"exit-code": 9}) == ("done", "success")
    assert client.hget(KEY, "exit-code") == b"0"


def test_a_record_that_is_gone_is_not_made_again(client: redis.Redis) -> None:
    assert transition(client, KEY, {RUNNING}, "success", "t1") == ("gone", "")
    assert add_children(client, Run(KEY), {"a": "x"}) == -1
    assert not client.exists(KEY)


def test_children_are_counted_once(client: redis.Redis) -> None:
    client.hset(KEY, "status", "running")
    outputs = {f"c{n}": f"{KEY}:children:c{n}:output" for n in range(5000)}
    assert add_children(client, Run(KEY), outputs) == 5000
    assert add_children(client, Run(KEY), outputs | {"late": "x"}) == 1
    assert client.hget(KEY, "children") == b"5001"


def test_of_many_claims_at_once_one_wins(server: Server) -> None:
    server.client().hset(KEY, "status", "pending")
    outcomes = []

    def claim(number: int) -> None:
        outcomes.append(transition(server.client(), KEY, {"pending"}, "running", f"t{number}")[0])

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", *["refused"] * 19]
