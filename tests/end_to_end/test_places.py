"""Every place that shows data, by screen and field: each is seen in a real terminal, and no byte of it acts.

`PLACES` and `WIDGETS` are the tables: a screen or a widget that is in neither fails here, so that nobody adds a place
without saying what harmful text does in it.
"""

import ast
import importlib
import json
import pkgutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from textual.screen import Screen
from textual.widget import Widget

import gnjobs_tui
from gnjobs.keys import Keys
from gnjobs.processes import ProcessSnapshot, SeenProcess
from tests.end_to_end.command import environment
from tests.end_to_end.terminal import Terminal, gnjobs
from tests.end_to_end.test_hostile_text import harmless
from tests.hostile import TEXTS
from tests.servers import Server, running_server
from tests.tui.records import write_child, write_job, write_line, write_running

KEYS = Keys()
JOB, CHILD, ENDED = "job-running", "child", "job-ended"
SHOWN_WITHIN = 30.0
# Each field holds one of them, all short enough that several fields fit into a row of the screen.
HARMS = tuple(
    TEXTS[name]
    for name in (
        "osc 0 sets the title",
        "c1 csi as code point",
        "bidi override",
        "markup click",
        "csi clears",
        "c1 as byte",
    )
)

# Which field's text is to be seen on which screen.
PLACES: dict[str, tuple[str, ...]] = {
    "JobsScreen": ("label", "message", "type", "host", "user"),
    "JobScreen": (
        "label", "host", "account", "command", "user",
        "child-label", "child-message", "fault-file", "fault-title", "fault-value", "fault-expected",
    ),
    "KillScreen": ("label", "host", "account", "user", "process-command"),
    "TextScreen": ("extra-field", "extra-value"),
    "FaultsScreen": ("label", "fault-file", "fault-title", "fault-value", "fault-expected"),
    "OutputScreen": (
        "label", "child-label", "line", "log-level",
         "log-name", "log-message", "partial-line", "fault-value",
    ),
    "LogScreen": ("event-text", "event-reason", "event-label", "event-owner", "event-by"),
    "UsersScreen": ("user",),
    "ConfirmScreen": ("ended-label",),
    # Nothing of theirs comes from Redis.
    "HelpScreen": (),
    "SortScreen": (),
}  # fmt: skip

# Every widget class of ours, with what makes its text safe.
WIDGETS = {
    "FilterBar": "what its user types",
    "Line": "takes Content, which styling makes of data",
    "Lines": "takes Content, which styling makes of data",
    "OutputView": "draws SeenLine, whose text is safe when it is made",
    "VirtualTable": "draws Cells, safe when TableDrawing fits them into columns",
}
# Bases of screens, never shown themselves.
BASES = {"OutputBase", "RowActions", "WatchScreen"}
# Textual's own widgets that we put on screens; each takes Content or is told markup=False, or holds no data.
TEXTUALS = {"Button", "Input", "Label", "Static"}


def field(name: str) -> str:
    """A harmful text that is recognised by what it begins with."""
    return f"{tag(name)}{HARMS[sum(name.encode()) % len(HARMS)]}"


def tag(name: str) -> str:
    """How the text of a field begins, short enough for a narrow column."""
    word = name.replace("-", "")
    return f"Q{word[:2]}{word[-2:]}"


def raw(name: str) -> bytes:
    return field(name).encode("utf-8", "surrogateescape")


def write_everything(server: Server) -> None:
    client = server.client()
    named = {name.replace("-", "_"): raw(name) for name in ("label", "message", "host", "account", "command")}
    write_running(server, JOB, **named)
    client.hset(KEYS.job(JOB), mapping={"user-id": raw("user"), raw("extra-field"): raw("extra-value")})
    write_child(
        server,
        JOB,
        CHILD,
        label=raw("child-label"),
        message=raw("child-message"),
        partial_line=raw("partial-line"),
    )
    seen = SeenProcess(
        4711, 1, None, command=field("process-command").encode("ascii", "backslashreplace").decode()
    )
    client.set(KEYS.processes(JOB), msgspec.json.encode(ProcessSnapshot(time.time(), (seen,))))
    output = KEYS.child_output(JOB, CHILD)
    write_line(server, output, 1, field("line").replace("\n", " "))
    log = {"level": field("log-level"), "logger": field("log-name"), "message": field("log-message")}
    write_line(server, output, 2, json.dumps(log), "log")
    fault = {
        "file": "fault-file",
        "row_title": "fault-title",
        "value": "fault-value",
        "expected": "fault-expected",
    }
    write_line(server, output, 3, json.dumps({key: field(name) for key, name in fault.items()}), "fault")
    event = {"kind": b"killed"} | {
        name: raw(f"event-{name}") for name in ("text", "reason", "label", "owner", "by")
    }
    client.xadd(KEYS.events, event)
    write_job(server, ENDED, label=raw("ended-label"), job_type=raw("type"), finished=time.time())


class Walk:
    """One walk through all screens in a real terminal: what each showed, and every byte that was sent for it."""

    def __init__(self, terminal: Terminal) -> None:
        self.texts: dict[str, str] = {}
        self.sent: dict[str, bytes] = {}
        self._terminal = terminal

    def see(self, screen: str, keys: str, sign: str) -> None:
        """Open a screen, and wait until it shows all that it is to show, or long enough."""
        start = len(self._terminal.raw)
        self._terminal.send(keys)
        wanted = [sign, *map(tag, PLACES[screen])]
        try:
            shown = self._terminal.wait_for(lambda text: all(word in text for word in wanted), SHOWN_WITHIN)
        except AssertionError:
            shown = self._terminal.text
        self.texts[screen] = shown
        self.sent[screen] = bytes(self._terminal.raw[start:])

    def back(self, gone: str, shows: str) -> None:
        self._terminal.send("\x1b")
        self._terminal.wait_for(lambda text: gone not in text and shows in text, SHOWN_WITHIN)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        write_everything(server)
        with Terminal(gnjobs(), 200, 45, environment(server.url)) as terminal:
            walk = Walk(terminal)
            walk.see("JobsScreen", "", "1 all 2")
            for screen, keys, sign in (
                ("KillScreen", "K", "Cancel"),
                ("LogScreen", "L", "what happened"),
                ("UsersScreen", "u", "Newest"),
                ("ConfirmScreen", "GD", "Cancel"),
                ("HelpScreen", "?", "Keys of this screen"),
                ("SortScreen", "s", "Sort by"),
            ):
                walk.see(screen, keys, sign)
                walk.back(sign, "1 all 2")
            walk.see("JobScreen", "g\r", "the job itself")
            walk.see("TextScreen", "x", "Every field")
            walk.back("Every field", "the job itself")
            walk.see("FaultsScreen", "e", "\n  File")
            walk.back("\n  File", "the job itself")
            walk.see("OutputScreen", "j\r", "line 3 of 3")
            yield walk


@pytest.mark.parametrize(
    ("screen", "name"),
    [pytest.param(screen, name, id=f"{screen} {name}") for screen, names in PLACES.items() for name in names],
)
def test_it_is_shown_and_does_not_act(walk: Walk, screen: str, name: str) -> None:
    assert tag(name) in walk.texts[screen], walk.texts[screen]
    assert harmless(walk.sent[screen]) == []


@pytest.mark.parametrize("screen", PLACES)
def test_nothing_else_on_it_acts(walk: Walk, screen: str) -> None:
    assert walk.sent[screen]
    assert harmless(walk.sent[screen]) == []


def all_modules() -> Iterator[Path]:
    for module in pkgutil.walk_packages(gnjobs_tui.__path__, "gnjobs_tui."):
        if not module.name.startswith(("gnjobs_tui.demo", "gnjobs_tui.__main__")):
            yield Path(str(importlib.import_module(module.name).__file__))


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_screen_and_widget_is_in_the_tables() -> None:
    list(all_modules())
    found = {each for each in subclasses(Widget) if each.__module__.startswith("gnjobs_tui.")}
    screens = {each.__name__ for each in found if issubclass(each, Screen)}
    assert screens == set(PLACES) | BASES
    assert {each.__name__ for each in found} - screens == set(WIDGETS)


def test_only_these_widgets_of_textual_are_used() -> None:
    used = {
        alias.name
        for path in all_modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "textual.widgets"
        for alias in node.names
    }
    assert used == TEXTUALS


def test_no_static_reads_markup_and_no_tooltip_holds_data() -> None:
    for path in all_modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"Label", "Static"}
            ):
                told = {keyword.arg: keyword.value for keyword in node.keywords}
                assert ast.unparse(told["markup"]) == "False", f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                assert node.attr != "tooltip", f"{path.name}:{node.lineno}"
