"""What stands is left as it is, what a server forgot is said again, and what was removed is not made again."""

import pytest
import redis

from gnjobs.records.environment import ENV_LASTING
from gnjobs.records.keys import Keys
from gnjobs.records.lasting import Lasting, Statement, new_child, say
from gnjobs.records.scripts import Run
from gnjobs.records.statuses import ERROR, KILLED, PENDING, RUNNING, UNFINISHED_STATUSES

KEYS = Keys("p")
RECORD, HASH = KEYS.job("j"), KEYS.child("j", "c")
RUN = Run(RECORD)


@pytest.fixture
def end(client: redis.Redis) -> Statement:
    """The end of a child, which runs."""
    client.hset(RECORD, "status", "running")
    client.hset(HASH, mapping={"status": "running", "label": "a"})
    statement = Statement.of_child(KEYS, RUN, "j", "c", made=new_child("a", may_fail=True))
    statement.step((PENDING, RUNNING), ERROR, {"signal": 11})
    return statement


def outcome(client: redis.Redis, statement: Statement) -> str:
    (said,) = say(client, [statement])
    return said.outcome


def test_it_is_said_once_and_then_stands(client: redis.Redis, end: Statement) -> None:
    assert [outcome(client, end) for _ in range(2)] == ["done", "stood"]
    assert client.hmget(HASH, "status", "signal") == [b"error", b"11"]
    assert client.hmget(RECORD, "child:c", "children") == [KEYS.child_output("j", "c").encode(), b"1"]


def test_a_hash_that_was_forgotten_is_made_again_as_it_was(client: redis.Redis, end: Statement) -> None:
    outcome(client, end)
    client.delete(HASH)
    client.hdel(RECORD, "child:c", "children")
    assert outcome(client, end) == "done"
    assert client.hmget(HASH, "status", "label", "may-fail", "signal") == [b"error", b"a", b"1", b"11"]
    assert client.hexists(RECORD, "child:c")
    assert client.ttl(HASH) > 0


def test_of_a_job_that_was_removed_nothing_is_made_again(client: redis.Redis, end: Statement) -> None:
    client.delete(RECORD, HASH)
    assert outcome(client, end) == "gone"
    assert not client.exists(RECORD, HASH)


def test_the_end_that_came_first_stays(client: redis.Redis, end: Statement) -> None:
    client.hset(HASH, mapping={"status": "killed", "transition-token": "x", "signal": "9"})
    assert outcome(client, end) == "refused"
    assert client.hmget(HASH, "status", "signal") == [b"killed", b"9"]


def test_a_key_of_another_type_costs_no_other_child_its_end(client: redis.Redis, end: Statement) -> None:
    client.set(KEYS.child("j", "d"), "somebody else's")
    other = Statement.of_child(KEYS, RUN, "j", "d")
    other.step(UNFINISHED_STATUSES, KILLED, {})
    assert [said.outcome for said in say(client, [other, end])] == ["foreign", "done"]


def test_the_record_itself_is_made_again_only_when_told(client: redis.Redis) -> None:
    record = Statement(RUN, RECORD, made={b"label": b"a job"}, children={"c": "p:jobs:j:children:c:output"})
    record.step({PENDING}, RUNNING, {"pid": 7})
    assert outcome(client, record) == "gone"
    assert not client.exists(RECORD)
    (said,) = say(client, [record], makes_record=True)
    assert said.outcome == "done"
    assert client.hmget(RECORD, "status", "label", "pid", "children") == [b"running", b"a job", b"7", b"1"]


def test_what_was_said_is_looked_at_again(
    client: redis.Redis, end: Statement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_LASTING, "100.0")
    say(client, [end])
    lasting = Lasting()
    lasting.said([end])
    assert lasting.stands(client)
    client.hset(HASH, mapping={"status": "running", "transition-token": "earlier"})
    before = lasting.due
    assert not lasting.stands(client)
    assert lasting.due > before
    assert lasting.stands(client)
