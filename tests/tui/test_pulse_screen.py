"""The pulse under Pilot: what it says, at every size, and where its rows and keys lead."""

import time

import pytest

from gnjobs.records.hosts import HostLoad, write_beat
from tests.support.dashboard import dashboard, shows
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_job, write_running

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def pulse(server: Server) -> Server:
    """Two weeks of calm, a day of failures, a job that waits, and an agent that went silent."""
    now = time.time()
    for number in range(30):
        at = now - DAY * (1.2 + number / 3)
        write_job(server, f"old-{number}", created=at, started=at + 4, finished=at + 604)
    for number in range(6):
        at = now - 3 * HOUR - number
        write_job(
            server,
            f"new-{number}",
            created=at,
            started=at + 4,
            finished=at + 1204,
            status="error",
            job_type="in[b]",
        )
    for number in range(3):
        at = now - 2 * HOUR - number
        write_job(server, f"slow-{number}", created=at, started=at + 4, finished=at + 1204)
    write_job(server, "waits", created=now - 1200, status="pending", label="the one that waits")
    write_running(server, "runs", created=now, host="web1", label="the one that runs")
    write_beat(server.client(), KEYS, "db1", HostLoad(at=now - HOUR, cores=8, load=3.25, memory=100, free=40))
    return server


@pytest.mark.parametrize("size", [(160, 50), (100, 30), (80, 24)], ids=str)
async def test_it_says_what_is_unusual_at_every_size(pulse: Server, size: tuple[int, int]) -> None:
    async with dashboard(pulse, size=size) as pilot:
        await pilot.press("p")
        text = await shows(pilot, "agent silent since", "today")
    words = " ".join(text.split())
    assert "41 jobs of the last 14 days" in words
    assert "! failing 6 of 9 jobs failed in the last 24 h, 67 %; 0 % before" in words
    assert "more than usual: in[b] 6 of 6" in words
    assert "! queue 1 job waits, the longest for 20 min" in words
    assert "! speed qc takes 20 min, 2.0 times its usual 10 min" in words
    assert "! hosts db1: agent silent since" in words
    assert all(len(line) <= size[0] for line in text.splitlines())


async def test_rows_and_keys_lead_to_their_jobs(pulse: Server) -> None:
    async with dashboard(pulse, size=(160, 50)) as pilot:
        await pilot.press("p")
        text = await shows(pilot, "in[b]", "db1")
        rows = [line[2:15].strip() for line in text.splitlines()]
        below = rows.index("in[b]") - rows.index("today")
        await pilot.press(*["j"] * below, "enter")
        await shows(pilot, '/type:"in[b]"', "failed")
        await pilot.press("escape", "f")
        await shows(pilot, "/state:error,lost ended<24h")
        await pilot.press("escape", "w")
        await shows(pilot, "the one that waits", "/state:pending")
        await pilot.press("escape", "g", "enter")
        await shows(pilot, "the one that runs", "/age<=")  # of today: the other may wait since yesterday


async def test_a_filter_for_which_there_is_no_room_is_cut_with_a_mark(pulse: Server) -> None:
    async with dashboard(pulse, size=(80, 24)) as pilot:
        await pilot.press("p", "f")
        await shows(pilot, "/state:error,lost ended<2… ")


async def test_without_jobs_it_says_so(server: Server) -> None:
    async with dashboard(server) as pilot:
        await pilot.press("p")
        await shows(
            pilot,
            "0 jobs of the last 14 days",
            "no job waits",
            "no agent runs",
            "no job ended in the last 24 h",
        )
