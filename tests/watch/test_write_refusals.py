"""A server that refuses writes says so to one who only reads, and not to one who may not ask."""

import pytest
import redis

from gnjobs.watch.session import WriteRefusals
from tests.support.faults import FAULTS, broken
from tests.support.mirror import mirror
from tests.support.servers import Server
from tests.support.waiting import wait_for

BY_NAME = {fault.name: fault for fault in FAULTS}


def try_to_write(client: redis.Redis) -> str:
    try:
        client.hset("gn-uploader:jobs:j", "label", "new")
    except redis.ResponseError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("fault", "word"), [("full", "OOM"), ("unable-to-save", "MISCONF")])
def test_why_writes_are_refused(own_server: Server, fault: str, word: str) -> None:
    with own_server.client() as client:
        refusals = WriteRefusals(client)
        assert refusals.look() == ""
        with broken(own_server, BY_NAME[fault]):
            assert try_to_write(client)
            assert word in refusals.look()
        assert try_to_write(client) == ""
        assert refusals.look() == ""


def test_who_may_not_ask_is_told_nothing(own_server: Server) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
        assert WriteRefusals(client).look() == ""


@pytest.mark.parametrize("own_server", ["valkey"], indirect=True)
def test_a_watcher_says_so_and_that_it_is_over(own_server: Server) -> None:
    with own_server.client() as client, mirror(own_server.url) as seen:
        wait_for(lambda: (seen.apply(), seen.states)[1])
        assert not seen.states[-1].refuses_writes
        client.hset("gn-uploader:jobs:j", mapping={"jobid": "j", "status": "running", "label": "old"})
        with broken(own_server, BY_NAME["full"]):
            wait_for(lambda: (seen.apply(), seen.states[-1].refuses_writes)[1])
            assert "refuses writes" in seen.states[-1].why
        wait_for(lambda: (seen.apply(), not seen.states[-1].refuses_writes)[1])
        assert seen.states[-1].why == ""
