"""What screens look like, compared with pictures that were looked at; data and times in them never change.

A difference that is meant is accepted by `pytest tests/tui/test_snapshots.py --snapshot-update`, after looking at it.
"""

import time
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from gnjobs.records.actor import Actor
from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.config import Config
from gnjobs_tui.screens.glance import GlanceScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import Hands, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_job, write_line

START = 1_700_000_000
STATUSES = ("success", "error", "killed", "lost", "success")
USERS = ("jsmith", "agunn", "mhall", "tux", "jsmith")


@pytest.fixture
def app(server: Server, monkeypatch: pytest.MonkeyPatch) -> GnjobsApp:
    """The dashboard on jobs that ended long ago."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for number, (status, user) in enumerate(zip(STATUSES, USERS, strict=True)):
        started = START + number * 3600
        fields = {"created": started, "started": started, "finished": started + 2400, "host": "gn-web1"}
        fields |= {"error": "exit code 1: KeyError: 'axolotl'"} if status == "error" else {}
        fields |= {"stop_by": "tux", "stop_reason": "runaway"} if status == "killed" else {}
        write_job(
            server,
            f"{number}f2a91c0-job",
            status=status,
            user_id=user,
            label=f"QC file {number}",
            percent=60,
            **fields,
        )
    job_id = "4f2a91c0-job"
    server.client().hset(KEYS.job(job_id), "faults", 2)
    write_child(
        server,
        job_id,
        "geno.tsv",
        status="success",
        percent=100,
        faults=2,
        started=START,
        finished=START + 60,
    )
    fault = '{"file":"geno.tsv","row":88,"row_title":"rs3023","column":41,"column_title":"BXD9","value":""}'
    write_line(server, KEYS.child_output(job_id, "geno.tsv"), 1, fault, "fault")
    app = GnjobsApp(Config(url=server.url), Actor.admin("tux"))
    app.place = "db1/0"
    return app


def after(app: GnjobsApp, *keys: str, shown: str) -> Callable[[Pilot[None]], object]:
    """Press keys when everything is loaded, and wait for what they show."""

    async def press(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.jobs.progress == 1.0 and len(app.jobs.catalogue) == len(STATUSES))
        await until(pilot, lambda: app.screen.query_one(VirtualTable).cursor_key and app.feed.kind == "live")
        await Hands(app).press(*keys)
        await shows(pilot, shown)
        await until(pilot, lambda: has_glanced(app.screen))
        await pilot.pause()

    return press


def has_glanced(screen: object) -> bool:
    """Whether the last lines were read, where there is room for them."""
    return not isinstance(screen, GlanceScreen) or screen.aim() is None or screen.glance is not None


@pytest.mark.parametrize("size", [(100, 30), (80, 24), (160, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_all_jobs(snap_compare: Callable[..., bool], app: GnjobsApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=after(app, shown="QC file 0"))


def test_a_job_with_faults(snap_compare: Callable[..., bool], app: GnjobsApp) -> None:
    press = after(app, "enter", shown="empty cell")
    assert snap_compare(app, terminal_size=(100, 30), run_before=press)


def test_users(snap_compare: Callable[..., bool], app: GnjobsApp) -> None:
    assert snap_compare(app, terminal_size=(100, 30), run_before=after(app, "u", shown="Newest"))
