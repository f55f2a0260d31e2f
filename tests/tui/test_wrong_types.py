"""Every screen on jobs and indexes whose keys are of the wrong type: each opens, and nothing fails."""

import pytest
from textual.pilot import Pilot

from gnjobs_tui.screens.dialogs import TextScreen
from gnjobs_tui.screens.faults import FaultsScreen
from gnjobs_tui.screens.job import JobScreen
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.screens.kill import KillScreen
from gnjobs_tui.screens.log import LogScreen
from gnjobs_tui.screens.output import OutputScreen
from gnjobs_tui.screens.users import UsersScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import dashboard, shows, until
from tests.support.servers import Server
from tests.support.wrong_types import GROUPS, INDEXES, TYPES, job_with, job_with_all, shifted_types

REFUSALS = ("WRONGTYPE", "Traceback", "codec")
pytestmark = pytest.mark.timeout(600)  # six jobs, each on every screen


async def visit(pilot: Pilot[None], key: str, screen: type) -> None:
    """Open a screen and come back."""
    below = pilot.app.screen
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, screen), f"{screen.__name__} after {key}")
    await pilot.app.workers.wait_for_complete([each for each in pilot.app.workers if each.group == "read"])
    await pilot.pause()
    await pilot.press("escape")
    await until(pilot, lambda: pilot.app.screen is below, f"the way back from {screen.__name__}")


async def walk_through_the_job(pilot: Pilot[None]) -> None:
    """Open everything that can be seen of the job of the cursor."""
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, JobScreen))
    await shows(pilot, "the job itself")
    for key, screen in (("x", TextScreen), ("e", FaultsScreen), ("enter", OutputScreen), ("K", KillScreen)):
        await visit(pilot, key, screen)
    await pilot.press("G")
    await visit(pilot, "enter", OutputScreen)
    await pilot.press("escape")
    await until(pilot, lambda: isinstance(pilot.app.screen, JobsScreen))


def refusals(pilot: Pilot[None]) -> list[str]:
    """What was said of a failure."""
    said = [note.message for note in pilot.app._notifications]
    return [text for text in said if any(word in text for word in REFUSALS)]


@pytest.mark.faults
@pytest.mark.parametrize("key_names", GROUPS.values(), ids=GROUPS)
async def test_jobs_with_keys_of_other_types(server: Server, key_names: list[str]) -> None:
    for shift in range(len(TYPES)):
        job_with_all(server.client(), f"job-{shift}", shifted_types(key_names, shift))
    async with dashboard(server, size=(120, 36)) as pilot:
        await until(pilot, lambda: len(pilot.app.jobs.catalogue) == len(TYPES), "the jobs")
        table = pilot.app.screen.query_one(VirtualTable)
        for shift in range(len(TYPES)):
            await until(pilot, lambda key=f"job-{shift}": table._source.index_of(key) is not None)
            table.move_to(table._source.index_of(f"job-{shift}"))
            await walk_through_the_job(pilot)
            assert refusals(pilot) == []


@pytest.mark.sampled
@pytest.mark.parametrize("type_name", TYPES)
async def test_indexes_of_another_type(server: Server, type_name: str) -> None:
    client = server.client()
    job_with(client, "processes", "string")
    for index in INDEXES.values():
        client.delete(index)
        TYPES[type_name](client, index)
    async with dashboard(server, size=(120, 36)) as pilot:
        await shows(pilot, "processes-as-string")
        await visit(pilot, "L", LogScreen)
        await visit(pilot, "u", UsersScreen)
        await visit(pilot, "K", KillScreen)
        await visit(pilot, "R", TextScreen)
        await walk_through_the_job(pilot)
        assert refusals(pilot) == []
