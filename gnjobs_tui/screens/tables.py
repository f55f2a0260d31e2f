"""The base class of screens with a table that can be sorted: by a key, a click on a title, or the palette."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType

from gnjobs.watch.listing import DEFAULT_SORT, Sort
from gnjobs_tui.keys import Argument, bind
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.widgets.columns import Column, Orders, chosen_order
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.table import VirtualTable


class TableScreen(WatchScreen):
    """A screen with a table of `columns`, sorted by any of them or in its usual order, which `usual` says in words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("s,less_than_sign", "sort", "Sort by a column", "table.sort"),
    ]
    columns: ClassVar[Sequence[Column]] = ()
    usual: ClassVar[str] = ""
    table = getters.query_one("#table", VirtualTable)

    def compose(self) -> ComposeResult:
        """Header, table, footer."""
        yield self.header()
        yield VirtualTable(self.columns, id="table")
        yield Line(id="footer", classes="footer")

    @property
    def orders(self) -> Orders:
        """The usual order, and one by each column."""
        columns = [column for column in self.table.columns if column.first]
        return [
            (DEFAULT_SORT, "as usual", self.usual),
            *((Sort(column.sorts_by, column.falls), column.title, column.first) for column in columns),
        ]

    @property
    def sort(self) -> Sort:
        """The order that is shown."""
        return self.table.sort

    def sort_by(self, sort: Sort) -> None:
        """Show the rows in another order."""
        self.table.sort_by(sort)

    def action_sort(self) -> None:
        """Ask for an order."""
        from gnjobs_tui.screens.dialogs import SortScreen

        self.app.push_screen(
            SortScreen(self.orders, self.sort), lambda sort: self.sort_by(sort) if sort else None
        )

    def on_virtual_table_heading_clicked(self, message: VirtualTable.HeadingClicked) -> None:
        """Sort by the column, or the other way round."""
        for order, *_ in self.orders:
            if order.column == message.column.sorts_by:
                self.sort_by(chosen_order(order, self.sort))

    def arguments(self) -> Sequence[Argument]:
        """An order, beside what every screen takes."""
        return [*super().arguments(), Argument("sort", "sort by this", self._orders_named, "sort")]

    def _orders_named(self, typed: str) -> Iterator[tuple[str, Callable[[], None]]]:
        for order, name, _ in self.orders:
            if name.lower().startswith(typed.lower()):
                yield name, partial(self.sort_by, chosen_order(order, self.sort))
