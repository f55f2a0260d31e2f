"""What the keys of a screen do, read from its bindings."""

from collections.abc import Iterator
from typing import NamedTuple

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


def key_name(key: str) -> str:
    """A key as a person calls it."""
    if key in _NAMES:
        return _NAMES[key]
    return key.removeprefix("upper_") if key.startswith("upper_") else key


def screen_keys(screen: Screen[object]) -> Iterator[KeyHelp]:
    """Every action that the focused widget, the screen or the app binds, once, with all its keys."""
    found: dict[str, tuple[list[str], str]] = {}
    for key, active in screen.active_bindings.items():
        binding = active.binding
        about = active.tooltip or binding.tooltip or binding.description
        if about and active.enabled:
            found.setdefault(binding.action, ([], about))[0].append(key_name(key))
    for action, (keys, about) in found.items():
        yield KeyHelp(" ".join(keys), about, action)
