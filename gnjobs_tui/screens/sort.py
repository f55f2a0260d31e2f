"""The picker of an order."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from gnjobs.watch.listing import DEFAULT_SORT, Sort
from gnjobs_tui.row_lists import RowList
from gnjobs_tui.styling import Cell, content
from gnjobs_tui.widgets.columns import Column
from gnjobs_tui.widgets.virtual_table import HEADER_LINES, VirtualTable

# In each order what an operator looks for comes first.
ORDERS: Final[tuple[tuple[Sort, str, str], ...]] = (
    (DEFAULT_SORT, "worst first", "troubled, then unfinished, then newest"),
    (Sort("created", descending=True), "created", "newest first"),
    (Sort("finished", descending=True), "finished", "ended last first"),
    (Sort("silent", descending=True), "silent", "silent for longest first"),
    (Sort("run", descending=True), "run", "longest first"),
    (Sort("progress"), "progress", "least first"),
    (Sort("children", descending=True), "kids", "most of them ended first"),
    (Sort("cpu", descending=True), "CPU", "busiest first"),
    (Sort("memory", descending=True), "memory", "largest first"),
    (Sort("faults", descending=True), "faults", "most first"),
    (Sort("state"), "state", "worst first, then by word"),
    (Sort("label"), "label", "by alphabet"),
    (Sort("user"), "user", "by alphabet"),
    (Sort("type"), "type", "by alphabet"),
    (Sort("host"), "host", "by alphabet"),
)
_COLUMNS = (Column("name", "Sort by", 12, 100), Column("about", "", 20, 99, grows=True))


class SortScreen(ModalScreen[Sort | None]):
    """Asks for an order; the one that is shown already is turned round."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,s", "dismiss(None)", "cancel", show=False, id="sort.cancel", tooltip="Leave it"),
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
                    " sort, the marked one the other way round  ",
                    Cell("esc", "accent"),
                    " leave it",
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
        chosen = ORDERS[int(message.key)][0]
        turned = chosen.column == self._shown.column and chosen.column is not None
        self.dismiss(Sort(chosen.column, not self._shown.descending) if turned else chosen)
