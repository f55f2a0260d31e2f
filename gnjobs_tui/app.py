"""The Textual app: opens the first screen, shares one catalogue of jobs among all, and holds the keys of all."""

import pkgutil
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen

from gnjobs.errors import ConfigError
from gnjobs.records.actor import Actor
from gnjobs_tui import screens, widgets
from gnjobs_tui.config import Config
from gnjobs_tui.keys import bind, key_event
from gnjobs_tui.live import Changed
from gnjobs_tui.screens.base import WatchScreen
from gnjobs_tui.screens.dashboard import Dashboard
from gnjobs_tui.screens.job_cells import job_columns
from gnjobs_tui.screens.jobs import JobsScreen
from gnjobs_tui.style import DARK, FEW_COLORS, OUR_THEMES, theme_named, without_colors
from gnjobs_tui.widgets.table import VirtualTable

if TYPE_CHECKING:
    from textual.command import Provider


def _commands() -> "type[Provider]":
    """The palette's commands, imported when it is opened: what it needs would delay the first frame."""
    from gnjobs_tui.keys import ScreenCommands

    return ScreenCommands


_PACKAGE = "gnjobs_tui."
_KEY = re.compile(r"((ctrl|shift|alt)\+)*(\S|[a-z][a-z0-9_]+)")


def replaced_keys(chosen: Mapping[str, str]) -> dict[str, set[str]]:
    """The usual keys of the bindings that get others.

    Raises `ConfigError` where there is no such binding or key, or where one key would do two things on a screen.
    """
    for package in (screens, widgets):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    known: dict[str, set[str]] = {}
    for node in _ours(DOMNode):
        for binding in node.__dict__.get("BINDINGS", ()):
            known.setdefault(binding.id, set()).update(binding.key.split(","))
    for name, keys in chosen.items():
        if name not in known:
            raise ConfigError(f"keys.{name}: there is no such command; known are {', '.join(sorted(known))}")
        if wrong := [key for key in keys.split(",") if not _KEY.fullmatch(key)]:
            raise ConfigError(f"keys.{name}: {wrong[0]!r:.40} is not a key such as K, ctrl+k, f5 or space")
    for screen in _ours(Screen):
        _refuse_clash(screen, chosen)
    return {name: known[name] for name in chosen}


def _refuse_clash(screen: type[DOMNode], chosen: Mapping[str, str]) -> None:
    around = () if issubclass(screen, ModalScreen) else (VirtualTable, GnjobsApp)
    taken: dict[str, str] = {}
    for node in (*around, *screen.__mro__):
        for binding in node.__dict__.get("BINDINGS", ()) if node.__module__.startswith(_PACKAGE) else ():
            for key in chosen.get(binding.id, binding.key).split(","):
                other = taken.setdefault(key_event(key).key, binding.id)
                if other != binding.id and not chosen.keys().isdisjoint({other, binding.id}):
                    raise ConfigError(
                        f"keys: {key} would stand for both {other} and {binding.id}; change one of them"
                    )


def _ours(kind: type[DOMNode]) -> Iterator[type[DOMNode]]:
    if kind.__module__.startswith(_PACKAGE):
        yield kind
    for each in kind.__subclasses__():
        yield from _ours(each)


class GnjobsApp(Dashboard):
    """Watches all jobs, or those of one user; a curator's own."""

    CSS_PATH = "app.tcss"
    TITLE = "gnjobs"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = {_commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        bind("ctrl+c", "quit", "Quit", "app.quit", priority=True),
        bind("ctrl+z", "suspend_process", "Suspend; `fg` brings it back", "app.suspend", priority=True),
        bind("colon,ctrl+p", "command_palette", "All commands", "app.palette"),
    ]

    def __init__(
        self, config: Config, actor: Actor, *, user: str | None = None, theme: str | None = None
    ) -> None:
        job_columns(config.columns, of_user=False)
        usual = replaced_keys(config.keys) if config.keys else {}
        super().__init__(config, actor)
        self.animation_level = "none"
        self.usual_keys = usual
        self._first_user = user or actor.only_user
        for each in OUR_THEMES:
            self.register_theme(without_colors(each) if self.no_color else each)
        found = theme_named(theme or config.theme, self.available_themes)
        self._unknown_theme = None if found else theme or config.theme
        self.theme = found or DARK.name

    def get_default_screen(self) -> JobsScreen:
        """The first screen; an empty one below it would be laid out and drawn for nobody."""
        return JobsScreen(self._first_user)

    def on_mount(self) -> None:
        """Begin to watch once the first screen is there."""
        self.set_keymap(dict(self.config.keys))
        self.set_class(self.console.color_system == "standard" and not self.is_headless, FEW_COLORS)
        self.typed.start()
        self.app_resume_signal.subscribe(self, lambda _: self.repaint())
        self.call_after_refresh(self.jobs.start)
        if self._unknown_theme:
            self.say(f"there is no theme {self._unknown_theme}", is_error=True)

    def on_unmount(self) -> None:
        """End watching."""
        self.typed.stop()
        self.jobs.stop()

    def on_changed(self, message: Changed) -> None:
        """Take in news, and tell every screen what changed in Redis."""
        self.jobs.take(message.change)
        for screen in self._watch_screens():
            screen.changed(message.change)

    def draw_screens(self) -> None:
        """Show on the screens what is known now."""
        for screen in self._watch_screens():
            if screen.is_current:  # also behind a dialog
                screen.draw()

    def _watch_screens(self) -> "list[WatchScreen]":
        """The screens that have their widgets: not yet at the start, and no more while the app ends."""
        found = self.screen_stack if self.is_running else []
        return [screen for screen in found if isinstance(screen, WatchScreen) and screen.children]

    def on_stepped(self) -> None:
        """Show the step in the dialog; say the end where that is closed, even if another is open by now."""
        from gnjobs_tui.screens.kill import KillScreen

        dialog = self.screen if isinstance(self.screen, KillScreen) else None
        if dialog is not None:
            dialog.stepped()
        for run in self.kill_runs:
            if run.is_over and not run.is_told:
                run.is_told = True
                if dialog is None or not dialog.shows(run):
                    self.say(run.summary(), is_error=not run.succeeded)

    def open_jobs_of(self, user: str) -> None:
        """Show one user's jobs."""
        self.push_screen(JobsScreen(user))

    def open_jobs(self, query: str) -> None:
        """Show the jobs that a filter finds."""
        self.push_screen(JobsScreen(query=query))

    def action_log(self) -> None:
        """Show the log of events."""
        # Imported late, as all screens but the first: they would delay the first frame.
        from gnjobs_tui.screens.log import LogScreen

        self.push_screen(LogScreen())

    def action_pulse(self) -> None:
        """Show the pulse."""
        from gnjobs_tui.screens.pulse import PulseScreen

        self.push_screen(PulseScreen())

    def action_hosts(self) -> None:
        """Show hosts."""
        from gnjobs_tui.screens.hosts import HostsScreen

        self.push_screen(HostsScreen())

    def action_users(self) -> None:
        """Show users."""
        from gnjobs_tui.screens.users import UsersScreen

        self.push_screen(UsersScreen())
