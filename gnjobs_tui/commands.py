"""The palette: everything that the screen's keys do, by name."""

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from gnjobs_tui.keys_help import screen_keys


class ScreenCommands(Provider):
    """Offers the actions that the keys of the screen have; moving about is left to the keys."""

    def _actions(self) -> Iterator[tuple[str, str, str]]:
        for key in screen_keys(self.screen):
            if not key.is_of_widget and key.action != "command_palette":
                yield key.about, key.keys, key.action

    async def discover(self) -> Hits:
        """Everything, before something is typed."""
        for about, keys, action in self._actions():
            yield DiscoveryHit(about, partial(self.screen.run_action, action), help=keys)

    async def search(self, query: str) -> Hits:
        """What resembles the words typed."""
        matcher = self.matcher(query)
        for about, keys, action in self._actions():
            if (score := matcher.match(about)) > 0:
                yield Hit(score, matcher.highlight(about), partial(self.screen.run_action, action), help=keys)
