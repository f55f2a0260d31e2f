"""The last line of a screen: what can be pressed, the most useful first."""

from collections.abc import Sequence

from textual.content import Content

from gnjobs_tui.styling import Cell, Part, content

Keys = Sequence[tuple[str, str]]

_ALL_JOBS_KEYS: Keys = (
    ("enter", "open"),
    ("/", "filter"),
    ("o", "owner"),
    ("u", "users"),
    ("space", "mark"),
    ("K", "kill"),
    ("L", "log"),
    (":", "more"),
    ("?", "help"),
    ("q", "quit"),
)
_SHORT_KEYS = frozenset({"enter", "/", "space", "K", "?", "q"})


def jobs_keys(*, is_narrow: bool, is_first: bool, of_user: bool) -> Keys:
    """The keys of a list of jobs; in one user's there are no others to go to, and from a later screen one goes back."""
    keys = [key for key in _ALL_JOBS_KEYS if key[0] in _SHORT_KEYS] if is_narrow else list(_ALL_JOBS_KEYS)
    keys = [key for key in keys if not (of_user and key[0] in {"o", "u"})]
    return keys if is_first else [*keys[:-1], ("esc", "back")]


def footer(keys: Keys, width: int) -> Content:
    """As many keys as the width has room for."""
    parts: list[Part] = []
    used = 0
    for key, about in keys:
        used += len(key) + len(about) + 3
        if used > width:
            break
        parts += [Cell(key, "accent"), f" {about}  "]
    return content(*parts)
