"""What the keys of a screen do, read from its bindings."""

from collections.abc import Iterator
from typing import NamedTuple

from textual.app import App
from textual.binding import ActiveBinding
from textual.screen import Screen

_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "escape": "esc",
    "pageup": "page up",
    "pagedown": "page down",
    "full_stop": ".",
}


class KeyHelp(NamedTuple):
    """One action of a screen with the keys for it."""

    keys: str
    about: str
    action: str
    is_of_widget: bool


def key_name(key: str) -> str:
    """A key as a person calls it."""
    if key in _NAMES:
        return _NAMES[key]
    return key.removeprefix("upper_") if key.startswith("upper_") else key


def screen_keys(screen: Screen[object]) -> Iterator[KeyHelp]:
    """Every action that we bind on the focused widget, the screen or the app, once, with all its keys.

    What this screen alone does comes first, then what all screens do, then moving about. Those with a tooltip are
    ours; Textual's own, such as scrolling sideways, have none.
    """
    found: dict[str, tuple[list[str], str, bool]] = {}
    for key, active in sorted(screen.active_bindings.items(), key=lambda item: _place(item[1])):
        binding = active.binding
        if binding.tooltip and active.enabled:
            of_widget = not isinstance(active.node, Screen | App)
            found.setdefault(binding.action, ([], binding.tooltip, of_widget))[0].append(key_name(key))
    for action, (keys, about, of_widget) in found.items():
        yield KeyHelp(" ".join(keys), about, action, of_widget)


def _place(active: ActiveBinding) -> int:
    if isinstance(active.node, Screen):
        return 1 if (active.binding.id or "").startswith("screen.") else 0
    return 2 if isinstance(active.node, App) else 3
