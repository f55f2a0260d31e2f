"""What is shown for a moment or beside a screen: toasts, the palette, dialogs, searches, titles, what is copied.

Each is seen in a real terminal with harmful text in it, and no byte of it acts; `test_passing_sources` says what in the
source makes them.
"""

import base64
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.places import (
    COPIED,
    ENDED,
    JOB,
    KEYS,
    PASSING,
    Walk,
    field,
    paste,
    raw,
    tag,
    typed,
    write_everything,
)
from tests.support.command import environment
from tests.support.hostile import harmless
from tests.support.servers import Server, running_server
from tests.support.stored_records import write_child
from tests.support.terminal import Terminal, gnjobs

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("passing places")]  # they share one walk

# A child that names another job's output as its own.
OUTSIDE = tag("outside")

COPY = re.compile(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07")
IN_DIRECTORY = ("sh", "-c", 'cd "$1" && shift && exec "$@"', "sh")


def palette(walk: Walk, screen: str, below: str) -> None:
    """Open the palette over a screen and close it again; what its keys do is offered."""
    walk.see(f"palette of {screen}", ":", "Search for commands", PASSING[f"palette of {screen}"])
    walk.back("Search for commands", below)


def see_jobs(walk: Walk, server: Server) -> None:
    """Everything that can be opened from the list of jobs."""
    see(walk, "toast of a theme", "", "there is no theme")
    see(walk, "jobs", "", "1 all 2")
    see(walk, "toast of a copied id", "gy", f"sent {JOB}")
    walk.hear("copy of an id", "y", COPY)
    palette(walk, "JobsScreen", "1 all 2")
    see(walk, "palette", ":", "Search for commands")
    see(walk, "typed into the palette", paste(typed("words")), "No matches")
    walk.back(tag("words"), "1 all 2")
    see(walk, "error of a filter", "/" + paste(typed("words")), f"unknown key {tag('words').lower()}<")
    walk.back(tag("words"), "1 all 2")
    see(walk, "typed as a filter", "/" + paste(f'"{typed("words")}"'), "no job matches")
    walk.back("no job matches", "1 all 2")
    see(walk, "text of a rerun", "gR", "To run it again")
    walk.hear("copy of a text", "y", COPY)
    walk.back("To run it again", "1 all 2")
    see(walk, "confirm removal", "GD", "Cancel")
    server.client().hset(KEYS.job(ENDED), "status", raw("status"))
    walk.answer("toast of a failure", "\t\r", "0 of 1 removed", PASSING["toast of a failure"])


def see_kill(walk: Walk) -> None:
    """Ask for a kill that nobody answers, close the dialog, and hear of its end."""
    see(walk, "confirm kill", "gK", "process ends")
    see(walk, "typed as a reason", "\t" + paste(typed("why")), "why")
    walk.answer("steps of a kill", "\t\r", "asked as", ())
    walk.back("asked as", "1 all 2")
    see(walk, "toast of a kill", "", "agent")
    see(walk, "log", "L", "event log")
    palette(walk, "LogScreen", "event log")
    see(walk, "text of kills", "r", "Kills asked for here")
    walk.back("Kills asked for here", "event log")
    see(walk, "text of an event", "g\r", "Event")
    walk.back("Event", "event log")
    walk.back("event log", "1 all 2")


def see_outputs(walk: Walk) -> None:
    """The job's screen, its faults, and two outputs, one of which lies outside the job."""
    see(walk, "job", "g\r", "the job itself")
    palette(walk, "JobScreen", "the job itself")
    walk.see("faults", "e", "\n  File", ("fault-title",))
    walk.hear("copy of a fault", "y", COPY)
    palette(walk, "FaultsScreen", "\n  File")
    walk.back("\n  File", "the job itself")
    see(walk, "output", "gj\r", "line 3 of 3")
    walk.hear("copy of a line", "gy", COPY)
    palette(walk, "OutputScreen", " of 3")
    see(walk, "toast of a number", "l" + paste(typed("number")) + "\r", "is not the number")
    see(walk, "typed for a search", "/" + paste(typed("words")), "search ")
    see(walk, "search not found", "\r", "no match for")
    walk.back("no match for", " of 3")
    see(walk, "search found", "/" + paste(tag("line")) + "\r", f"/{tag('line')}")
    walk.back(f"/{tag('line')}", " of 3")
    see(walk, "toast of a save", "s\r", "saved 3 lines")
    walk.back(" of 3", "the job itself")
    see(walk, "refusal beside an output", "gjj\r", "can't be read")
    see(walk, "toast of a save refused", "s\r", "not saved")
    see(walk, "toast of a search refused", "/x\r", "the search ended")


def see(walk: Walk, place: str, keys: str, sign: str) -> None:
    """Go to a place of the table, or to one on the way."""
    walk.see(place, keys, sign, PASSING.get(place, ()))


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    """The dashboard, started with a harmful theme in a directory with a harmful name."""
    with tempfile.TemporaryDirectory() as room, running_server(Path(room, "server")) as server:
        directory = Path(room, field("directory").replace("/", "|"))
        directory.mkdir()
        write_everything(server)
        write_child(server, JOB, OUTSIDE)
        server.client().hset(KEYS.job(JOB), f"child:{OUTSIDE}", KEYS.output("another"))
        command = [*IN_DIRECTORY, str(directory), *gnjobs("--theme", field("theme"))]
        with Terminal(command, 200, 45, environment(server.url)) as terminal:
            terminal.walk = walk = Walk(terminal)  # type: ignore[attr-defined]
            see_jobs(walk, server)
            see_kill(walk)
            see_outputs(walk)
            yield terminal


@pytest.fixture(scope="module")
def walk(terminal: Terminal) -> Walk:
    """What was seen."""
    return terminal.walk  # type: ignore[attr-defined, no-any-return]


def uncopied(data: bytes) -> bytes:
    """What a terminal got without what was copied on purpose."""
    return COPY.sub(b"", data)


@pytest.mark.parametrize(
    ("place", "name"),
    [pytest.param(place, name, id=f"{place}: {name}") for place, names in PASSING.items() for name in names],
)
def test_it_is_shown(walk: Walk, place: str, name: str) -> None:
    assert tag(name) in walk.texts[place], walk.texts[place]


@pytest.mark.parametrize("place", PASSING)
def test_it_does_not_act(walk: Walk, place: str) -> None:
    assert walk.sent[place]
    assert harmless(uncopied(walk.sent[place])) == []


def test_nothing_on_the_way_acts(terminal: Terminal) -> None:
    assert harmless(uncopied(bytes(terminal.raw))) == []


def test_the_title_of_the_terminal_is_never_set(terminal: Terminal) -> None:
    assert not re.search(rb"\x1b\][0-2]?;|\x1bk|\x1b\[2[0-3](;[0-9]+)?t", terminal.raw)
    # Nor is any other command sent but for what is copied and for the shape of the pointer.
    assert set(re.findall(rb"\x1b\]([^;\x07\x1b]*)", terminal.raw)) <= {b"52", b"22"}


@pytest.mark.parametrize("place", COPIED)
def test_what_is_copied_is_harmless(walk: Walk, place: str) -> None:
    (copied,) = (base64.b64decode(found) for found in COPY.findall(walk.sent[place]))
    assert copied
    assert harmless(copied) == []
