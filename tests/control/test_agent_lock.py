"""One agent for a host: a second one does not work, and is there when the first is gone."""

import json
import subprocess
import threading
from collections.abc import Iterator

import msgspec
import pytest
import redis

from gnjobs.control.agent import Agent, run_agent
from gnjobs.control.agent_lock import AgentLock, Holder
from gnjobs.processes.host import boot_id, host_name, own_account
from gnjobs.records.connection import connect
from gnjobs.store import JobStore
from tests.support.os_accounts import AS_NOBODY, needs_accounts
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.supervised import KEYS
from tests.support.terminal import gnjobs
from tests.support.waiting import wait_for


@pytest.fixture
def agents() -> Iterator[list["subprocess.Popen[str]"]]:
    """Agents as processes of their own, ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def start_agent(url: str, *before: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*before, *gnjobs("agent", "--redis-url", url)], stderr=subprocess.PIPE, text=True
    )


def holder(server: Server) -> dict[str, object]:
    return json.loads(server.client().get(KEYS.host_agent(host_name())) or b"{}")


@pytest.mark.parametrize(
    "account", [(), pytest.param(AS_NOBODY, marks=needs_accounts)], ids=["same account", "another account"]
)
def test_a_second_agent_says_why_it_does_not_work(
    server: Server, agents: list["subprocess.Popen[str]"], account: tuple[str, ...]
) -> None:
    agents.append(start_agent(server.url))
    wait_for(lambda: holder(server).get("pid") == agents[0].pid)
    agents.append(start_agent(server.url.replace("127.0.0.1", "localhost"), *account))
    _, said = agents[1].communicate(timeout=30)
    assert agents[1].returncode == 1
    assert f"already runs on {host_name()}: pid {agents[0].pid} of {own_account()}" in said
    agents[0].terminate()
    assert agents[0].wait(60) == 0
    assert not holder(server)


def test_nothing_that_a_holder_wrote_acts_where_an_agent_says_why_it_does_not_work(
    store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = msgspec.structs.replace(Holder.this_process(), account="x\x1b]0;owned\x07")
    store.client.set(store.keys.host_agent(host_name()), msgspec.json.encode(holder), ex=30)
    assert run_agent(store) == 1
    assert capsys.readouterr().err.endswith(" of x␛]0;owned␇\n")


def test_an_agent_that_was_killed_is_followed_at_once(
    server: Server, agents: list["subprocess.Popen[str]"]
) -> None:
    agents.append(start_agent(server.url))
    wait_for(lambda: holder(server).get("pid") == agents[0].pid)
    agents[0].kill()
    agents[0].wait()
    agents.append(start_agent(server.url))
    wait_for(lambda: holder(server).get("pid") == agents[1].pid)


def test_an_agent_waits_for_a_redis_that_is_away_and_says_so(
    own_server: Server, agents: list["subprocess.Popen[str]"]
) -> None:
    own_server.kill()
    agents.append(start_agent(own_server.url))
    assert "can't reach" in agents[0].stderr.readline()
    own_server.start()
    wait_for(lambda: holder(own_server).get("pid") == agents[0].pid)


def test_an_agent_whose_place_was_taken_leaves(store: JobStore) -> None:
    agent = Agent(store, every=0.1)
    assert agent.begin() is None
    thread = threading.Thread(target=agent.run)
    thread.start()
    store.client.set(KEYS.host_agent(host_name()), msgspec.json.encode(Holder.this_process()), ex=30)
    thread.join(10)
    assert not thread.is_alive()


def test_an_agent_at_work_leaves_for_nobody_who_is_said_to_be_there_once(store: JobStore) -> None:
    agent, key = Agent(store, every=0.1), KEYS.host_agent(host_name())
    assert agent.begin() is None
    ours = store.client.get(key)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        store.client.set(key, b'{"token": "x", "pid": 1}', px=1500)
        wait_for(lambda: store.client.get(key) == ours)
        assert thread.is_alive()
    finally:
        agent.stop()
        thread.join()


def test_who_can_not_be_looked_at_is_waited_for(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent of another pid namespace, a container of this name: only its silence says that it is gone."""
    key = KEYS.host_agent(host_name())
    monkeypatch.setattr("gnjobs.control.agent_lock._SLACK_SECONDS", 0.2)
    elsewhere = Holder("x", 1, 1, boot_id(), "pid:[1]", "root")
    store.client.set(key, msgspec.json.encode(elsewhere), px=1500)
    assert AgentLock(store.client, key, seconds=0.2).take() == elsewhere
    assert AgentLock(store.client, key, seconds=3.0).take() is None


@pytest.mark.parametrize("seconds", [None, 3600])
def test_what_would_keep_the_lock_for_longer_than_an_agent_does_is_nobodys(
    store: JobStore, seconds: int | None
) -> None:
    key = KEYS.host_agent(host_name())
    store.client.set(key, b'{"token": "x", "pid": 1}', ex=seconds)
    lock = AgentLock(store.client, key)
    assert lock.renew() is None
    assert 0 < store.client.ttl(key) <= 30
    lock.release()


@pytest.mark.faults
def test_an_agent_whose_reply_was_lost_does_not_take_itself_for_another(
    server: Server, proxy: Proxy, client: redis.Redis
) -> None:
    key = KEYS.host_agent(host_name())
    for position in range(200):
        client.delete(key)
        through_proxy = connect(proxy.url)
        through_proxy.ping()
        proxy.replies_left = position
        assert AgentLock(through_proxy, key).take() is None
        assert client.get(key)
        through_proxy.close()


def test_what_no_agent_has_written_is_no_lock(server: Server) -> None:
    client, key = server.client(), KEYS.host_agent("spoilt")
    client.hset(key, "a", "hash")
    lock = AgentLock(client, key)
    assert lock.take() is None
    client.delete(key)
    client.sadd(key, "a set")
    assert lock.renew() is None
    lock.release()
    assert not client.exists(key)
