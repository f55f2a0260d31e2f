"""The event log under Pilot: what happened while Redis was away, and a cursor that stays on its entry."""

import threading

import pytest
from textual.containers import VerticalScroll
from textual.pilot import Pilot

from gnjobs.records.events import Event, Events
from gnjobs_tui.config import Config
from gnjobs_tui.screens.dialogs import TextScreen
from gnjobs_tui.screens.log import SHOWN_EVENTS, LogScreen
from gnjobs_tui.widgets.table import VirtualTable
from tests.support.dashboard import dashboard, shows, until
from tests.support.proxy import Proxy, running_proxy
from tests.support.servers import Server, free_port
from tests.support.stored_records import KEYS, write_running


def tell(server: Server, text: str) -> None:
    with server.client() as client:
        client.xadd(KEYS.events, {"kind": "ended", "text": text})


async def lose(pilot: Pilot[None], proxy: Proxy) -> None:
    """Let Redis be away until the proxy has its port again."""
    proxy.target = free_port()
    proxy.cut()
    await until(pilot, lambda: pilot.app.jobs.state.kind == "away", "the loss to be noticed")


async def test_what_happened_while_redis_was_away_is_shown_afterwards(server: Server) -> None:
    write_running(server, "job-1")
    with running_proxy(server.port) as proxy:
        async with dashboard(server, config=Config(url=proxy.url)) as pilot:
            await lose(pilot, proxy)
            await pilot.press("L")
            screen = await until(pilot, lambda: isinstance(pilot.app.screen, LogScreen) and pilot.app.screen)
            await until(pilot, lambda: screen.has_failed, "a first read that fails")
            tell(server, "happened first")
            proxy.target = server.port
            await shows(pilot, "happened first")
            await lose(pilot, proxy)
            tell(server, "happened then")
            proxy.target = server.port
            await shows(pilot, "happened then")


async def test_however_slow_the_log_is_one_thread_reads_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, last = [], threading.Event(), Events.last

    def slow_last(events: Events, count: int) -> list[Event]:
        begun.append(count)
        go.wait(60.0)
        return last(events, count)

    monkeypatch.setattr(Events, "last", slow_last)
    async with dashboard(server) as pilot:
        await pilot.press("L")
        screen = await until(pilot, lambda: isinstance(pilot.app.screen, LogScreen) and pilot.app.screen)
        await until(pilot, lambda: begun)
        tell(server, "happened meanwhile")
        await until(pilot, lambda: screen._is_stale, "the news")
        assert len(begun) == 1
        go.set()
        await shows(pilot, "happened meanwhile")


async def test_an_entry_of_many_lines_is_shown_as_far_as_anybody_reads(server: Server) -> None:
    tell(server, "line\nline" + "\n" * 500_000)
    async with dashboard(server, size=(80, 24)) as pilot:
        await pilot.press("L")
        await shows(pilot, "line␊line")
        await pilot.press("enter")
        screen = await until(pilot, lambda: isinstance(pilot.app.screen, TextScreen) and pilot.app.screen)
        await shows(pilot, "what   line")
        screen.query_one(VerticalScroll).scroll_end(animate=False)
        await shows(pilot, " more lines; y copies all")


async def test_who_copies_more_than_is_shown_is_told_so(server: Server) -> None:
    async with dashboard(server, size=(80, 24)) as pilot:
        pilot.app.push_screen(TextScreen("Command", "echo" + " " * 2000 + "unseen"))
        text = await shows(pilot, "echo", "10 more characters; y copies all")
        assert "unseen" not in text


def at_cursor(table: VirtualTable) -> str:
    place = table._source.index_of(table.cursor_key)
    return table._source.cells_at(place)["text"].text


async def test_the_cursor_stays_on_its_entry_while_old_ones_make_room_for_new_ones(server: Server) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(SHOWN_EVENTS):
            pipe.xadd(KEYS.events, {"kind": "ended", "text": f"event {number}"})
        pipe.execute()
    async with dashboard(server) as pilot:
        await pilot.press("L")
        await shows(pilot, f"event {SHOWN_EVENTS - 1}")
        table = pilot.app.screen.query_one(VirtualTable)
        await pilot.press("k")
        assert at_cursor(table) == f"event {SHOWN_EVENTS - 2}"
        tell(server, "another")
        await until(
            pilot, lambda: table._source.cells_at(0)["text"].text != "event 0", "its room to be taken"
        )
        assert at_cursor(table) == f"event {SHOWN_EVENTS - 2}"
        await pilot.press("G")
        await shows(pilot, "another")
