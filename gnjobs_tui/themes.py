"""Our two themes: what is at work, what needs a person, and what went wrong never look alike."""

from collections.abc import Iterable
from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="gnjobs-dark",
    primary="#5aaef0",
    secondary="#3c7db3",
    accent="#5aaef0",
    success="#6cc37c",
    warning="#f2b134",
    error="#ff6f6f",
    foreground="#d7dde3",
    background="#11161b",
    surface="#1b222a",
    panel="#2b3a49",
)
LIGHT: Final = Theme(
    name="gnjobs-light",
    primary="#0a58a8",
    secondary="#5b84ad",
    accent="#0a58a8",
    success="#1a7a36",
    warning="#955600",
    error="#b3221c",
    foreground="#1d2329",
    background="#fbfbf8",
    surface="#eceae3",
    panel="#cfe0f1",
    dark=False,
)
OUR_THEMES: Final = (DARK, LIGHT)
_SHORT_NAMES: Final = {"dark": DARK.name, "light": LIGHT.name}


def theme_named(name: str | None, available: Iterable[str]) -> str | None:
    """The theme that is meant by `dark`, `light` or a name of Textual's; None where there is no such theme."""
    wanted = DARK.name if name is None else _SHORT_NAMES.get(name, name)
    return wanted if wanted in available else None
