"""Every table sorts by its columns: by a click on a title, the dialog of `s` or `<`, and the palette."""

import time
from collections.abc import Sequence
from random import Random

import pytest
from textual.pilot import Pilot

from gnjobs.outputs.faults import Fault
from gnjobs.records.hosts import HostLoad, write_beat
from gnjobs.watch.filters import parse_filter
from gnjobs.watch.listing import Sort
from gnjobs_tui.ordering import in_order
from gnjobs_tui.outputs.fault_list import FAULTS, TIMES, Choice, FaultList
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.style import Cell
from gnjobs_tui.widgets.rows import RowList, SortedSource
from tests.support.command import environment
from tests.support.dashboard import dashboard, screen_text, shows, until
from tests.support.servers import Server
from tests.support.stored_records import (
    KEYS,
    write_child,
    write_job,
    write_line,
    write_processes,
    write_running,
)
from tests.support.terminal import Terminal, gnjobs, see

GB = 10**9


def test_many_values_are_sorted_as_few_are() -> None:
    random = Random(7)
    values = [random.choice([None, *range(50)]) for _ in range(12_345)]
    places = range(len(values))
    for descending in (False, True):
        found = in_order(values, descending=descending)
        sign = -1 if descending else 1
        assert found == sorted(places, key=lambda at: (values[at] is None, sign * (values[at] or 0), at))


def test_rows_sort_by_value_else_by_text_and_those_without_one_come_last() -> None:
    cells = [Cell("the first"), Cell("2m", value=120), Cell(""), Cell("9s", value=9), Cell("b"), Cell("A")]
    rows = RowList([(str(place), {"run": cell}) for place, cell in enumerate(cells)])

    def keys(descending: bool) -> str:
        found = SortedSource(rows, "run", descending=descending, pinned=1)
        assert [found.index_of(found.key_at(place)) for place in range(6)] == [*range(6)]
        return "".join(found.key_at(place) for place in range(6))

    assert (keys(False), keys(True)) == ("031542", "045132")


def test_sorted_faults_know_their_matches_and_equal_ones_the_most_frequent() -> None:
    faults = [
        Fault(row=row, value=value, kind="k") for row, value in ((3, "x"), (1, "y"), (2, "x"), (None, "x"))
    ]
    wanted = parse_filter("found:x", FAULTS)
    among_all = FaultList(Choice(wanted, shows_all=True, sort=Sort("row")))
    combined = FaultList(Choice(is_grouped=True))
    for listed in (among_all, combined):
        listed.take(faults)
        listed.arrange()
    assert [among_all[place].fault.row for place in range(4)] == [1, 2, 3, None]
    assert [among_all[place].is_match for place in range(4)] == [False, True, True, True]
    assert [among_all.match_beside(1, forward=forward) for forward in (True, False)] == [2, 3]
    assert combined.choice.order == Sort(TIMES, descending=True)
    assert [combined[place].times for place in range(len(combined))] == [4]


@pytest.fixture
def everything(server: Server) -> None:
    """Jobs of two users on two hosts, one with three children, processes, and faults; and an event of each."""
    client, now = server.client(), time.time()
    for host, load in (("db1", 1.0), ("web1", 5.0)):
        write_beat(client, KEYS, host, HostLoad(at=now, cores=8, load=load, memory=9 * GB, free=GB))
    write_job(server, "ended-1", user_id="agunn", created=now - 900)
    write_job(server, "ended-2", user_id="agunn", created=now - 800)
    write_running(server, "job-1", user_id="zoe", host="db1")
    for number, name in enumerate(("b", "c", "a")):
        write_child(server, "job-1", name, started=now - 50 + number, percent=10 + 10 * number)
    faults = "\n".join(
        f'{{"row": {row}, "value": "{value}"}}' for row, value in ((5, "x"), (7, "b"), (6, "m"))
    )
    write_line(server, KEYS.child_output("job-1", "a"), 3, faults, "fault")
    write_processes(server, "job-1", 3)
    for kind, owner in (("killed", "zoe"), ("ended", "agunn"), ("lost", "mia")):
        client.xadd(KEYS.events, {"kind": kind, "text": kind, "owner": owner, "job": "x"})


def seen(pilot: Pilot[None], column: str) -> list[str]:
    """What stands in a column of the table in front, from row to row."""
    table = table_screen(pilot).table
    return [table._source.cells_at(place)[column].text.strip() for place in range(len(table._source))]


def table_screen(pilot: Pilot[None]) -> TableScreen:
    screen = pilot.app.screen
    assert isinstance(screen, TableScreen)
    return screen


async def click(pilot: Pilot[None], title: str) -> None:
    placed = next(each for each in table_screen(pilot).table.drawing.placed if each.column.title == title)
    await pilot.click("#table", offset=(placed.x, 0))


# The keys that lead to a table, a column by which rows are known, how they come, and a title with the order that a
# click on it makes; another click turns it round.
TABLES: Sequence[tuple[str, str, str, str, str]] = (
    ("u", "user", "zoe agunn", "Done▼", "agunn zoe"),
    ("h", "host", "db1 web1", "Load▼", "web1 db1"),
    ("L", "owner", "zoe agunn mia", "Owner▲", "agunn mia zoe"),
    ("enter", "part", "a b c", "Progress▲", "b c a"),
    ("enter t", "part", "b c a", "Part▲", "a b c"),
    ("enter p", "pid", "48000 48001 48002", "Process▲", "48000 48001 48002"),
    ("enter e", "found", '"x" "b" "m"', "Found▲", '"b" "m" "x"'),
)
# What stays first in any order.
PINNED = {"the job itself", "at work"}


@pytest.mark.sampled
@pytest.mark.parametrize(("keys", "column", "usual", "titled", "sorted_"), TABLES, ids=[t[0] for t in TABLES])
async def test_clicks_on_a_title_sort_and_the_dialog_does_too(
    server: Server, everything: None, keys: str, column: str, usual: str, titled: str, sorted_: str
) -> None:
    async def is_sorted(title: str, *expected: str) -> None:
        def as_expected() -> bool:
            if not pilot.app.screen.query("#table"):
                return False
            rows = seen(pilot, column)
            first = rows[: len(rows) - len(expected)]
            is_pinned = PINNED.issuperset(name.partition(",")[0] for name in first)
            return is_pinned and rows[len(first) :] == [*expected] and title in screen_text(pilot)

        await until(pilot, as_expected, f"{title}: {expected}")

    title, rows = titled[:-1], sorted_.split()
    turned = title + ("▲" if titled[-1] == "▼" else "▼")
    async with dashboard(server, size=(160, 30)) as pilot:
        for key in keys.split():
            await pilot.press(key)
        await is_sorted(title, *usual.split())
        if keys == "enter":  # what was found moves the table when it comes, and what is said the columns
            await shows(pilot, "3 faults", 'found "x"', "about 7 min left")
        await click(pilot, title)
        await is_sorted(titled, *rows)
        await click(pilot, title)
        await is_sorted(turned, *reversed(rows))
        # The dialog's cursor is on the order that is shown; the usual one is its first.
        await pilot.press("<", "enter")
        await is_sorted(titled, *rows)
        await pilot.press("<", "g", "enter")
        await is_sorted(title, *usual.split())
        assert titled not in screen_text(pilot)


async def test_the_cursor_stays_on_its_row_and_so_does_the_order(server: Server, everything: None) -> None:
    async with dashboard(server) as pilot:
        await pilot.press("enter", "s", "j", "j", "enter")
        await shows(pilot, "Part▲")
        table = table_screen(pilot).table
        await pilot.press("G")
        assert table.cursor_key == "c"
        write_child(server, "job-1", "bb", started=time.time())
        await until(pilot, lambda: seen(pilot, "part") == ["the job itself", "a", "b", "bb", "c"])
        assert table.cursor_key == "c"


def test_titles_and_s_sort_in_a_real_terminal(server: Server, everything: None) -> None:
    with Terminal(gnjobs(), env=environment(server.url)) as terminal:
        terminal.wait_for("1 all 3")
        see(terminal, "u", "Newest", "agunn")

        heading = terminal.lines[1].index("Done")
        terminal.send(f"\x1b[<0;{heading + 1};2M\x1b[<0;{heading + 1};2m")
        terminal.wait_for(lambda text: "Done▼" in text)
        assert [line[2:7] for line in terminal.lines[2:4]] == ["agunn", "zoe  "]
        see(terminal, "s", "Sort by", "user", "newest first")
        see(terminal, "\r", "Done▲", gone="Sort by")
        assert [line[2:7] for line in terminal.lines[2:4]] == ["zoe  ", "agunn"]
        see(terminal, ":sort al", "sort All")
        see(terminal, "\x1b[B\r", "All▼", gone="sort All")
