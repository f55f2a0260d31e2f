"""Draws the pictures in this directory from the running dashboard on the demo: `python screenshots/draw.py`.

The demo's jobs really run while it draws, so it takes about a minute. `--all DIRECTORY` draws every screen and dialog
instead, in three sizes, to be looked at; with `LC_ALL=C` in ASCII, with `NO_COLOR=1` without colours.
"""

import argparse
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
from gnjobs_tui.demo.history import write_history
from gnjobs_tui.demo.workload import STUCK_LABEL, create, make_files, plan, start, start_all
from gnjobs_tui.widgets.table import VirtualTable

HERE = Path(__file__).parent
SIZES = ((160, 50), (100, 30), (80, 24))
FAULTY_LABEL = "QC average, July"
RUNAWAY_LABEL = "QC runaway test"
# Every screen and dialog: its name, the job to put the cursor on, the keys that lead there, and what it then shows.
EVERY_SCREEN = (
    ("list", STUCK_LABEL, "", "silent and idle"),
    ("list-of-ended", FAULTY_LABEL, "", "ran to its end"),
    ("filter", STUCK_LABEL, "/ s t a t e : f a", "state:fa"),
    ("filter-refused", STUCK_LABEL, "/ a g e > 2 q", "needs a length"),
    ("sort", STUCK_LABEL, "s", "Sort by"),
    ("help", STUCK_LABEL, "?", "Keys of this screen"),
    ("palette", STUCK_LABEL, ":", "Copy the job's id"),
    ("marked", STUCK_LABEL, "space space", "2 marked"),
    ("kill-marked", STUCK_LABEL, "space space K", "Kill 2"),
    ("user", STUCK_LABEL, "o", "Says"),
    ("users", STUCK_LABEL, "u", "Trouble"),
    ("hosts", STUCK_LABEL, "h", "Load"),
    ("pulse", STUCK_LABEL, "p", "failing"),
    ("log", STUCK_LABEL, "L", "faults in its data"),
    ("log-entry", STUCK_LABEL, "L enter", "Event"),
    ("job", STUCK_LABEL, "enter j", "pheno_se.tsv"),
    ("job-with-faults", FAULTY_LABEL, "enter", "faults in"),
    ("job-help", STUCK_LABEL, "enter ?", "Keys of this screen"),
    ("fields", STUCK_LABEL, "enter x", "All fields"),
    ("timeline", STUCK_LABEL, "enter t", "at work"),
    ("tree", STUCK_LABEL, "enter p", "python"),
    ("stacks", STUCK_LABEL, "b", "esc"),
    ("faults", FAULTY_LABEL, "enter e", "Needs"),
    ("fault", FAULTY_LABEL, "enter e enter", "row title"),
    ("output", FAULTY_LABEL, "enter j enter", "needs"),
    ("output-search", FAULTY_LABEL, "enter j enter / n e e d s enter", "needs"),
    ("save", FAULTY_LABEL, "enter j enter s", "save"),
    ("kill-child", STUCK_LABEL, "enter j K", "process"),
    ("kill", RUNAWAY_LABEL, "K", "process"),
    ("kill-run", RUNAWAY_LABEL, "K tab t e s t tab enter", "verified"),
)
SIZE = 0.1
WIDE, NARROW = (100, 30), (80, 24)
LIMIT = 120.0
USUAL_PYTHON = "python3"
CELL = 12.2
_TEXT = re.compile(r'x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+"([^>]*)>((?:&#160;)*)([^<]*)<')
_LOOK_EVERY = 0.05


async def until(pilot: Pilot[None], look: Callable[[], object], limit: float = LIMIT) -> None:
    """Let the app work until what is looked for is true."""
    for _ in range(int(limit / _LOOK_EVERY)):
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


def save(pilot: Pilot[None], name: str, directory: Path = HERE) -> None:
    """Write a picture of the screen, in which the interpreter of this machine has a name as anybody's."""
    drawn = pilot.app.export_screenshot(title="gnjobs").replace(sys.executable, USUAL_PYTHON)
    (directory / f"{name}.svg").write_text(_TEXT.sub(place_text, drawn), encoding="utf-8")
    print(f"drew {name}.svg")


def states(app: GnjobsApp) -> dict[str, str]:
    """The state of each job, by label; of those with the same label that of the first in the list."""
    catalogue = app.jobs.catalogue
    every = catalogue.listing()
    catalogue.close(every)
    return {row.label: row.state for row in reversed(every.visible(0, len(every)))}


async def press(pilot: Pilot[None], *keys: str, shows: str = "", limit: float = LIMIT) -> None:
    """Press keys and wait until the screen shows a text."""
    await pilot.press(*keys)
    await until(pilot, lambda: shows in text(pilot), limit)


async def draw_all_jobs(url: str, size: tuple[int, int], name: str) -> None:
    """All jobs, the stuck one under the cursor."""
    app = GnjobsApp(Config(url=url), Actor.admin("tux"))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: states(app).get(STUCK_LABEL) == "STUCK")
        await press(pilot, "g", shows="silent and idle")
        save(pilot, name)


async def draw_pulse(url: str) -> None:
    """What is unusual, and the days, types and hosts."""
    app = GnjobsApp(Config(url=url), Actor.admin("tux"))
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: app.jobs.progress == 1)
        await press(pilot, "p", shows="no agent")
        save(pilot, "pulse")


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


async def put_cursor(pilot: Pilot[None], label: str) -> None:
    """Go back to the list of jobs, and to a job in it."""
    app = pilot.app
    assert isinstance(app, GnjobsApp)
    await pilot.press("escape")
    while len(app.screen_stack) > 1:
        await pilot.press("escape")
    await pilot.press("escape", "escape", "g")
    table = app.screen.query_one(VirtualTable)
    for place in range(len(app.jobs.catalogue)):
        table.move_to(place)
        if (row := app.jobs.catalogue.get(table.cursor_key or "")) is not None and row.label == label:
            break
    await pilot.pause()


async def draw_every_screen(url: str, size: tuple[int, int], directory: Path) -> None:
    """Every screen and dialog in one size; one that does not come to what it is to show is drawn as it is."""
    app = GnjobsApp(Config(url=url), Actor.admin("tux"))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: states(app).get(STUCK_LABEL) == "STUCK")
        for name, label, keys, shown in EVERY_SCREEN:
            await put_cursor(pilot, label)
            try:
                await press(pilot, *keys.split(), shows=shown, limit=10)
            except TimeoutError:
                print(f"{name} does not show {shown!r}", file=sys.stderr)
            save(pilot, f"{name}-{size[0]}x{size[1]}", directory)


def main() -> None:
    """Draw the pictures of this directory, or every screen into another one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", type=Path, metavar="DIRECTORY", help="draw every screen and dialog into it")
    every: Path | None = parser.parse_args().all
    with guarded_server() as (url, directory):
        store = JobStore.from_url(url)
        write_history(store)
        files = make_files(directory, SIZE)
        start_all(store, directory, files, size=SIZE)
        if every is not None:
            every.mkdir(parents=True, exist_ok=True)
            for runaway in (each for each in plan(directory, files, SIZE) if each.label == RUNAWAY_LABEL):
                for _ in SIZES[1:]:  # each size kills one
                    start(store, create(store, runaway))
            for size in SIZES:
                asyncio.run(draw_every_screen(url, size, every))
            return
        asyncio.run(draw_all_jobs(url, WIDE, "all-jobs"))
        asyncio.run(draw_all_jobs(url, NARROW, "all-jobs-80x24"))
        asyncio.run(draw_one_job(url))
        asyncio.run(draw_curator(url))
        asyncio.run(draw_pulse(url))


if __name__ == "__main__":
    main()
