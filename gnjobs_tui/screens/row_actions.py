"""Actions on a job of a list or on the marked jobs: kill, re-run, remove, copy the id, show the owner's jobs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.message import Message

from gnjobs.errors import GnjobsError
from gnjobs.records.actor import Actor
from gnjobs.watch.rows import JobRow
from gnjobs_tui.keys import bind
from gnjobs_tui.screens.job_pane import ended_words
from gnjobs_tui.screens.tables import TableScreen
from gnjobs_tui.screens.target import LeftOut, Target, target_of_row
from gnjobs_tui.style import cropped, safe

if TYPE_CHECKING:
    from gnjobs.store import JobStore


# What is asked stands in few lines, none of which a label can make look like another.
LONGEST_LABEL = 48


class RowActions(TableScreen):
    """A screen with a job under its cursor, and perhaps marked ones."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("o", "owner", "Show all jobs of this owner", "rows.owner"),
        bind("K", "kill", "Kill this job or the marked jobs", "rows.kill"),
        bind("R", "rerun", "Show the command to run it again", "rows.rerun"),
        bind("D", "remove", "Remove this job or the marked jobs (ended ones only)", "rows.remove"),
        bind("y", "copy", "Copy the job's id", "rows.copy"),
        bind("b", "stacks", "Stacks: where its processes are", "rows.stacks"),
    ]

    class Rerun(Message):
        """The command that runs a job again was made."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    @property
    def row(self) -> JobRow | None:
        """The job that the cursor is on."""
        return None

    def rows_to_act_on(self) -> list[JobRow]:
        """The marked jobs, or else that of the cursor."""
        return [self.row] if self.row is not None else []

    def place_of(self, row: JobRow) -> float:
        """Where a job stands among those listed, for whoever compares a question with the list."""
        return 0.0

    def hidden_marks(self) -> int:
        """How many marked jobs the filter hides."""
        return 0

    @property
    def can_be_killed(self) -> bool:
        """Whether one of these jobs has not ended."""
        return any(not row.is_final for row in self.rows_to_act_on())

    def target(self) -> Target | None:
        """The job or child that the cursor is on."""
        return None if self.row is None else target_of_row(self.row)

    def action_stacks(self) -> None:
        """Show where in their code the processes of the row are."""
        from gnjobs_tui.screens.stacks import StacksScreen

        target = self.target()
        if target is not None:
            self.app.push_screen(StacksScreen(target))

    def action_owner(self) -> None:
        """Show all jobs of the owner."""
        if self.row is not None and self.row.user:
            self.dashboard.open_jobs_of(self.row.user)

    def action_kill(self) -> None:
        """Ask what to kill."""
        from gnjobs_tui.screens.kill import KillScreen

        if self.is_refused("kill"):
            return
        chosen, now = sorted(self.rows_to_act_on(), key=self.place_of), self.dashboard.jobs.now()
        targets = [target_of_row(row) for row in chosen if not row.is_final]
        left_out = [LeftOut(target_of_row(row), ended_words(row, now)) for row in chosen if row.is_final]
        if targets:
            self.app.push_screen(KillScreen(targets, self.hidden_marks(), left_out))
        elif left_out:
            how = left_out[0].why if len(left_out) == 1 else "all have ended"
            self.dashboard.say(f"nothing to kill: {how}")

    def action_rerun(self) -> None:
        """Show the command that runs the job again."""
        row = self.row
        if row is None:
            return

        def show() -> None:
            self.post_message(self.Rerun(self.dashboard.store_of(row).rerun_line(row.id)))

        self.work(show, "rerun")

    def on_row_actions_rerun(self, message: Rerun) -> None:
        """Show the command."""
        from gnjobs_tui.screens.dialogs import TextScreen

        self.app.push_screen(TextScreen("To run it again, use this command in its directory", message.line))

    def action_remove(self) -> None:
        """Ask, then remove the jobs that have ended."""
        from gnjobs_tui.screens.dialogs import ConfirmScreen

        if self.is_refused("remove"):
            return
        chosen = self.rows_to_act_on()
        rows = [row for row in chosen if row.is_final]
        if not rows:
            if chosen:
                self.dashboard.say("nothing to remove: only jobs that have ended are removed")
            return
        running = len(chosen) - len(rows)
        stay = "has not ended stays" if running == 1 else "have not ended stay"
        kept = f" {running} that {stay}." if running else ""
        hidden = f" The filter hides {marks} of the marked jobs." if (marks := self.hidden_marks()) else ""
        one = f"{cropped(safe(rows[0].label), LONGEST_LABEL)} ({rows[0].id[:8]}) with all its outputs"
        what = one if len(rows) == 1 else f"{len(rows)} jobs with all their outputs"
        self.app.push_screen(
            ConfirmScreen(f"Remove {what}?{kept}{hidden}", "Remove"),
            lambda said: self._remove(rows) if said else None,
        )

    def _remove(self, rows: Sequence[JobRow]) -> None:
        app = self.dashboard

        def remove() -> None:
            refused = [said for row in rows if (said := _removed(app.store_of(row), row, app.actor))]
            if refused:
                raise GnjobsError(f"{len(rows) - len(refused)} of {len(rows)} removed; {refused[0]}")

        self.work(remove, "remove")

    def action_copy(self) -> None:
        """Copy the job's id."""
        if self.row is not None:
            self.dashboard.copy(self.row.id, self.row.id)


def _removed(store: "JobStore", row: JobRow, actor: Actor) -> str | None:
    """Remove a job; why it could not be done, or None."""
    try:
        store.remove(row.id, actor, created=row.recorded)
    except GnjobsError as error:
        return str(error)
    return None
