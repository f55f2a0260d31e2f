"""The timeline of a job's children: bars, how many were at work at once, and very many of them."""

import time

import pytest

from gnjobs.records.fields import Child, Job
from gnjobs.records.keys import CHILD_FIELD
from gnjobs_tui.screens.output import OutputScreen
from gnjobs_tui.screens.timeline import Timeline, TimelineScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import dashboard, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_running

JOB = "3f2a91c0-1111"


def child(name: str, started: float | None, finished: float | None = None, status: str = "success") -> Child:
    return Child(
        id=name, status=status if started is not None else "pending", started=started, finished=finished
    )


def test_bars_and_use() -> None:
    job = Job(id="j", status="running", started=100.0, max_workers=2)
    children = [
        child("wait", None),
        child("b", 120, 140),
        child("a", 100, 120),
        child("c", 110, None, "running"),
    ]
    line = Timeline(job, children, 140.0)
    assert [each.id for each in line.children] == ["a", "c", "b", "wait"]
    assert [line.bar(each, 8) for each in line.children] == ["████", "··██████", "····████", "········"]
    assert line.use(8) == "▄▄██████"
    assert [line.waited(each) for each in line.children] == [0, 10, 20, 40]
    assert line.summary() == "2 ended, 1 at work, 1 waiting; 1.8 of 2 workers at work on average, 88 %"


def test_odd_times_are_drawn_within_the_line() -> None:
    job = Job(id="j", status="killed", started=100.0, finished=90.0)
    for odd in (child("x", 1e300, -5.0), child("y", -1e300, 1e300), child("z", 100.0, None, "lost")):
        line = Timeline(job, [odd], 0.0)
        assert len(line.bar(odd, 10)) <= 10
        assert len(line.use(10)) == 10
        line.summary()
    assert Timeline(job, [], 0.0).summary() == "0 ended, 0 at work, 0 waiting"


@pytest.mark.sampled
@pytest.mark.parametrize("size", [(160, 50), (100, 30), (80, 24)])
async def test_it_is_opened_from_the_job_and_opens_outputs(server: Server, size: tuple[int, int]) -> None:
    now = time.time()
    write_running(server, JOB, label="QC average, July", started=now - 600, max_workers=4)
    server.client().hset(KEYS.job(JOB), "max-workers", 4)
    write_child(server, JOB, "early.tsv", status="success", started=now - 600, finished=now - 300)
    write_child(server, JOB, "late.tsv", started=now - 300, last_output=now)
    write_child(server, JOB, "never.tsv", status="pending")
    async with dashboard(server, size=size) as pilot:
        await pilot.press("enter", "t")
        screen = await shows(pilot, "timeline of its children", "at work, of 4", "never.tsv", "Waited")
        assert "1 ended, 1 at work, 1 waiting; 1.0 of 4 workers at work on average, 25 %" in screen
        late = next(line for line in screen.split("\n") if "late.tsv" in line)
        assert "·█" in late
        assert " 5m " in late
        write_child(server, JOB, "new.tsv", started=now, last_output=now)
        await shows(pilot, "new.tsv")
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, OutputScreen))
        assert pilot.app.screen.target.child == "early.tsv"


@pytest.mark.faults
async def test_ten_thousand_children(server: Server) -> None:
    now = time.time()
    write_running(server, JOB, label="many", started=now - 10_000)
    pipe = server.client().pipeline(transaction=False)
    for number in range(10_000):
        started = now - 10_000 + number
        pipe.hset(KEYS.job(JOB), f"{CHILD_FIELD}c-{number}", KEYS.child_output(JOB, f"c-{number}"))
        mapping = {
            "status": "success",
            "started": started,
            "finished": started + 5,
            "label": f"file {number}",
        }
        pipe.hset(KEYS.child(JOB, f"c-{number}"), mapping=mapping)
    pipe.execute()
    async with dashboard(server) as pilot:
        await pilot.press("enter", "t")
        await shows(pilot, "10 000 ended")
        assert isinstance(pilot.app.screen, TimelineScreen)
        await pilot.press("G")
        await shows(pilot, "file 9999")
        assert pilot.app.screen.query_one(VirtualTable).cursor_key == "c-9999"
