"""Draws the pictures in this directory from the running dashboard on the demo: `python screenshots/draw.py`.

The demo's jobs really run while it draws, so it takes about a minute.
"""

import asyncio
import html
import re
import sys
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from gnjobs.records.actor import Actor
from gnjobs.store import JobStore
from gnjobs_tui.app import GnjobsApp
from gnjobs_tui.config import Config
from gnjobs_tui.demo.command import guarded_server
from gnjobs_tui.demo.workload import STUCK_LABEL, start_all
from gnjobs_tui.widgets.table import VirtualTable

HERE = Path(__file__).parent
SIZE = 0.1
WIDE, NARROW = (100, 30), (80, 24)
LIMIT = 120.0
USUAL_PYTHON = "python3"
CELL = 12.2
_TEXT = re.compile(r'x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+"([^>]*)>((?:&#160;)*)([^<]*)<')
_LOOK_EVERY = 0.05


async def until(pilot: Pilot[None], look: Callable[[], object]) -> None:
    """Let the app work until what is looked for is true."""
    for _ in range(int(LIMIT / _LOOK_EVERY)):
        if look():
            await pilot.pause(0.5)
            return
        await pilot.pause(_LOOK_EVERY)
    raise TimeoutError("the demo did not come to what is to be drawn")


def text(pilot: Pilot[None]) -> str:
    """What is on the screen."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


def place_text(found: re.Match[str]) -> str:
    """A piece of text without leading blanks, which some programs drop and so draw the rest too far left."""
    x, y, others, blanks, words = found.groups()
    start = float(x) + len(html.unescape(blanks)) * CELL
    width = len(html.unescape(words)) * CELL
    return f'x="{start:.1f}" y="{y}" textLength="{width:.1f}"{others}>{words}<'


def save(pilot: Pilot[None], name: str) -> None:
    """Write a picture of the screen, in which the interpreter of this machine has a name as anybody's."""
    drawn = pilot.app.export_screenshot(title="gnjobs").replace(sys.executable, USUAL_PYTHON)
    (HERE / f"{name}.svg").write_text(_TEXT.sub(place_text, drawn), encoding="utf-8")
    print(f"drew {name}.svg")


def states(app: GnjobsApp) -> dict[str, str]:
    """The state of each job, by label."""
    catalogue = app.jobs.catalogue
    every = catalogue.listing()
    catalogue.close(every)
    return {row.label: row.state for row in every.visible(0, len(every))}


async def press(pilot: Pilot[None], *keys: str, shows: str = "") -> None:
    """Press keys and wait until the screen shows a text."""
    await pilot.press(*keys)
    await until(pilot, lambda: shows in text(pilot))


async def draw_all_jobs(url: str, size: tuple[int, int], name: str) -> None:
    """All jobs, the stuck one under the cursor."""
    app = GnjobsApp(Config(url=url), Actor.admin("tux"))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: states(app).get(STUCK_LABEL) == "STUCK")
        await press(pilot, "g", shows="silent and idle")
        save(pilot, name)


async def draw_one_job(url: str) -> None:
    """A job with children, one child's output, and the kill dialog."""
    app = GnjobsApp(Config(url=url), Actor.admin("tux"))
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: states(app).get(STUCK_LABEL) == "STUCK")
        await press(pilot, "g", "enter", shows="the job itself")
        await press(pilot, "j", shows="pheno_se.tsv")
        save(pilot, "job")
        await press(pilot, "K", shows="process")
        save(pilot, "kill")


async def draw_curator(url: str) -> None:
    """A curator's own jobs, one with faults, and the output of one of its children."""
    app = GnjobsApp(Config(url=url), Actor("jane", "curator", ("jsmith",)))
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "faults" in states(app).values())
        save(pilot, "user-jobs")
        table = app.screen.query_one(VirtualTable)
        await pilot.press("g")
        while "QC average" not in app.jobs.catalogue.get(table.cursor_key or "").label:  # type: ignore[union-attr]
            await pilot.press("j")
        await press(pilot, "enter", shows="faults in")
        save(pilot, "faults")
        await press(pilot, "j", "enter", shows="needs")
        save(pilot, "output")


def main() -> None:
    """Draw everything."""
    with guarded_server() as (url, directory):
        start_all(JobStore.from_url(url), directory, size=SIZE)
        asyncio.run(draw_all_jobs(url, WIDE, "all-jobs"))
        asyncio.run(draw_all_jobs(url, NARROW, "all-jobs-80x24"))
        asyncio.run(draw_one_job(url))
        asyncio.run(draw_curator(url))


if __name__ == "__main__":
    main()
