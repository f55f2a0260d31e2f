"""Which keys the last line of a screen has room for."""

import pytest
from textual.widgets._toast import Toast

from gnjobs_tui.keys import footer, jobs_keys
from tests.support.dashboard import dashboard, shows, until
from tests.support.servers import Server

KEYS = jobs_keys(is_narrow=False, is_first=True, of_user=False)


@pytest.mark.parametrize("width", range(20, 120))
def test_help_and_the_way_out_are_always_shown(width: int) -> None:
    shown, spans = footer(KEYS, width)
    assert shown.plain.endswith("? help  q quit")
    assert len(shown.plain) <= width
    assert [span.key for span in spans[-2:]] == ["?", "q"]
    assert [shown.plain[span.cells.start : span.cells.start + len(span.key)] for span in spans] == [
        span.key for span in spans
    ]


def test_all_keys_are_shown_where_there_is_room() -> None:
    assert len(footer(KEYS, 200)[1]) == len(KEYS)


async def test_no_end_of_a_message_is_behind_the_footer(server: Server) -> None:
    async with dashboard(server, size=(80, 24)) as pilot:
        await pilot.press("h")
        await shows(pilot, "no agents and no running jobs")
        for length in range(30, 40):
            pilot.app.clear_notifications()
            pilot.app.say("saved all in " + "/" * length)
            toast = await until(pilot, lambda: next(iter(pilot.app.screen.query(Toast)), None))
            await until(pilot, lambda toast=toast: toast.region.height)
            assert toast.region.bottom <= 23
