"""Every screen is laid out anew when its terminal is resized."""

import asyncio

import pytest

from gnjobs_tui.widgets.line import Line
from tests.support.dashboard import dashboard, shows, until
from tests.support.servers import Server
from tests.support.stored_records import KEYS, write_child, write_job, write_line, write_running

NARROW = (40, 15)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("keys", "sign"),
    [
        ("", "a running one"),
        ("u", "Newest"),
        ("h", "no agent"),
        ("p", "today"),
        ("L", "event log"),
        ("Gb", "it has ended: success"),
        ("\r", "the job itself"),
        ("\r\r", "line 1 of 1"),
        ("\re", "0 faults"),
        ("\rp", "processes"),
        ("\rt", "timeline of its children"),
    ],
)
async def test_the_keys_of_a_screen_fit_into_a_terminal_that_was_made_narrow(
    server: Server, keys: str, sign: str
) -> None:
    write_running(server, "job-1", label="a running one")
    write_child(server, "job-1", "part")
    write_job(server, "job-2", label="an ended one", created=1)
    write_line(server, KEYS.output("job-1"), 1, "a line")
    async with dashboard(server, size=(160, 50)) as pilot:
        await pilot.press(*("enter" if key == "\r" else key for key in keys))
        await shows(pilot, sign)
        screen = pilot.app.screen
        await pilot.resize_terminal(*NARROW)
        await until(pilot, lambda: screen.size == NARROW, "the new size")
        was_handled = asyncio.Event()
        screen.call_later(was_handled.set)
        await was_handled.wait()
        shown = screen.query_one("#footer", Line).render()
        assert shown.cell_length <= NARROW[0]
        assert shown.plain.endswith("? help  esc back" if keys else "? help  q quit")
