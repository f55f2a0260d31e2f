"""The screen of all faults in a job's data: a table of file, row, column, what was found and what is needed."""

from collections.abc import Callable, Iterator, Sequence
from io import TextIOWrapper
from itertools import islice, takewhile
from pathlib import Path
from typing import ClassVar

from msgspec import structs
from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.worker import get_current_worker

from gnjobs.outputs.faults import (
    Fault,
    all_faults,
    column_words,
    found_words,
    needs_words,
    row_words,
    sentence,
)
from gnjobs.text import count_text, plural
from gnjobs.watch.filters import Filter
from gnjobs.watch.listing import Sort
from gnjobs_tui.keys import Keys, bind
from gnjobs_tui.outputs.fault_list import FAULTS, HINT, TIMES, Choice, FaultList, Row
from gnjobs_tui.outputs.save import file_name, new_file, proposed_path, refusal_words, typed_path
from gnjobs_tui.outputs.spreadsheet import write_faults
from gnjobs_tui.screens.dialogs import TextScreen
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.screens.target import Target
from gnjobs_tui.style import Cell, Part, safe
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.filter_bar import FilterBar
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.prompt import Prompt
from gnjobs_tui.widgets.rows import NumberedRows
from gnjobs_tui.widgets.table import VirtualTable

COLUMNS = (
    Column("file", "File", 12, 99, grows=1),
    Column("row", "Row", 13, 98, grows=1, order="first row first"),
    Column("column", "Column", 15, 97, grows=1, order="first column first"),
    Column("found", "Found", 13, 96),
    Column("needs", "Needs", 18, 95, grows=3),
)
TIMES_COLUMN = Column(TIMES, "Times", 8, 100, "right", order="most frequent first")
KEYS = (
    ("/", "filter"),
    ("n N", "next prev"),
    ("f", "show all"),
    ("c", "combine equal"),
    ("<", "sort"),
    ("s", "save CSV"),
    ("enter", "details"),
    ("y", "copy"),
    ("?", "help"),
    ("esc", "back"),
)
_NARROW_KEYS = frozenset({"/", "c", "<", "s", "enter", "y", "?", "esc"})
MOST_FAULTS = 1_000_000
_BATCH = 5000


class FaultsScreen(TableScreen):
    """Reads the faults of all outputs in the background, and lists those that are wanted of what it has."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("slash", "filter", "Filter by words, file:, row:, column:, found:, needs:", "faults.filter"),
        bind("f", "show_all", "Show the matches among all faults, or the matches alone", "faults.show-all"),
        bind("n", "match(True)", "Next match", "faults.next"),
        bind("N", "match(False)", "Previous match", "faults.previous"),
        bind("c", "combine", "Combine equal faults, or list each", "faults.combine"),
        bind(
            "s,ctrl+s",
            "save",
            "Save the listed faults as CSV, on the machine of the dashboard",
            "faults.save",
        ),
        bind("y", "copy", "Copy this fault", "faults.copy"),
    ]

    usual = "as they were reported; combined, the most frequent first"
    filter_bar = getters.query_one(FilterBar)
    prompt = getters.query_one("#prompt", Prompt)

    class Found(Message):
        """More faults were read, to stand behind others."""

        def __init__(self, others: list[Fault], faults: list[Fault], *, is_all: bool = False) -> None:
            super().__init__()
            self.others = others
            self.faults = faults
            self.is_all = is_all

    class Arranged(Message):
        """A list has taken what was read so far."""

        def __init__(self, faults: FaultList) -> None:
            super().__init__()
            self.faults = faults

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._all: list[Fault] = []
        self._list = self._shown = FaultList(Choice())
        self._is_arranging = False
        self._is_reading = True
        self._may_be_more = False

    @property
    def takes_keys(self) -> bool:
        """Whether a field has the keys, or what was chosen last is listed, at least its beginning."""
        if self._is_asking:
            return True
        is_current = self._shown is self._list
        return self.has_failed or (is_current and (bool(self._all) or not self._is_reading))

    @property
    def _is_asking(self) -> bool:
        return any(prompt.is_open for prompt in self.query(Prompt))

    def compose(self) -> ComposeResult:
        """Header, table, footer; and fields for a filter and a path."""
        yield self.header()
        yield VirtualTable(COLUMNS, id="table")
        yield Line(id="footer", classes="footer")
        yield FilterBar(FAULTS, HINT, id="filter")
        yield Prompt(id="prompt")

    def on_mount(self) -> None:
        """Begin to read."""
        self.table.focus()
        self.reload()

    def reload(self) -> None:
        """Read all of them, from the first on, and list the wanted ones anew."""
        found: list[Fault] = []
        self._all, self._is_reading = found, True
        row = self.dashboard.jobs.catalogue.get(self._target.key)
        self._may_be_more = row is not None and not row.is_final
        self._choose(self._list.choice)
        self.work(lambda: self._read(found), "faults")

    def trail(self) -> Sequence[Part]:
        """The job's name, how many faults there are, and which of them are listed."""
        count = len(self._all)
        parts: list[Part] = [self._target.label, f"   {plural(count, 'fault')}"]
        if self._is_reading:
            parts.append(Cell(" so far, reading", "dim"))
        elif count == MOST_FAULTS:
            parts.append(Cell(" read, there may be more", "warning"))
        elif self._may_be_more:
            parts.append(Cell(" so far", "dim"))
        shown, wanted = self._shown, self._shown.choice.wanted
        if wanted is not None:
            matches = plural(shown.matching, "match", "matches")
            how = "re: takes too long" if wanted.is_too_slow else matches
            parts.append(Cell(f"   /{wanted}: {how}", "accent"))
        if shown.choice.is_grouped:
            parts.append(Cell(f"   {plural(len(shown), 'kind')}", "accent"))
        return parts

    def _read(self, others: list[Fault]) -> None:
        worker = get_current_worker()
        batch: list[Fault] = []
        try:
            for found in islice(self._faults(lambda _: not worker.is_cancelled), MOST_FAULTS):
                batch.append(found)
                if len(batch) >= _BATCH:
                    self.post_message(self.Found(others, batch))
                    batch = []
        finally:
            self.post_message(self.Found(others, batch, is_all=True))

    def _faults(self, goes_on: Callable[[object], bool]) -> Iterator[Fault]:
        store = self.dashboard.store_under(self._target.prefix)
        for source, lines in takewhile(goes_on, store.all_lines(self._target.job_id)):
            yield from all_faults(takewhile(goes_on, lines), source)

    def on_faults_screen_found(self, message: Found) -> None:
        """List what was read so far, but for what was read before all are read again."""
        if message.others is not self._all:
            return
        self._all += message.faults
        self._is_reading = not message.is_all
        self._go_on()
        self.draw()

    def _choose(self, choice: Choice) -> None:
        """List other faults, or otherwise, as soon as that is done; the cursor begins at the top."""
        self._list = FaultList(choice if choice.wanted is not None else choice._replace(shows_all=False))
        self._is_arranging = False
        self._go_on()

    def _go_on(self) -> None:
        """Let the list take what was read meanwhile, in a thread: there may be very many."""
        if not self._is_arranging:
            self._is_arranging = True
            chosen = self._list
            self.work(lambda: self._arrange(chosen), "arrange")

    def _arrange(self, chosen: FaultList) -> None:
        worker = get_current_worker()
        while chosen.taken < len(self._all) and not worker.is_cancelled:
            chosen.take(self._all[chosen.taken : chosen.taken + _BATCH])
        chosen.arrange()
        self.post_message(self.Arranged(chosen))

    def on_faults_screen_arranged(self, message: Arranged) -> None:
        """Show the list, if it is still wanted."""
        if message.faults is not self._list:
            return
        self._is_arranging = False
        if self._list.taken < len(self._all):
            self._go_on()
        before, self._shown = self._shown, self._list
        if before is not self._list:
            self.table.columns = (TIMES_COLUMN, *COLUMNS) if self._list.choice.is_grouped else COLUMNS
            place = self._list.place_of(int(self.table.cursor_key or 0), before)
            self.draw()
            self.table.move_to(place)
        self.draw()

    def draw_content(self) -> None:
        """Show the faults."""
        choice = self._shown.choice
        unmatched = f"no fault matches {choice.wanted}; esc clears the filter"
        none = unmatched if choice.wanted else "no faults were reported"
        empty = self.unread() if self._is_reading else none
        self.table.show(NumberedRows(_cells, self._shown), empty=empty, sort=choice.order)

    @property
    def keys(self) -> Keys:
        """Those that do something, fewer where there is little room."""
        keys = [key for key in KEYS if not self.is_narrow or key[0] in _NARROW_KEYS]
        return [key for key in keys if self._list.choice.wanted or key[0] not in {"n N", "f"}]

    async def action_filter(self) -> None:
        """Type a filter."""
        await self.filter_bar.open()

    def on_filter_bar_typed(self, message: FilterBar.Typed) -> None:
        """List what passes the filter that is typed so far."""
        self._choose(self._list.choice._replace(wanted=message.filter))

    def on_filter_bar_kept(self) -> None:
        """Give the keys back to the table."""
        self.filter_bar.close()
        self.table.focus()

    def action_show_all(self) -> None:
        """Show all faults with the matches among them, or the matches alone."""
        choice = self._list.choice
        if choice.wanted is not None:
            self._choose(choice._replace(is_grouped=False, shows_all=not choice.shows_all))

    def action_match(self, forward: bool) -> None:
        """Go to the next or the previous match."""
        place = self._shown.match_beside(int(self.table.cursor_key or 0), forward=forward)
        if place is not None and not self._shown.choice.is_grouped:
            self.table.move_to(place, ahead=self.table.page_rows // 2)

    def action_combine(self) -> None:
        """Count equal faults as one, or list each."""
        choice = self._list.choice
        self._choose(Choice(choice.wanted, is_grouped=not choice.is_grouped))

    @property
    def sort(self) -> Sort:
        """The order of the list."""
        return self._list.choice.order

    def sort_by(self, sort: Sort) -> None:
        """List the faults in another order; in a thread, since they may be many."""
        self._choose(self._list.choice._replace(sort=sort))

    def _at_cursor(self) -> Fault | None:
        key = self.table.cursor_key
        return None if key is None else self._shown[int(key)].fault

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show everything that is known of a fault."""
        fault, count, _ = self._shown[int(message.key)]
        said = {
            name.replace("_", " "): value
            for name, value in structs.asdict(fault).items()
            if value is not None
        }
        heading = sentence(fault) if count == 1 else f"the first of {count_text(count)}: {sentence(fault)}"
        rows = [f"{'fault':14}{heading}", *(f"{name:14}{value}" for name, value in said.items())]
        self.app.push_screen(TextScreen("Fault", "\n".join(rows), wide=True, hang=14))

    def action_copy(self) -> None:
        """Copy the fault of the cursor with its file, made safe."""
        fault = self._at_cursor()
        if fault is not None:
            self.dashboard.copy(safe(f"{fault.file or '?'}: {sentence(fault)}"), "the fault")

    async def action_save(self) -> None:
        """Ask where to save the faults that pass the filter."""
        await self.prompt.ask("save as", proposed_path(self._file_name))

    @property
    def _file_name(self) -> str:
        return file_name(self._target.label[:60], "faults", self._target.job_id[:8], suffix=".csv")

    def on_prompt_answered(self, message: Prompt.Answered) -> None:
        """Save, in a thread."""
        path, wanted = typed_path(message.text, self._file_name), self._list.choice.wanted
        faults = list(self._all)
        self.prompt.close()
        self.table.focus()
        self.app.run_worker(
            lambda: self._save(path, wanted, faults), thread=True, exit_on_error=False, group="save"
        )

    def _save(self, path: Path, wanted: Filter | None, faults: Sequence[Fault]) -> None:
        chosen = [fault for fault in faults if wanted is None or wanted.matches(fault)]
        try:
            with TextIOWrapper(new_file(path), encoding="utf-8", errors="replace", newline="") as file:
                write_faults(file, chosen)
        except OSError as error:
            self.dashboard.say(f"not saved: {refusal_words(error)}", is_error=True)
        else:
            so_far = " so far" if self._is_reading else ""
            self.dashboard.say(f"saved {plural(len(chosen), 'fault')}{so_far} in {path}")

    def action_back(self) -> None:
        """Close the field, give up the filter, else go back."""
        if self.prompt.is_open:
            self.prompt.close()
            self.table.focus()
        elif self.filter_bar.is_open or self._list.choice.wanted is not None:
            self.filter_bar.clear()
            self.table.focus()
            self._choose(self._list.choice._replace(wanted=None))
        else:
            super().action_back()


def _cells(row: Row) -> Cells:
    fault = row.fault
    return {
        "times": Cell(f"×{count_text(row.times)}", "bold"),
        "file": Cell(fault.file or "", "accent" if row.is_match else "plain"),
        "row": Cell(row_words(fault)),
        "column": Cell(column_words(fault)),
        "found": Cell(found_words(fault), "warning"),
        "needs": Cell(needs_words(fault)),
    }
