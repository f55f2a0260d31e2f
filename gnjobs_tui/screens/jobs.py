"""The screen of all jobs or of one user's jobs: counts, filter, table, and the pane below."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar

import msgspec
from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType

from gnjobs.errors import FilterError
from gnjobs.health.states import GROUPS
from gnjobs.records.statuses import SUCCESS
from gnjobs.watch.filters import Filter, parse_filter
from gnjobs.watch.listing import Sort
from gnjobs.watch.rows import Change, JobRow
from gnjobs_tui.keys import Argument, Keys, bind, jobs_keys, part_spans
from gnjobs_tui.live import Choice, ShownList
from gnjobs_tui.screens.base import clock_seconds
from gnjobs_tui.screens.glance import Aim, GlanceScreen, glance_lines, parts_of
from gnjobs_tui.screens.job_cells import ORDERS, JobsSource, job_columns
from gnjobs_tui.screens.job_pane import count_parts, empty_words, ends_words, pane_lines, pane_title
from gnjobs_tui.screens.trends import trend_parts
from gnjobs_tui.style import GLYPHS, Cell, Part, content, cropped, safe
from gnjobs_tui.widgets.columns import Orders
from gnjobs_tui.widgets.filter_bar import FilterBar
from gnjobs_tui.widgets.line import Line, Lines
from gnjobs_tui.widgets.table import HEADER_LINES, VirtualTable

# Header, counts, rule and footer.
LINES_AROUND = 4
LEAST_PANE = 3


class JobsScreen(GlanceScreen):
    """The list of jobs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            bind(str(number), f"group('{group}')", f"Show {group}", f"jobs.{group}")
            for number, group in enumerate(GROUPS, 1)
        ),
        bind("slash", "filter", "Filter by words, state:, user: …", "jobs.filter"),
        *(
            bind(key, f"app.{page}", f"Show {about}", f"jobs.{page}")
            for key, page, about in (
                ("u", "users", "users with their job counts"),
                ("h", "hosts", "hosts with their agents"),
                ("p", "pulse", "the pulse: what is unusual"),
            )
        ),
        bind("space", "mark", "Mark this job, or unmark it", "jobs.mark"),
        bind("a", "mark_all", "Mark all listed jobs, or unmark", "jobs.mark-all"),
    ]
    filter_bar = getters.query_one("#filter", FilterBar)

    def __init__(self, user: str | None = None, query: str = "") -> None:
        super().__init__()
        self.user = user
        self._query = query
        self._given: Filter | None = None
        self._list: ShownList | None = None
        self._awaited: set[str] = set()

    def compose(self) -> ComposeResult:
        """Header, counts, table, pane, footer."""
        yield self.header()
        yield Line(id="counts")
        yield VirtualTable(
            job_columns(self.dashboard.config.columns, of_user=self.user is not None), id="table"
        )
        yield Line(id="rule", classes="rule")
        yield Lines(id="pane")
        yield Line(id="footer", classes="footer")
        yield FilterBar(id="filter")

    def on_mount(self) -> None:
        """Open the list."""
        self._list = ShownList(self.dashboard.jobs.catalogue, self._users)
        self.dashboard.jobs.work()
        self.table.focus()
        if self._query:
            self._filter_by(self._query)
            self._given = self.choice.filter
        self.draw()

    @property
    def takes_keys(self) -> bool:
        """Whether a field has the keys, or the jobs that were chosen last are listed."""
        if self.filter_bar.is_open:
            return True
        has_rows = self.table.cursor_key is not None or self.dashboard.jobs.progress == 1
        return self._list is not None and self._list.is_current and has_rows

    @property
    def _users(self) -> frozenset[str] | None:
        return frozenset({self.user}) if self.user else None

    @property
    def row(self) -> JobRow | None:
        """The row of the cursor, as it is now."""
        key = self.table.cursor_key
        return None if key is None else self.dashboard.jobs.catalogue.get(key)

    def rows_to_act_on(self) -> list[JobRow]:
        """The marked rows, or else the row of the cursor."""
        found = (self.dashboard.jobs.catalogue.get(key) for key in sorted(self.table.marks))
        marked = [row for row in found if row is not None]
        return marked or super().rows_to_act_on()

    def place_of(self, row: JobRow) -> float:
        """Where a job is listed: behind all others where the filter hides it."""
        place = self._list.current.index_of(row.key) if self._list is not None else None
        return math.inf if place is None else place

    def hidden_marks(self) -> int:
        """How many marked rows the filter hides."""
        listing = self._list.current if self._list else None
        return 0 if listing is None else sum(1 for key in self.table.marks if listing.index_of(key) is None)

    def trail(self) -> Sequence[Part]:
        """The user whose jobs these are."""
        return [self.dashboard.config.name_of(self.user)] if self.user else []

    @property
    def choice(self) -> Choice:
        """What is listed, and in which order."""
        return self._list.choice if self._list else Choice()

    @property
    def _is_as_given(self) -> bool:
        """Whether the filter is that which the list was opened by, if any."""
        return str(self.choice.filter or "") == str(self._given or "")

    def _choose(self, choice: Choice) -> None:
        if self._list is not None and choice != self._list.choice:
            self._list.choose(choice)
            self.dashboard.jobs.work()
            self.draw()

    def on_unmount(self) -> None:
        """Close the lists."""
        if self._list is not None:
            self._list.close()

    def changed(self, change: Change) -> None:
        """Unmark what is gone, and tell of marked jobs that have ended, once."""
        if change.removed and self.table.marks:
            self._mark(self.table.marks.difference(change.removed))
        ended = [row for row in change.rows if row.is_final and row.key in self._awaited]
        if ended:
            self._awaited -= {row.key for row in ended}
            self.app.bell()
            is_error = any(row.status != SUCCESS for row in ended)
            self.dashboard.say(ends_words(ended, self.dashboard.jobs.now()), is_error=is_error)

    def _mark(self, keys: set[str]) -> None:
        self.table.set_marks(keys)
        self._awaited = {row.key for row in self.dashboard.jobs.catalogue.unfinished() if row.key in keys}

    @property
    def keys(self) -> Keys:
        """Those of a list, as far as they lead somewhere."""
        return jobs_keys(is_narrow=self.is_narrow, is_first=self.is_first, of_user=self.user is not None)

    def draw(self) -> None:
        """Show the list as it is now; the table tells where its cursor is, and then pane and keys are drawn."""
        if self._list is None:
            return
        app, choice, listing = self.dashboard, self.choice, self._list.take()
        self.draw_header()
        self._draw_counts()
        if app.jobs.progress == 1:
            wanted = str(choice.filter or "")
            empty = empty_words(wanted, choice.group, self.user, is_given=self._is_as_given)
        else:
            empty = self.unread("looking for jobs")
        source = JobsSource(listing, app.jobs.now, app.config.name_of)
        self.table.show(source, empty=empty, sort=choice.sort)
        rows = self.table.visible_rows
        app.jobs.watcher.set_visible([row.key for row in listing.visible(rows.start, rows.stop)])

    def _draw_counts(self) -> None:
        jobs, line = self.dashboard.jobs, self.query_one("#counts", Line)
        parts = count_parts(jobs.catalogue.counts(self._users), self.choice.group, self.is_narrow)
        is_loading = jobs.progress is not None and jobs.progress < 1
        loading = [Cell(f"loading {jobs.progress:.0%}", "accent")] if is_loading else []
        # Each count stands for its digit; a gap follows each.
        digits = [key for number in range(1, len(GROUPS) + 1) for key in (str(number), None)]
        line.show(content(*parts), content(*loading), part_spans(parts, digits))

    def on_virtual_table_moved(self) -> None:
        """Say why the job of the cursor is as it is."""
        self.look()
        self._draw_pane()

    def on_resize(self) -> None:
        """Make room for the pane; the base class draws."""
        self._draw_pane()

    @property
    def _pane_height(self) -> int:
        """A few lines, or many below a list that leaves so much room, whatever the cursor is on."""
        many = (self.size.height - LINES_AROUND) * 2 // 5
        is_known = self._list is not None and self.dashboard.jobs.progress == 1
        rows = len(self._list.current) if self._list is not None and is_known else self.size.height
        has_room = rows + HEADER_LINES <= self.size.height - LINES_AROUND - many
        return max(many, LEAST_PANE) if has_room else LEAST_PANE

    def aim(self) -> Aim | None:
        """The child that is in trouble, or the job itself; None where no line of it would be seen.

        Of one that says nothing itself, the last line always is.
        """
        row, room = self.row, self._pane_height
        has_room = room > LEAST_PANE
        if row is None or (row.says and not has_room):
            return None
        beat = None if row.job is None else (row.job.last_output, row.job.lines, (row.heartbeat or 0) // 10)
        lines, runs = room if has_room else 1, has_room and not row.is_final
        return Aim(row.prefix, row.id, parts_of(row), (row.status, beat), lines, runs=runs)

    def draw_glance(self) -> None:
        """Show the last lines."""
        self._draw_pane()

    def _draw_pane(self) -> None:
        jobs, row, width = self.dashboard.jobs, self.row, self.size.width
        now = jobs.now()
        health = jobs.judge.health(row, now) if row is not None else None
        self.query_one("#rule", Line).show(pane_title(row, width, self._notes()))
        height, pane = self._pane_height, self.query_one("#pane", Lines)
        pane.styles.height = height
        glance = self.glance
        last_line = None if glance is None else glance.last_line
        shown = pane_lines(row, health, jobs.common_causes(), (width, height), now, last_line)
        if height > LEAST_PANE and row is not None:
            trend = content(*trend_parts(row, glance.history if glance else None, now, width))
            shown += [trend] if trend else []
            shown += glance_lines(glance, height - len(shown), width)
        pane.show_lines(shown)
        self.show_keys()

    def _notes(self) -> list[str]:
        choice, marks = self.choice, self.table.marks
        notes = [cropped(safe(f"/{choice.filter}"), self.size.width // 3)] if choice.filter else []
        notes += ["re: takes too long"] if choice.filter and choice.filter.is_too_slow else []
        arrow = GLYPHS.down if choice.sort.descending else GLYPHS.up
        notes += [f"by {choice.sort.column} {arrow}"] if choice.sort.column else []
        feed = self.dashboard.feed
        notes += [f"as of {clock_seconds(feed.since)}"] if feed.kind == "away" and feed.since else []
        return notes + ([f"{len(marks)} marked"] if marks else [])

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Open a job."""
        from gnjobs_tui.screens.job import JobScreen

        row = self.dashboard.jobs.catalogue.get(message.key)
        if row is not None:
            self.app.push_screen(JobScreen(row))

    def action_group(self, group: str) -> None:
        """Show one group of jobs."""
        self._choose(msgspec.structs.replace(self.choice, group=group))

    @property
    def orders(self) -> Orders:
        """What jobs sort by, whatever columns there is room for."""
        return ORDERS

    @property
    def sort(self) -> Sort:
        """The order of the list."""
        return self.choice.sort

    def sort_by(self, sort: Sort) -> None:
        """List the jobs in another order."""
        self._choose(msgspec.structs.replace(self.choice, sort=sort))

    def action_mark(self) -> None:
        """Mark the row, or unmark it, and go on to the next."""
        if self.row is not None:
            self._mark(self.table.marks ^ {self.row.key})
            self.table.action_move(1)

    def action_mark_all(self) -> None:
        """Mark all that the list shows, or unmark them when all of them are marked."""
        keys = set(self._list.current.keys()) if self._list is not None else set()
        marks = self.table.marks
        self._mark(marks - keys if keys <= marks else marks | keys)

    def arguments(self) -> Sequence[Argument]:
        """A filter, a saved one too, beside what every screen takes."""
        listed = Argument("filter", "list these jobs alone", self._filters, "filter")
        return [*super().arguments(), listed]

    def _filters(self, typed: str) -> Iterator[tuple[str, Callable[[], None]]]:
        for name, text in self.dashboard.config.filters.items():
            if name.startswith(typed):
                yield name, partial(self._filter_by, text)
        if typed:
            yield typed, partial(self._filter_by, typed)

    def _filter_by(self, text: str) -> None:
        try:
            found = parse_filter(text)
        except FilterError as error:
            self.dashboard.say(str(error), is_error=True)
            return
        self.filter_bar.remember(text)
        self._choose(msgspec.structs.replace(self.choice, filter=found))

    async def action_filter(self) -> None:
        """Type a filter."""
        await self.filter_bar.open()

    def on_filter_bar_typed(self, message: FilterBar.Typed) -> None:
        """Filter by what is typed so far."""
        self._choose(msgspec.structs.replace(self.choice, filter=message.filter))
        self._draw_counts()

    def on_filter_bar_kept(self) -> None:
        """Give the keys back to the table."""
        self.filter_bar.close()
        self.table.focus()
        self._draw_counts()

    def action_back(self) -> None:
        """Give up the filter that was typed, else the marks, else the group and the order, else go back."""
        if self.filter_bar.is_open or not self._is_as_given:
            self.filter_bar.clear()
            self.filter_bar.remember(self._query)
            self.on_filter_bar_kept()
            self._choose(msgspec.structs.replace(self.choice, filter=self._given))
        elif self.table.marks:
            self._mark(set())
        elif self.is_first and self.choice != Choice():
            self._choose(Choice())
        else:
            super().action_back()
