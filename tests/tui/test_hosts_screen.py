"""The page of hosts under Pilot: agents that answer and are silent, hosts without one, their jobs."""

from gnjobs.records.hosts import HostLoad, agent_beats, read_beats, write_beat
from tests.support.dashboard import dashboard, shows
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_running

GB = 10**9


def beat(server: Server, host: str, age: float = 0.0) -> None:
    client = server.client()
    now = client.time()[0] - age
    write_beat(client, KEYS, host, HostLoad(at=now, cores=8, load=3.25, memory=64 * GB, free=40 * GB))


async def test_each_host_shows_its_agent_its_load_and_its_jobs(server: Server) -> None:
    beat(server, "db1")
    beat(server, "db2", age=3600)
    write_running(server, "job-1", label="on the first", host="db1")
    write_running(server, "job-2", label="on the last", host="web1")
    write_running(server, "job-3", label="on another", host="db10")
    async with dashboard(server, size=(160, 30)) as pilot:
        await pilot.press("h")
        text = await shows(pilot, "answers", "3.2 of 8 cores", "24 GB of 64 GB", "silent since", "no agent")
        first_words = [(line[2:].split() or [""])[0] for line in text.splitlines()]
        assert [word for word in first_words if word in ("db1", "db2", "web1")] == ["db2", "db1", "web1"]
        await pilot.press("j", "enter")
        text = await shows(pilot, "on the first", '/host:"db1"')
        assert "on the last" not in text
        assert "on another" not in text
        await pilot.press("escape", "p")
        await shows(pilot, "3 jobs of the last 14 days")


async def test_what_an_agents_key_holds_harms_nobody(server: Server) -> None:
    client = server.client()
    client.zadd(KEYS.hosts, {"db1": client.time()[0], "db2": client.time()[0], "a:b": 1, b"\xff": 1})
    client.zadd(KEYS.hosts, {"past": "-inf", "ahead": "1e300", "nought": -1e-300})
    client.set(KEYS.host_load("db1"), b'{"at": 1, "memory": 1%s}' % (b"0" * 400))
    client.lpush(KEYS.host_load("db2"), "a list")
    async with dashboard(server) as pilot:
        await pilot.press("h")
        text = await shows(pilot, "db1", "db2")
        assert not {"a:b", "past", "ahead", "nought"} & set(text.split())
    assert not agent_beats(client, KEYS, "ahead")


async def test_agents_are_asked_where_their_list_is_spoilt_and_make_it_whole(server: Server) -> None:
    client = server.client()
    client.set(KEYS.hosts, "x")
    assert agent_beats(client, KEYS, "db1")
    async with dashboard(server) as pilot:
        await pilot.press("h")
        await shows(pilot, "no agent")
    beat(server, "db1")
    client.set(KEYS.host_load("db2"), b"x" * 5000)
    beat(server, "db2")
    assert {(each.host, each.load is not None) for each in read_beats(client, KEYS)} == {
        ("db1", True),
        ("db2", True),
    }
