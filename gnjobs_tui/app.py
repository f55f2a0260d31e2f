"""The dashboard: screens over one catalogue of jobs that a watcher keeps up to date."""

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.widgets import Input

from gnjobs.records.actor import Actor
from gnjobs.text import safe_text
from gnjobs.watch.rows import FeedState, JobRow
from gnjobs_tui.config import Config
from gnjobs_tui.live import Changed, Watch
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.style import DARK, OUR_THEMES, Part, content, theme_named
from gnjobs_tui.widgets.table import VirtualTable

if TYPE_CHECKING:
    from textual.command import Provider

    from gnjobs.store import JobStore
    from gnjobs_tui.screens.kill_run import KillRun


def _commands() -> "type[Provider]":
    """The palette's commands, imported when it is opened: what it needs would delay the first frame."""
    from gnjobs_tui.keys import ScreenCommands

    return ScreenCommands


class GnjobsApp(App[None]):
    """Watches all jobs, or those of one user; a curator's own."""

    CSS_PATH = "app.tcss"
    TITLE = "gnjobs"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = {_commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "quit", show=False, id="app.quit", tooltip="Quit", priority=True),
        Binding(
            "colon,ctrl+p",
            "command_palette",
            "more",
            show=False,
            id="app.palette",
            tooltip="Everything by name",
        ),
    ]

    def __init__(
        self, config: Config, actor: Actor, *, user: str | None = None, theme: str | None = None
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.config = config
        self.actor = actor
        self._first_user = user or actor.only_user
        for each in OUR_THEMES:
            self.register_theme(each)
        found = theme_named(theme or config.theme, self.available_themes)
        self._unknown_theme = None if found else theme or config.theme
        self.theme = found or DARK.name
        users = frozenset(actor.user_ids) if actor.role == "curator" else None
        self.jobs = Watch(self, config, users, self._draw)
        self._stores: dict[str, JobStore] = {}
        self.kill_runs: list[KillRun] = []

    def get_default_screen(self) -> JobsScreen:
        """The first screen; an empty one below it would be laid out and drawn for nobody."""
        return JobsScreen(self._first_user)

    def on_mount(self) -> None:
        """Begin to watch once the first screen is there."""
        self.call_after_refresh(self.jobs.start)
        if self._unknown_theme:
            self.say(f"there is no theme {self._unknown_theme}", is_error=True)

    def on_key(self, event: events.Key) -> None:
        """Hand a key on to the field that was opened while it was under way.

        A slow line brings many keys at once; those typed after `/` would act on jobs.
        """
        if isinstance(self.focused, Input) and isinstance(event._sender, VirtualTable):
            event.prevent_default()
            self.focused.post_message(events.Key(event.key, event.character))

    async def on_event(self, event: events.Event) -> None:
        """Make what is pasted harmless before a field has it: fields draw control characters as they are."""
        if isinstance(event, events.Paste):
            event.text = safe_text(event.text)
        await super().on_event(event)

    def on_unmount(self) -> None:
        """End watching."""
        self.jobs.stop()

    def on_changed(self, message: Changed) -> None:
        """Take in news, and tell every screen what changed in Redis."""
        self.jobs.take(message.change)
        for screen in self._watch_screens():
            screen.changed(message.change)

    def _draw(self) -> None:
        for screen in self._watch_screens():
            if screen.is_active:
                screen.draw()

    def _watch_screens(self) -> "list[WatchScreen]":
        """The screens that have their widgets: not yet at the start, and no more while the app ends."""
        return [screen for screen in self.screen_stack if isinstance(screen, WatchScreen) and screen.children]

    def run_kill(self, run: "KillRun", *, force: bool = False) -> None:
        """Kill in a thread that outlives the dialog; its steps come back as messages."""
        from gnjobs_tui.screens.kill_run import Stepped

        def tell() -> None:
            self.post_message(Stepped())

        def kill() -> None:
            run.run(tell, force=force)

        self.run_worker(kill, thread=True, exit_on_error=False, group="kill")

    def on_stepped(self) -> None:
        """Show the step in the dialog; say the end where that is closed."""
        from gnjobs_tui.screens.kill import KillScreen

        if isinstance(self.screen, KillScreen):
            self.screen.stepped()
        for run in self.kill_runs:
            if run.is_over and not run.is_told:
                run.is_told = True
                if not isinstance(self.screen, KillScreen):
                    self.say(run.summary(), is_error=not run.succeeded)

    @property
    def feed(self) -> FeedState:
        """How changes arrive."""
        return self.jobs.state

    def store_of(self, row: JobRow) -> "JobStore":
        """The store that holds a job; only to be used in a thread."""
        return self.store_under(row.prefix or self.config.prefixes[0])

    def store_under(self, prefix: str) -> "JobStore":
        """The store of a prefix; only to be used in a thread."""
        from gnjobs.store import JobStore

        if prefix not in self._stores:
            lifetime = self.config.expires_after.get(prefix)
            self._stores[prefix] = JobStore.from_url(self.config.url, prefix, lifetime=lifetime)
        return self._stores[prefix]

    def say(self, *parts: Part, is_error: bool = False) -> None:
        """Tell something for a moment; the text may be anything."""
        severity: SeverityLevel = "error" if is_error else "information"
        self.notify(content(*parts).plain, severity=severity, markup=False)
