"""Every place that shows data, by screen and field: each is seen in a real terminal, and no byte of it acts.

`PLACES` and `WIDGETS` are the tables: a screen or a widget that is in neither fails here, so that nobody adds a place
without saying what harmful text does in it.
"""

import ast
from collections.abc import Iterator

import pytest
from textual.screen import Screen
from textual.widget import Widget

from tests.end_to_end.places import Walk, all_modules, tag, write_everything
from tests.support.command import environment
from tests.support.hostile import harmless
from tests.support.servers import running_server
from tests.support.terminal import Terminal, gnjobs

pytestmark = pytest.mark.xdist_group("places")  # they share one walk

# Which field's text is to be seen on which screen.
PLACES: dict[str, tuple[str, ...]] = {
    "JobsScreen": ("label", "message", "type", "host", "user"),
    "JobScreen": (
        "label", "host", "account", "command", "user",
        "child-label", "child-message", "fault-file", "fault-title", "fault-value", "fault-expected",
    ),
    "KillScreen": ("label", "host", "account", "user", "process-command"),
    "TextScreen": ("extra-field", "extra-value"),
    "FaultsScreen": ("label", "fault-file", "fault-title"),
    "OutputScreen": (
        "label", "child-label", "line", "log-level",
         "log-name", "log-message", "partial-line", "fault-value",
    ),
    "ProcessesScreen": ("label", "process-command"),
    "TimelineScreen": ("label", "child-label"),
    "LogScreen": ("event-text", "event-reason", "event-label", "event-owner", "event-by"),
    "UsersScreen": ("user",),
    "PulseScreen": ("host", "type"),
    "HostsScreen": ("host",),
    "ConfirmScreen": ("ended-label",),
    "StacksScreen": ("label",),
    # Nothing of theirs comes from Redis.
    "HelpScreen": (),
    "SortScreen": (),
}  # fmt: skip

# Every widget class of ours, with what makes its text safe.
WIDGETS = {
    "FilterBar": "what its user types",
    "Line": "takes Content, which styling makes of data",
    "Lines": "takes Content, which styling makes of data",
    "Prompt": "asks what the source says; what it proposes is harmless, or not proposed",
    "OutputView": "draws SeenLine, whose text is safe when it is made",
    "VirtualTable": "draws Cells, safe when TableDrawing fits them into columns",
}
# Bases of screens, never shown themselves.
BASES = {
    "BeatsScreen",
    "GlanceScreen",
    "OutputBase",
    "RowActions",
    "TableScreen",
    "WatchScreen",
    "ScrollScreen",
}
# Textual's own widgets that we put on screens; each takes Content or is told markup=False, or holds no data.
TEXTUALS = {"Button", "Input", "Static"}


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        write_everything(server)
        with Terminal(gnjobs(), 200, 45, environment(server.url)) as terminal:
            walk = Walk(terminal)
            walk.see("JobsScreen", "", "1 all 2", PLACES["JobsScreen"])
            for screen, keys, sign in (
                ("KillScreen", "K", "Cancel"),
                ("LogScreen", "L", "event log"),
                ("UsersScreen", "u", "Newest"),
                ("HostsScreen", "h", "Memory in use"),
                ("PulseScreen", "p", "Cores"),
                ("ConfirmScreen", "GD", "Cancel"),
                ("HelpScreen", "?", "Keys of this screen"),
                ("SortScreen", "s", "Sort by"),
            ):
                walk.see(screen, keys, sign, PLACES[screen])
                walk.back(sign, "1 all 2")
            walk.see("JobScreen", "g\r", "the job itself", PLACES["JobScreen"])
            walk.see("TextScreen", "jx", "All fields", PLACES["TextScreen"])
            walk.back("All fields", "the job itself")
            walk.see("ProcessesScreen", "gp", "processes, seen", PLACES["ProcessesScreen"])
            walk.back("processes, seen", "the job itself")
            walk.see("TimelineScreen", "t", "timeline of its children", PLACES["TimelineScreen"])
            walk.back("timeline of its children", "the job itself")
            walk.see("StacksScreen", "b", "reading …", PLACES["StacksScreen"])
            walk.back("reading …", "the job itself")
            walk.see("FaultsScreen", "e", "\n  File", PLACES["FaultsScreen"])
            walk.see("a whole fault", "\r", "message  ", ("fault-value", "fault-expected"))
            walk.back("message  ", "\n  File")
            walk.back("\n  File", "the job itself")
            walk.see("OutputScreen", "j\r", "line 3 of 3", PLACES["OutputScreen"])
            yield walk


@pytest.mark.faults
@pytest.mark.parametrize(
    ("screen", "name"),
    [pytest.param(screen, name, id=f"{screen} {name}") for screen, names in PLACES.items() for name in names],
)
def test_it_is_shown_and_does_not_act(walk: Walk, screen: str, name: str) -> None:
    assert tag(name) in walk.texts[screen], walk.texts[screen]
    assert harmless(walk.sent[screen]) == []


@pytest.mark.faults
@pytest.mark.parametrize("screen", PLACES)
def test_nothing_else_on_it_acts(walk: Walk, screen: str) -> None:
    assert walk.sent[screen]
    assert harmless(walk.sent[screen]) == []


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
