"""The kill dialog: what will be killed and why, then every step until it is verified. Cancel has the focus."""

from collections.abc import Sequence
from typing import ClassVar

from redis.exceptions import RedisError
from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from gnjobs.errors import GnjobsError
from gnjobs.records.requests import DEFAULT_GRACE
from gnjobs_tui.keys import bind
from gnjobs_tui.screens.dashboard import Dashboard
from gnjobs_tui.screens.kill_run import KillRun, left_out_lines, target_lines, title_of, what_ends
from gnjobs_tui.screens.target import LeftOut, Target
from gnjobs_tui.style import Cell, Part, content, lines

# On a lower terminal the list of processes makes room for the steps.
LOW = 30
# Title, who, what ends, buttons and the room between them.
ROWS_AROUND_STEPS, LEAST_STEPS = 18, 6
_ASK_LABEL = f"Kill: TERM, after {DEFAULT_GRACE:.0f} s KILL"


class KillScreen(ModalScreen[None]):
    """Asks before it kills one child, one job, or the marked jobs; stays until everything is verified."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("escape", "close", "Cancel; while it runs, close", "kill.cancel"),
        bind("tab", "next(1)", "Cancel, why, Kill", "kill.next", priority=True),
        bind("shift+tab", "next(-1)", "", "kill.previous", priority=True),
        bind("left,right", "next(1)", "", "kill.other"),
        bind("up", "scroll_list(-1)", "Scroll the list", "kill.up"),
        bind("down", "scroll_list(1)", "", "kill.down"),
        bind("pageup", "scroll_list(-6)", "", "kill.page-up"),
        bind("pagedown", "scroll_list(6)", "", "kill.page-down"),
        bind("j", "whole_job", "Kill the job instead of one child", "kill.job"),
    ]
    dashboard = getters.app(Dashboard)

    class Looked(Message):
        """What would end of a target is known."""

        def __init__(self, target: Target, rows: list[list[Part]]) -> None:
            super().__init__()
            self.target = target
            self.rows = rows

    def __init__(self, targets: Sequence[Target], hidden: int = 0, left_out: Sequence[LeftOut] = ()) -> None:
        super().__init__()
        self._targets = targets
        self._left_out = left_out
        self._hidden = hidden
        self._run: KillRun | None = None

    def compose(self) -> ComposeResult:
        """Who, what ends, why, two buttons, steps."""
        with Vertical(classes="dialog", id="dialog"):
            yield Static(id="who", markup=False)
            with VerticalScroll(classes="scroll", id="ends"):
                yield Static(id="processes", markup=False)
            with Horizontal(classes="why-row"):
                yield Static(content(Cell("why", "dim")), classes="why-label", markup=False)
                yield Input(id="why", placeholder="optional; it is kept with the job")
            if len(self._targets) > 1:
                with Horizontal(classes="why-row"):
                    yield Static(content(Cell("type", "dim")), classes="why-label", markup=False)
                    yield Input(id="number", placeholder=self._number_prompt())
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="cancel")
                yield Button(content(_ASK_LABEL), id="kill", variant="error")
            with VerticalScroll(classes="steps", id="steps"):
                yield Static(id="log", markup=False)

    def _number_prompt(self) -> str:
        count = len(self._targets)
        hidden = f" ({self._hidden} hidden by the filter)" if self._hidden else ""
        return f"{count} to kill {count} jobs{hidden}"

    def on_mount(self) -> None:
        """Focus Cancel, and look what would end."""
        for field in self.query(Input):
            field.cursor_blink = False
        self.query_one("#steps").display = False
        for scroll in self.query(VerticalScroll):
            scroll.can_focus = False
        self.query_one("#cancel").focus()
        self._show_targets()

    def _show_targets(self) -> None:
        several = len(self._targets) > 1
        self.query_one("#dialog").border_title = title_of(self._targets)
        if several:
            told = f"{len(self._targets)} of {len(self._targets) + len(self._left_out)} marked; the others are below"
            self.query_one("#who", Static).update(lines([[Cell(told, "warning")]] if self._left_out else []))
            self._show_ends(target_lines(self._targets))
        else:
            self.query_one("#who", Static).update(lines(target_lines(self._targets)))
            self._show_ends([[Cell("looking …", "dim")]])
            self.run_worker(self._look, thread=True, exit_on_error=False, group="look")

    def _show_ends(self, rows: list[list[Part]]) -> None:
        self.query_one("#processes", Static).update(lines([*rows, *left_out_lines(self._left_out)]))

    def _look(self) -> None:
        target = self._targets[0]
        try:
            store = self.dashboard.store_under(target.prefix)
            snapshot, job = store.processes(target.job_id), store.get(target.job_id)
            rows = what_ends(target, snapshot, store.now(), job.is_foreign)
        except (GnjobsError, RedisError, OSError) as error:
            rows = [[Cell(self.dashboard.explain(error), "error")]]
        self.post_message(self.Looked(target, rows))

    def on_kill_screen_looked(self, message: Looked) -> None:
        """Show what would end, unless the job is the target by now, and no longer its child."""
        if message.target == self._targets[0]:
            self._show_ends(message.rows)

    def action_next(self, by: int) -> None:
        """Go round: Cancel, why, (the number,) Kill."""
        names = [name for name in ("#cancel", "#why", "#number", "#kill") if self.query(name)]
        ring = [self.query_one(name) for name in names if self.query_one(name).display]
        place = ring.index(self.focused) if self.focused in ring else -1
        # At once, and not in turn: what is typed ahead over a slow line belongs to the next field.
        self.set_focus(ring[(place + by) % len(ring)])

    def action_scroll_list(self, by: int) -> None:
        """Scroll what ends, or the steps."""
        for name in ("#ends", "#steps"):
            scroll = self.query_one(name, VerticalScroll)
            if scroll.display:
                scroll.scroll_relative(y=by, animate=False, immediate=True)

    def action_whole_job(self) -> None:
        """Aim at the job instead of one of its children."""
        if self._run is None and len(self._targets) == 1 and self._targets[0].child is not None:
            self._targets = [
                self._targets[0]._replace(child=None, child_label=None, percent=None, silence=None)
            ]
            self._show_targets()

    def on_button_pressed(self, message: Button.Pressed) -> None:
        """Cancel or close; kill; kill now."""
        if message.button.id == "cancel":
            self.action_close()
        elif not self.dashboard.typed.was_seen:
            self.dashboard.say("not killed: that key was pressed before this question was shown")
            self.query_one("#cancel").focus()
        elif self._run is None:
            self._begin()
        else:
            self._hurry(self._run)

    def _begin(self) -> None:
        if len(self._targets) > 1 and self.query_one("#number", Input).value.strip() != str(
            len(self._targets)
        ):
            self.dashboard.say(f"nothing is killed: type {self._number_prompt()}", is_error=True)
            self.query_one("#number", Input).focus()
            return
        app = self.dashboard
        reason = self.query_one("#why", Input).value.strip()
        self._run = run = KillRun(
            self._targets, app.actor, reason, lambda target: app.store_under(target.prefix)
        )
        app.kill_runs.append(run)
        self.query_one("#ends").display = len(self._targets) == 1 and self.app.size.height >= LOW
        for answered in self.query(".why-row, .why-row Input"):
            answered.display = False
        steps = self.query_one("#steps")
        steps.display = True
        steps.styles.max_height = max(LEAST_STEPS, self.app.size.height - ROWS_AROUND_STEPS)
        self.query_one("#kill", Button).label = content("KILL now")
        self.query_one("#cancel", Button).label = content("Close")
        self.query_one("#cancel").focus()
        app.run_kill(run)

    def _hurry(self, run: KillRun) -> None:
        self.query_one("#kill", Button).disabled = True
        self.dashboard.run_kill(run, force=True)

    def shows(self, run: KillRun) -> bool:
        """Whether the steps of this kill are shown here."""
        return run is self._run

    def stepped(self) -> None:
        """Show the steps so far."""
        run = self._run
        if run is None or not self.is_mounted:
            return
        self.query_one("#log", Static).update(lines(run.step_lines()))
        self.query_one("#steps", VerticalScroll).scroll_end(animate=False)
        if run.is_over:
            self.query_one("#kill").display = False
            self.query_one("#cancel").focus()

    def action_close(self) -> None:
        """Close; a kill that runs goes on, and its results are kept."""
        if self._run is not None and not self._run.is_over:
            self.dashboard.say("the kill continues; you will be told when it ends, and L lists it")
        self.dismiss()
