"""What the painter sends leaves the terminal as a whole redraw would, and is little where little differs."""

import io
import random

import pyte
import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from gnjobs_tui.painting import Painter

WIDTH, HEIGHT = 30, 6
TEXTS = ("a", "word", "  ", "        ", " " * 15, "デ", "データ", "x" * 12, "│")
PLAIN, OTHER = Style(color="#ff0000", bgcolor="#101010"), Style(color="#00ff00", bgcolor="#101010")


def styles(red: int) -> list[Style]:
    """Styles that no other terminal has drawn: Textual keeps how a style was drawn first, in whichever colours."""
    return [
        Style.null(),
        Style(color=f"#{red:02x}0000", bgcolor="#101010"),
        Style(color=f"#{red:02x}ff00", bgcolor="#101010"),
        Style(bgcolor=f"#{red:02x}3030", bold=True),
        Style(color=f"#{red:02x}ff00", reverse=True),
        Style(color=f"#{red:02x}00ff", underline=True, bgcolor="#101010"),
    ]


def a_strip(chance: random.Random, width: int, looks: list[Style]) -> Strip:
    segments = []
    for _ in range(chance.randrange(1, 6)):
        segments.append(Segment(chance.choice(TEXTS), chance.choice(looks)))
    return Strip(segments).adjust_cell_length(width, chance.choice(looks))


def whole(rows: list[Strip]) -> LayoutUpdate:
    return LayoutUpdate([[row] for row in rows], Region(0, 0, WIDTH, HEIGHT))


class Screen:
    """A terminal that is sent updates."""

    def __init__(self, colors: str) -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self._stream = pyte.Stream(self.screen)
        self._console = Console(color_system=colors, force_terminal=True, file=io.StringIO())  # type: ignore[arg-type]

    def send(self, update: object) -> int:
        if update is None:
            return 0
        assert isinstance(update, CompositorUpdate)
        data = update.render_segments(self._console).replace("\n", "")
        self._stream.feed(data)
        return len(data)

    def seen(self) -> list[list[tuple[object, ...]]]:
        return [[_seen(self.screen.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


def _seen(cell: pyte.screens.Char) -> tuple[object, ...]:
    if cell.data == " " and not cell.reverse and not cell.underscore:
        return (" ", cell.bg)
    return (cell.data, cell.fg, cell.bg, cell.bold, cell.reverse, cell.underscore)


@pytest.mark.sampled
@pytest.mark.parametrize("erases", [False, True])
@pytest.mark.parametrize(("colors", "red"), [("truecolor", 200), ("256", 210), ("standard", 220)])
def test_changes_leave_what_a_whole_redraw_shows(colors: str, red: int, erases: bool) -> None:
    chance, looks = random.Random(colors), styles(red)
    for _ in range(60):
        painter, screen = Painter(erases=erases), Screen(colors)
        rows = [a_strip(chance, WIDTH, looks) for _ in range(HEIGHT)]
        screen.send(painter.changes(whole(rows)))
        for _ in range(6):
            y = chance.randrange(HEIGHT)
            if chance.random() < 0.5:
                rows[y] = a_strip(chance, WIDTH, looks)
                update: CompositorUpdate = whole(rows)
            else:
                x = chance.randrange(WIDTH - 10)
                part = a_strip(chance, 10, looks)
                rows[y] = Strip.join([rows[y].crop(0, x), part, rows[y].crop(x + 10)])
                update = ChopsUpdate(
                    [{x: part} if y == line else {} for line in range(HEIGHT)], [(y, x, x + 10)], []
                )
            screen.send(painter.changes(update))
        fresh = Screen(colors)
        fresh.send(whole(rows))
        assert screen.seen() == fresh.seen()


def test_what_looks_the_same_is_not_sent() -> None:
    painter, style = Painter(), PLAIN
    painter.changes(whole([Strip([Segment("same" + " " * 26, style)])] * HEIGHT))
    apart = Strip([Segment("same", style + Style(meta={"@click": "x"})), Segment(" " * 26, OTHER)])
    assert painter.changes(whole([apart] * HEIGHT)) is None


def test_one_cell_costs_a_few_bytes_and_a_terminal_that_was_written_on_all() -> None:
    painter, screen = Painter(), Screen("truecolor")
    rows = [Strip([Segment("a" * WIDTH, PLAIN)]) for _ in range(HEIGHT)]
    screen.send(painter.changes(whole(rows)))
    rows[2] = Strip([Segment("a" * 9 + "b" + "a" * 20, PLAIN)])
    assert 0 < screen.send(painter.changes(whole(rows))) < 60
    painter.forget()
    assert screen.send(painter.changes(whole(rows))) > WIDTH * HEIGHT
