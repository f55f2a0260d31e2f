"""The event log under Pilot: what happened while Redis was away, and a cursor that stays on its entry."""

from textual.pilot import Pilot

from gnjobs_tui.config import Config
from gnjobs_tui.screens.log import LogScreen
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
