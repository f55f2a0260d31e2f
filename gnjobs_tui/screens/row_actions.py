"""What can be done with jobs of a list: kill, run again, remove, copy, and see their owner's."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType

from gnjobs.rows import JobRow
from gnjobs_tui.kill_targets import Target, target_of_row
from gnjobs_tui.screens.confirm import ConfirmScreen
from gnjobs_tui.screens.text import TextScreen

if TYPE_CHECKING:
    from gnjobs_tui.screens.jobs import JobsScreen


class RowActions:
    """Actions on `rows_to_act_on()` or `row`; mixed into a screen that has them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "owner", "owner", show=False, id="rows.owner", tooltip="All jobs of this one's owner"),
        Binding("K", "kill", "kill", show=False, id="rows.kill", tooltip="Kill this job, or the marked ones"),
        Binding(
            "R", "rerun", "re-run", show=False, id="rows.rerun", tooltip="Show the line that runs it again"
        ),
        Binding(
            "D", "remove", "remove", show=False, id="rows.remove", tooltip="Remove this job, which has ended"
        ),
        Binding("y", "copy", "copy", show=False, id="rows.copy", tooltip="Copy the job's id"),
    ]

    def _screen(self) -> "JobsScreen":
        return cast("JobsScreen", self)

    def action_owner(self) -> None:
        """Show all jobs of the owner."""
        from gnjobs_tui.screens.jobs import JobsScreen

        screen = self._screen()
        if screen.row is not None and screen.row.user:
            screen.app.push_screen(JobsScreen(screen.row.user))

    def action_kill(self) -> None:
        """Ask what to kill."""
        from gnjobs_tui.screens.kill import KillScreen

        screen = self._screen()
        rows = [row for row in screen.rows_to_act_on() if not row.is_final]
        if not rows:
            screen.dashboard.say("nothing to kill: it has ended")
            return
        targets: list[Target] = [
            target_of_row(row, row.prefix or screen.dashboard.config.prefixes[0]) for row in rows
        ]
        screen.app.push_screen(KillScreen(targets, hidden=screen.hidden_marks()))

    def action_rerun(self) -> None:
        """Show the line that runs the job again."""
        screen = self._screen()
        row = screen.row
        if row is None:
            return

        def show() -> None:
            line = screen.dashboard.store_of(row).rerun_line(row.id)
            title = "Run it again: this line, where it belongs"
            screen.app.call_from_thread(screen.app.push_screen, TextScreen(title, line))

        screen.work(show, "rerun")

    def action_remove(self) -> None:
        """Ask, then remove a job that has ended."""
        screen = self._screen()
        row = screen.row
        if row is None:
            return
        question = f"Remove {row.label} ({row.id[:8]}) with all its outputs?"
        screen.app.push_screen(
            ConfirmScreen(question, "Remove"), lambda said: self._remove(row) if said else None
        )

    def _remove(self, row: JobRow) -> None:
        screen = self._screen()
        screen.work(lambda: screen.dashboard.store_of(row).remove(row.id, screen.dashboard.actor), "remove")

    def action_copy(self) -> None:
        """Copy the job's id."""
        screen = self._screen()
        if screen.row is not None:
            screen.app.copy_to_clipboard(screen.row.id)
            screen.dashboard.say(f"copied {screen.row.id}")
