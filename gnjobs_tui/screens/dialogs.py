"""The small dialogs: a text to read and copy, a yes-or-no question, the choice of a sort order, and help."""

from collections.abc import Iterator, Sequence
from itertools import groupby, zip_longest
from typing import ClassVar, Final

from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Button, Static

from gnjobs.health.states import STATES
from gnjobs.text import plural, safe_text
from gnjobs.watch.listing import Sort
from gnjobs_tui.keys import SECTIONS, KeyHelp, bind, screen_keys
from gnjobs_tui.screens.dashboard import Dashboard
from gnjobs_tui.screens.job_facts import break_lines
from gnjobs_tui.style import GLYPHS, LONGEST_CELL, Cell, Parts, content, fit, lines, safe, state_cell
from gnjobs_tui.widgets.columns import Column, Orders, chosen_order
from gnjobs_tui.widgets.rows import RowList
from gnjobs_tui.widgets.table import HEADER_LINES, VirtualTable

# The border, a line above and one below what scrolls.
LINES_AROUND: Final = 4
# A dialog with its border and padding, and what these and a scrollbar take of it.
DIALOG_WIDTH, WIDEST, FRAME_WIDTH = 72, 120, 5
MOST_LINES = 1000
COLUMN_WIDTH, COLUMN_GAP = 46, "  "
HELP_WIDTH = 2 * COLUMN_WIDTH + len(COLUMN_GAP) + FRAME_WIDTH
KEYS_WIDTH, STATE_WIDTH = 14, 11


class ScrollScreen(ModalScreen[None]):
    """A dialog with something that scrolls, as high as the screen has room for."""

    def on_mount(self) -> None:
        """Be as high as that before the first drawing, which a slow line would see drawn again."""
        self.on_resize()

    def on_resize(self) -> None:
        """Leave room for what stands around it."""
        for scroll in self.query(VerticalScroll):
            scroll.styles.max_height = max(1, self.app.size.height - LINES_AROUND)


class TextScreen(ScrollScreen):
    """Shows a text under a title; nothing in it acts. Long lines go on below their `hang`-th character."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,enter", "dismiss", "Close", "text.close"),
        bind("y", "copy", "Copy", "text.copy"),
    ]
    dashboard = getters.app(Dashboard)

    def __init__(self, title: str, text: str, *, wide: bool = False, hang: int = 0) -> None:
        super().__init__()
        self._wide = wide
        self._hang = hang
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        with Vertical(classes="dialog wide" if self._wide else "dialog"):
            yield Static(content(Cell(self._title, "bold")), markup=False)
            with VerticalScroll(classes="scroll"):
                yield Static(id="text", markup=False)
            yield Static(
                content(Cell("y", "accent"), " copy  ", Cell("esc", "accent"), " close"), markup=False
            )

    def on_resize(self) -> None:
        """Break lines for the width."""
        super().on_resize()
        app = self.app.size.width
        width = min(app * 9 // 10, WIDEST) if self._wide else min(app, DIALOG_WIDTH)
        self.query_one("#text", Static).update(lines(self._broken(width - FRAME_WIDTH)))

    def _broken(self, width: int) -> Iterator[Parts]:
        told, left = self._text.split("\n"), MOST_LINES
        for place, line in enumerate(told):
            if left <= 0:
                yield _left_out(plural(len(told) - place, "more line"))
                return
            name, value = line[: self._hang], safe(line[self._hang :])
            parts = break_lines(value, width - self._hang, left) or [""]
            left -= len(parts)
            for number, part in enumerate(parts):
                yield [Cell(name, "dim") if number == 0 else " " * self._hang, part]
            if (cut := len(line) - self._hang - LONGEST_CELL) > 0:
                yield _left_out(plural(cut, "more character"))

    def action_copy(self) -> None:
        """Copy the text, made safe."""
        self.dashboard.copy(safe_text(self._text), "the text")


def _left_out(what: str) -> Parts:
    return [Cell(f"{GLYPHS.cut} and {what}", "warning"), "; ", Cell("y", "accent"), " copies all"]


class ConfirmScreen(ModalScreen[bool]):
    """Asks before something is done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "dismiss(False)", "Cancel", "confirm.cancel"),
        bind("left,right", "app.focus_next", "The other button", "confirm.other"),
    ]
    dashboard = getters.app(Dashboard)

    def __init__(self, question: str, answer: str) -> None:
        super().__init__()
        self._question = question
        self._answer = answer

    def compose(self) -> ComposeResult:
        """The question and two buttons."""
        with Vertical(classes="dialog"):
            yield Static(content(self._question), markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="cancel")
                yield Button(content(self._answer), id="yes", variant="error")

    def on_button_pressed(self, message: Button.Pressed) -> None:
        """Answer; yes only to a question that had been seen."""
        is_yes = message.button.id == "yes"
        if not is_yes or self.dashboard.typed.was_seen:
            self.dismiss(is_yes)


_COLUMNS = (Column("name", "Sort by", 12, 100), Column("about", "", 20, 99, grows=1))


class SortScreen(ModalScreen[Sort | None]):
    """Asks for an order; the one that is shown already is turned round."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,s,less_than_sign", "dismiss(None)", "Cancel", "sort.cancel"),
    ]

    def __init__(self, orders: Orders, shown: Sort) -> None:
        super().__init__()
        self._orders = orders
        self._shown = shown

    def compose(self) -> ComposeResult:
        """The orders, then what the keys do."""
        with Vertical(classes="dialog"):
            yield VirtualTable(_COLUMNS, id="orders")
            yield Static(
                content(
                    Cell("enter", "accent"),
                    " sort (again: reverse)  ",
                    Cell("esc", "accent"),
                    " cancel",
                ),
                markup=False,
            )

    def on_mount(self) -> None:
        """Show the orders, the cursor on that of now."""
        table = self.query_one("#orders", VirtualTable)
        table.styles.height = len(self._orders) + HEADER_LINES
        table.show(
            RowList(
                [
                    (str(place), {"name": Cell(name), "about": Cell(about)})
                    for place, (_, name, about) in enumerate(self._orders)
                ]
            )
        )
        shown = next(
            (place for place, (sort, *_) in enumerate(self._orders) if sort.column == self._shown.column), 0
        )
        table.set_marks({str(shown)})
        table.move_to(shown)
        table.focus()

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Answer."""
        self.dismiss(chosen_order(self._orders[int(message.key)][0], self._shown))


class HelpScreen(ScrollScreen):
    """Tells what the keys of the screen below do, and what the states look like; in two columns where there is room."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,question_mark,enter", "dismiss", "Close", "help.close"),
    ]

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__()
        others = (key for key in screen_keys(screen) if key.action != "help")
        told = groupby(others, lambda key: key.section)
        self._keys = {section: list(keys) for section, keys in told}

    def compose(self) -> ComposeResult:
        """All of it."""
        with Vertical(classes="dialog", id="dialog"), VerticalScroll(classes="scroll"):
            yield Static(id="keys", markup=False)

    def on_resize(self) -> None:
        """Lay out for the width."""
        super().on_resize()
        has_room = self.app.size.width >= HELP_WIDTH
        dialog = self.query_one("#dialog")
        dialog.styles.width = HELP_WIDTH if has_room else DIALOG_WIDTH
        width = COLUMN_WIDTH if has_room else DIALOG_WIDTH - FRAME_WIDTH
        move, look, change = (self._section(name, width) for name in SECTIONS)
        if has_room:
            shown = _beside([*move, *change, *_states(width)], look, width + len(COLUMN_GAP))
        else:
            shown = [*move, *look, *change, *_states(width)]
        self.query_one("#keys", Static).update(lines(shown[:-1]))
        is_whole = len(shown) <= self.app.size.height - LINES_AROUND
        dialog.border_title = "Keys of this screen" if is_whole else "Keys of this screen, down shows more"

    def _section(self, name: str, width: int) -> list[Parts]:
        """A heading, the keys, and an empty line; nothing where there are no keys."""
        found: list[Parts] = []
        for keys, about in _told_together(self._keys.get(name, ())):
            for number, line in enumerate(break_lines(about, width - KEYS_WIDTH, 3)):
                found.append([fit("" if number else keys, KEYS_WIDTH) + line])
        return [[Cell(name, "bold")], *found, []] if found else []


def _told_together(told: Sequence[KeyHelp]) -> Iterator[tuple[str, str]]:
    """Keys and what they do; those that differ in the last word alone, such as up and down, in one."""
    for about, alike in groupby(told, lambda key: key.about.rpartition(" ")[0] or key.about):
        each = list(alike)
        lasts = ", ".join(key.about.removeprefix(about).strip() for key in each)
        yield " ".join(key.keys for key in each), f"{about} {lasts}".rstrip()


def _states(width: int) -> list[Parts]:
    """All states, some on each line."""
    in_line = width // STATE_WIDTH
    cells = [state_cell(state) for state in STATES]
    padded = [cell._replace(text=cell.text.ljust(STATE_WIDTH)) for cell in cells]
    found: list[Parts] = [padded[start : start + in_line] for start in range(0, len(padded), in_line)]
    return [[Cell("States", "bold")], *found, []]


def _beside(left: Sequence[Parts], right: Sequence[Parts], width: int) -> list[Parts]:
    """Lines beside lines, of which those at the left are so wide."""
    return [
        [*first, " " * (width - content(*first).cell_length), *second]
        for first, second in zip_longest(left, right, fillvalue=())
    ]
