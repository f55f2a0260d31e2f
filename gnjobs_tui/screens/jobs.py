"""All jobs, or one user's: the counts, the table, and why the job of the cursor is as it is."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from gnjobs.errors import FilterError
from gnjobs.filters import Filter, parse_filter
from gnjobs.groups import ALL, GROUPS
from gnjobs.health import Health, common_causes
from gnjobs.listing import Listing
from gnjobs.records import Job
from gnjobs.rows import RANK_TROUBLED, JobRow
from gnjobs.sorting import DEFAULT_SORT, Sort
from gnjobs_tui.footers import footer, jobs_keys
from gnjobs_tui.job_cells import ALL_USERS_COLUMNS, ONE_USER_COLUMNS, JobsSource
from gnjobs_tui.job_pane import pane_lines, pane_title
from gnjobs_tui.screens.row_actions import RowActions
from gnjobs_tui.styling import Cell, Part, content
from gnjobs_tui.widgets.line import Line
from gnjobs_tui.widgets.virtual_table import VirtualTable

SORTS = (
    DEFAULT_SORT,
    Sort("created", descending=True),
    Sort("silent", descending=True),
    Sort("run", descending=True),
    Sort("cpu", descending=True),
    Sort("progress"),
    Sort("label"),
    Sort("user"),
    Sort("state"),
)
NARROW = 90
# What many jobs have in common shows in fewer than all of them.
MOST_JUDGED = 500


class JobsScreen(RowActions):
    """The list of jobs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                str(number),
                f"group('{group}')",
                group,
                show=False,
                id=f"jobs.{group}",
                tooltip=f"Show {group}",
            )
            for number, group in enumerate(GROUPS, 1)
        ),
        Binding(
            "slash",
            "filter",
            "filter",
            show=False,
            id="jobs.filter",
            tooltip="Filter by words, state:, user: …",
        ),
        Binding("s", "sort", "sort", show=False, id="jobs.sort", tooltip="Sort by the next column"),
        Binding(
            "u", "users", "users", show=False, id="jobs.users", tooltip="Users, with counts of their jobs"
        ),
        Binding("space", "mark", "mark", show=False, id="jobs.mark", tooltip="Mark this job, or unmark it"),
        Binding(
            "a",
            "mark_all",
            "mark all",
            show=False,
            id="jobs.mark-all",
            tooltip="Mark all that the filter shows",
        ),
    ]

    def __init__(self, user: str | None = None) -> None:
        super().__init__()
        self.user = user
        self._group = ALL
        self._filter: Filter | None = None
        self._sort = DEFAULT_SORT
        self._listing: Listing | None = None
        self._next_listing: Listing | None = None

    def compose(self) -> ComposeResult:
        """Header, counts, table, pane, footer."""
        yield self.header()
        yield Line(id="counts", classes="counts")
        yield VirtualTable(ONE_USER_COLUMNS if self.user else ALL_USERS_COLUMNS, id="table")
        yield Line(id="rule", classes="rule")
        yield Static(id="pane", classes="pane", markup=False)
        yield Line(id="footer", classes="footer")
        yield Input(
            id="filter",
            placeholder="words, state:stuck, user:, type:, host:, label:, age>2h",
            select_on_focus=False,
        )

    def on_mount(self) -> None:
        """Open the list."""
        field = self.query_one("#filter", Input)
        field.cursor_blink = False
        field.display = False
        self._open_listing()
        self.table.focus()

    @property
    def table(self) -> VirtualTable:
        """The table of jobs."""
        return self.query_one("#table", VirtualTable)

    @property
    def row(self) -> JobRow | None:
        """The row of the cursor, as it is now."""
        key = self.table.cursor_key
        return None if key is None else self.dashboard.jobs.catalogue.get(key)

    def rows_to_act_on(self) -> list[JobRow]:
        """The marked rows, or else the row of the cursor."""
        found = (self.dashboard.jobs.catalogue.get(key) for key in sorted(self.table.marks))
        marked = [row for row in found if row is not None]
        return marked or ([self.row] if self.row is not None else [])

    def hidden_marks(self) -> int:
        """How many marked rows the filter hides."""
        listing = self._listing
        return 0 if listing is None else sum(1 for key in self.table.marks if listing.index_of(key) is None)

    def trail(self) -> Sequence[Part]:
        """The user whose jobs these are."""
        return [self.dashboard.config.name_of(self.user)] if self.user else []

    def _open_listing(self) -> None:
        catalogue = self.dashboard.jobs.catalogue
        users = frozenset({self.user}) if self.user else None
        if self._next_listing is not None:
            catalogue.close(self._next_listing)
        self._next_listing = catalogue.listing(
            filter=self._filter, group=self._group, users=users, sort=self._sort
        )
        self.dashboard.jobs.work()
        self.draw()

    def on_unmount(self) -> None:
        """Close the lists."""
        for listing in (self._listing, self._next_listing):
            if listing is not None:
                self.dashboard.jobs.catalogue.close(listing)

    def _take_next_listing(self) -> None:
        following = self._next_listing
        if following is None or not (following.ready or self._listing is None or self._sort == DEFAULT_SORT):
            return
        if self._listing is not None:
            self.dashboard.jobs.catalogue.close(self._listing)
        self._listing, self._next_listing = following, None

    def draw(self) -> None:
        """Show the list as it is now."""
        if not self.is_mounted:
            return
        self._take_next_listing()
        app = self.dashboard
        self.draw_header()
        self._draw_counts()
        if self._listing is not None:
            self.table.show(JobsSource(self._listing, app.jobs.now, app.config.name_of))
            rows = self.table.visible_rows
            app.jobs.watcher.set_visible([row.key for row in self._listing.visible(rows.start, rows.stop)])

    def _draw_counts(self) -> None:
        app = self.dashboard
        counts = app.jobs.catalogue.counts(frozenset({self.user}) if self.user else None)
        parts: list[Part] = []
        for number, group in enumerate(GROUPS, 1):
            token = "reverse" if group == self._group else "plain" if counts[group] else "dim"
            parts += [
                Cell(f"{number} {group} {counts[group]}", token),
                "   " if self.size.width >= NARROW else "  ",
            ]
        progress = app.jobs.progress
        notes = [f"loading {progress:.0%}"] if progress is not None and progress < 1 else []
        notes += [f"/{self._filter}"] if self._filter else []
        notes += [f"by {self._sort.column}"] if self._sort.column else []
        self.query_one("#counts", Line).show(content(*parts), content(Cell("  ".join(notes), "accent")))

    def on_virtual_table_moved(self) -> None:
        """Say why the job of the cursor is as it is."""
        self._draw_pane()

    def on_resize(self) -> None:
        """Lay out for the new width."""
        self.query_one("#pane").styles.height = 2 if self.size.width < NARROW else 3
        self._draw_pane()
        self.draw()

    def _draw_pane(self) -> None:
        app, row, width = self.dashboard, self.row, self.size.width
        health = app.jobs.judge.health(row, app.jobs.now()) if row is not None else None
        marked = f" {len(self.table.marks)} marked " if self.table.marks else ""
        self.query_one("#rule", Line).show(pane_title(row, width, marked))
        height = 2 if width < NARROW else 3
        causes = common_causes(self._troubled())
        shown = pane_lines(row, health, causes, height)
        pane = self.query_one("#pane", Static)
        if pane.content != shown:
            pane.update(shown, layout=False)
        self.query_one("#footer", Line).show(footer(jobs_keys(width < NARROW), width))

    def _troubled(self) -> list[tuple[Job, Health]]:
        jobs = self.dashboard.jobs
        rows = [row for row in jobs.catalogue.unfinished()[:MOST_JUDGED] if row.rank == RANK_TROUBLED]
        return [(row.job, jobs.judge.health(row, jobs.now())) for row in rows if row.job is not None]

    def on_virtual_table_opened(self) -> None:
        """Open a job."""
        from gnjobs_tui.screens.job import JobScreen

        if self.row is not None:
            self.app.push_screen(JobScreen(self.row))

    def action_group(self, group: str) -> None:
        """Show one group of jobs."""
        self._group = group
        self._open_listing()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._open_listing()

    def action_users(self) -> None:
        """Show users."""
        from gnjobs_tui.screens.users import UsersScreen

        self.app.push_screen(UsersScreen())

    def action_mark(self) -> None:
        """Mark the row, or unmark it, and go on to the next."""
        if self.row is not None:
            self.table.set_marks(self.table.marks ^ {self.row.key})
            self.table.action_move(1)

    def action_mark_all(self) -> None:
        """Mark all that the list shows; again: none."""
        keys = set(self._listing.keys()) if self._listing is not None else set()
        self.table.set_marks(set() if keys <= self.table.marks else self.table.marks | keys)

    def action_filter(self) -> None:
        """Type a filter."""
        field = self.query_one("#filter", Input)
        field.display = True
        self.query_one("#footer").display = False
        field.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter by what is typed so far; say what can't be understood."""
        try:
            typed = parse_filter(message.value) if message.value.strip() else None
        except FilterError as error:
            self.query_one("#counts", Line).show(content(Cell(str(error), "error")))
            return
        self._filter = typed
        self._open_listing()

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one("#footer").display = True
        self.table.focus()

    def action_back(self) -> None:
        """Give up the filter, else the marks, else go back."""
        field = self.query_one("#filter", Input)
        if field.display or self._filter is not None:
            self._close_filter()
            with self.prevent(Input.Changed):
                field.value = ""
            self._filter = None
            self._open_listing()
        elif self.table.marks:
            self.table.set_marks(set())
        else:
            super().action_back()
