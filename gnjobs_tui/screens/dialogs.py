"""The small dialogs: a text to read and copy, a yes-or-no question, the choice of a sort order, and help."""

from itertools import groupby
from typing import ClassVar, Final, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Button, Static

from gnjobs.health.states import STATES
from gnjobs.text import safe_text
from gnjobs.watch.listing import DEFAULT_SORT, Sort
from gnjobs_tui.keys import bind, screen_keys
from gnjobs_tui.screens.dashboard import Dashboard
from gnjobs_tui.style import Cell, Parts, content, fit, lines, state_cell
from gnjobs_tui.widgets.columns import Column
from gnjobs_tui.widgets.table import HEADER_LINES, RowList, VirtualTable

# The border, a line above and one below what scrolls.
LINES_AROUND: Final = 4


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
    """Shows a text under a title; nothing in it acts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,enter", "dismiss", "Close", "text.close"),
        bind("y", "copy", "Copy", "text.copy"),
    ]

    def __init__(self, title: str, text: str, *, wide: bool = False) -> None:
        super().__init__()
        self._wide = wide
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        with Vertical(classes="dialog wide" if self._wide else "dialog"):
            yield Static(content(Cell(self._title, "bold")), markup=False)
            with VerticalScroll(classes="scroll"):
                yield Static(lines([line] for line in self._text.split("\n")), markup=False)
            yield Static(
                content(Cell("y", "accent"), " copy  ", Cell("esc", "accent"), " close"), markup=False
            )

    def action_copy(self) -> None:
        """Copy the text, made safe."""
        self.app.copy_to_clipboard(safe_text(self._text))


class ConfirmScreen(ModalScreen[bool]):
    """Asks before something is done."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "dismiss(False)", "Cancel", "confirm.cancel"),
        bind("left,right", "app.focus_next", "The other button", "confirm.other"),
    ]

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
        if not is_yes or cast("Dashboard", self.app).typed.was_seen:
            self.dismiss(is_yes)


# In each order what an operator looks for comes first.
ORDERS: Final[tuple[tuple[Sort, str, str], ...]] = (
    (DEFAULT_SORT, "worst first", "troubled, then unfinished, then newest"),
    (Sort("created", descending=True), "created", "newest first"),
    (Sort("finished", descending=True), "finished", "ended last first"),
    (Sort("silent", descending=True), "silent", "silent for longest first"),
    (Sort("run", descending=True), "run", "longest first"),
    (Sort("progress"), "progress", "least first"),
    (Sort("children", descending=True), "children", "most ended first"),
    (Sort("cpu", descending=True), "CPU", "busiest first"),
    (Sort("memory", descending=True), "memory", "largest first"),
    (Sort("faults", descending=True), "faults", "most first"),
    (Sort("state"), "state", "worst first, then by word"),
    (Sort("label"), "label", "alphabetical"),
    (Sort("user"), "user", "alphabetical"),
    (Sort("type"), "type", "alphabetical"),
    (Sort("host"), "host", "alphabetical"),
)
_COLUMNS = (Column("name", "Sort by", 12, 100), Column("about", "", 20, 99, grows=1))


def chosen_order(chosen: Sort, shown: Sort) -> Sort:
    """The order that was chosen; the one that is shown already is turned round."""
    turned = chosen.column == shown.column and chosen.column is not None
    return Sort(chosen.column, not shown.descending) if turned else chosen


def order_by(column: str, shown: Sort) -> Sort | None:
    """The order by a column of a list, None where there is none."""
    name = {"percent": "progress", "started": "created", "says": "faults"}.get(column, column)
    found = next((order for order, *_ in ORDERS if order.column == name), None)
    return chosen_order(found, shown) if found is not None else None


class SortScreen(ModalScreen[Sort | None]):
    """Asks for an order; the one that is shown already is turned round."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,s", "dismiss(None)", "Cancel", "sort.cancel"),
    ]

    def __init__(self, shown: Sort) -> None:
        super().__init__()
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
        table.styles.height = len(ORDERS) + HEADER_LINES
        table.show(
            RowList(
                [
                    (str(place), {"name": Cell(name), "about": Cell(about)})
                    for place, (_, name, about) in enumerate(ORDERS)
                ]
            )
        )
        shown = next(
            (place for place, (sort, *_) in enumerate(ORDERS) if sort.column == self._shown.column), 0
        )
        table.set_marks({str(shown)})
        table.move_to(shown)
        table.focus()

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Answer."""
        self.dismiss(chosen_order(ORDERS[int(message.key)][0], self._shown))


KEYS_WIDTH = 18


class HelpScreen(ScrollScreen):
    """Lists what the keys of the screen below do, and what the states mean."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape,q,question_mark,enter", "dismiss", "Close", "help.close"),
    ]

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__()
        self._keys: list[Parts] = []
        for section, keys in groupby(screen_keys(screen), lambda key: key.section):
            self._keys += [[]] if self._keys else []
            self._keys.append([Cell(section, "bold")])
            self._keys += [[fit(key.keys, KEYS_WIDTH) + key.about] for key in keys]

    def compose(self) -> ComposeResult:
        """Keys, then states."""
        with Vertical(classes="dialog"):
            yield Static(
                content(Cell("Keys of this screen", "bold"), "   esc closes, down shows more"), markup=False
            )
            with VerticalScroll(classes="scroll"):
                yield Static(lines(self._keys), markup=False)
                yield Static(content(""), markup=False)
                yield Static(
                    lines([[Cell("States", "bold")], *([state_cell(state)] for state in STATES)]),
                    markup=False,
                )
