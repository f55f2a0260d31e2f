"""The screen of users with counts of their jobs."""

from collections.abc import Iterator, Sequence

from gnjobs.health.states import GROUPS
from gnjobs.text import clock_text
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.style import Cell, Part
from gnjobs_tui.widgets.columns import Cells, Column
from gnjobs_tui.widgets.rows import RowList
from gnjobs_tui.widgets.table import VirtualTable

COLUMNS = (
    Column("user", "User", 12, 100, grows=1),
    Column("name", "Name", 16, 50, grows=1),
    *(Column(group, group.capitalize(), 8, 90 - place, "right") for place, group in enumerate(GROUPS)),
    Column("newest", "Newest", 10, 60, "right", order="newest first"),
)
_TOKENS = {"trouble": "warning-bold", "failed": "error", "running": "accent"}


class UsersScreen(TableScreen):
    """Every user who has jobs, the one with the newest job first."""

    columns = COLUMNS
    usual = "newest job first"
    keys = (("enter", "this user's jobs"), ("s", "sort"), (":", "more"), ("?", "help"), ("esc", "back"))

    def on_mount(self) -> None:
        """Be ready for keys."""
        self.table.focus()

    def trail(self) -> Sequence[Part]:
        """The screen's name."""
        return ["users"]

    def draw_content(self) -> None:
        """Show the users as they are now."""
        is_known = self.dashboard.jobs.progress == 1
        self.table.show(RowList(self._rows()), empty="no user has jobs" if is_known else self.unread())

    def _rows(self) -> Iterator[tuple[str, Cells]]:
        jobs = self.dashboard.jobs
        counted = jobs.catalogue.user_counts()
        newest = {user: jobs.catalogue.newest_of(user) for user in counted if user}
        for user in sorted(newest, key=lambda user: (-newest[user], user)):
            counts = counted[user]
            cells = {
                group: Cell(str(counts[group] or ""), _TOKENS.get(group, "plain"), counts[group])
                for group in GROUPS
            }
            name = self.dashboard.config.name_of(user)
            yield (
                user,
                {
                    "user": Cell(user),
                    "name": Cell(name if name != user else ""),
                    "newest": Cell(clock_text(newest[user] or None, jobs.now()), "dim", newest[user]),
                    **cells,
                },
            )

    def on_virtual_table_opened(self, message: VirtualTable.Opened) -> None:
        """Show one user's jobs."""
        self.dashboard.open_jobs_of(message.key)
