"""The keys of a screen, as the footer, the help (`?`) and the command palette (`:`) show them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, islice
from typing import Final, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.app import App
from textual.binding import ActiveBinding, Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.keys import _character_to_key
from textual.screen import Screen

from gnjobs.records.actor import Action
from gnjobs_tui.style import Cell, Part, content, safe

Keys = Sequence[tuple[str, str]]


def bind(keys: str, action: str, about: str, name: str, *, priority: bool = False) -> Binding:
    """Keys for an action; help and palette say what it is about, the configuration knows it by its name.

    Without words it is another way to what is told elsewhere.
    """
    return Binding(keys, action, about or action, show=False, id=name, tooltip=about, priority=priority)


# What changes something, by the action of its key, and what it takes.
CHANGES: Final[dict[str, Action]] = {"kill": "kill", "remove": "remove"}
# What only leads to another place.
_MOVES: Final = frozenset(
    {"move", "page", "first", "last", "sideways", "open", "back", "leave", "line", "search_on", "match"}
)
MOST_CHOICES = 50
SECTIONS: Final = ("Move", "Look", "Change")

_ALL_JOBS_KEYS: Keys = (
    ("enter", "open"),
    ("/", "filter"),
    ("o", "owner"),
    ("u", "users"),
    ("h", "hosts"),
    ("p", "pulse"),
    ("space", "mark"),
    ("K", "kill"),
    ("b", "stacks"),
    ("L", "log"),
    (":", "more"),
    ("?", "help"),
    ("q", "quit"),
)
_GAP = "  "
_SHORT_KEYS = frozenset({"enter", "/", "space", "K", "?", "q"})


def jobs_keys(*, is_narrow: bool, is_first: bool, of_user: bool) -> Keys:
    """The keys of a list of jobs; in one user's there are no others to go to, and from a later screen one goes back."""
    keys = [key for key in _ALL_JOBS_KEYS if key[0] in _SHORT_KEYS] if is_narrow else list(_ALL_JOBS_KEYS)
    keys = [key for key in keys if not (of_user and key[0] in {"o", "u"})]
    return keys if is_first else [*keys[:-1], ("esc", "back")]


class KeySpan(NamedTuple):
    """Cells of a line in which a click does what a key does."""

    cells: range
    key: str


def footer(keys: Keys, width: int) -> tuple[Content, list[KeySpan]]:
    """As many keys as the width has room for, and where each stands; two that belong together share what is said.

    The last two, help and the way out, are always among them.
    """
    ends = accumulate(len(key) + 1 + len(about) + len(_GAP) for key, about in (*keys[-2:], *keys[:-2]))
    fitting = sum(1 for end in ends if end - len(_GAP) <= width)
    parts: list[Part] = []
    spans: list[KeySpan] = []
    used = 0
    for key, about in (*keys[: max(0, fitting - 2)], *keys[-2:]):
        length = len(key) + 1 + len(about)
        parts += [_GAP if parts else "", Cell(key, "accent"), f" {about}"]
        first, *others = key.split()
        at = used + len(first) + 1
        spans += [KeySpan(range(at, at + len(other)), other) for other in others]
        spans.append(KeySpan(range(used, used + length), first))
        used += length + len(_GAP)
    return content(*parts), spans


def part_spans(parts: Sequence[Part], keys: Sequence[str | None]) -> list[KeySpan]:
    """Where those of some parts stand that have a key."""
    texts = [part.text if isinstance(part, Cell) else part for part in parts]
    starts = accumulate((cell_len(safe(text)) for text in texts), initial=0)
    return [
        KeySpan(range(start, start + cell_len(safe(text))), key)
        for start, text, key in zip(starts, texts, keys, strict=False)
        if key
    ]


_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "full_stop": ".",
    "less_than_sign": "<",
}


class KeyHelp(NamedTuple):
    """One action of a screen with the keys for it."""

    keys: str
    about: str
    action: str
    is_of_widget: bool

    @property
    def section(self) -> str:
        """Whether it moves, shows something, or changes something."""
        name = self.action.partition("(")[0].rpartition(".")[2]
        return SECTIONS[2 if name in CHANGES else 0 if name in _MOVES else 1]


def key_event(name: str) -> events.Key:
    """The key that a person calls so, as if it had been pressed."""
    if len(name) == 1:
        return events.Key(_character_to_key(name), name)
    known = {shown: key for key, shown in _NAMES.items()}
    return events.Key(known.get(name, name), None)


def key_name(key: str) -> str:
    """A key as a person calls it."""
    return _NAMES.get(key, key)


def screen_keys(screen: Screen[object]) -> Iterator[KeyHelp]:
    """Every action that we bind on the focused widget, the screen or the app, once, with all its keys.

    What moves comes first, then what shows something, then what changes something; in each what this screen alone does
    comes first. Those with a tooltip are ours; Textual's own have none.
    """
    found: dict[str, tuple[list[str], str, bool]] = {}
    offers: Callable[[str], bool] = getattr(screen, "offers", lambda _: True)
    for key, active in sorted(screen.active_bindings.items(), key=lambda item: _place(item[1])):
        binding = active.binding
        if binding.tooltip and active.enabled and offers(binding.action):
            of_widget = not isinstance(active.node, Screen | App)
            found.setdefault(binding.action, ([], binding.tooltip, of_widget))[0].append(key_name(key))
    told = [
        KeyHelp(" ".join(keys), about, action, of_widget)
        for action, (keys, about, of_widget) in found.items()
    ]
    yield from sorted(told, key=lambda key: SECTIONS.index(key.section))


def _place(active: ActiveBinding) -> int:
    if isinstance(active.node, Screen):
        return 1 if (active.binding.id or "").startswith("screen.") else 0
    return 2 if isinstance(active.node, App) else 3


class Argument(NamedTuple):
    """A command with a word behind it, such as `user jsmith`.

    `choices` tells what may follow that begins as typed, and what each does; `usual` is the action that asks for it.
    """

    word: str
    about: str
    choices: Callable[[str], Iterable[tuple[str, Callable[[], object]]]]
    usual: str = ""


class ScreenCommands(Provider):
    """Offers the actions that the keys of the screen have, and commands with a word; moving is left to the keys."""

    @property
    def _arguments(self) -> Sequence[Argument]:
        return getattr(self.screen, "arguments", list)()

    def _actions(self) -> Iterator[tuple[str, str, str]]:
        for key in screen_keys(self.screen):
            is_other = key.section != SECTIONS[0] and key.action != "command_palette"
            if is_other and not key.is_of_widget:
                yield key.about, key.keys, key.action

    async def discover(self) -> Hits:
        """Everything, before something is typed."""
        for about, keys, action in self._actions():
            yield DiscoveryHit(about, partial(self.screen.run_action, action), help=keys)
        for argument in self._arguments:
            if argument.usual:
                act = partial(self.screen.run_action, argument.usual)
                yield DiscoveryHit(f"{argument.word} …", act, help=argument.about)

    async def search(self, query: str) -> Hits:
        """What resembles the words typed."""
        word, _, typed = query.partition(" ")
        for argument in self._arguments:
            if argument.word.startswith(word):
                for shown, act in islice(argument.choices(typed.strip()), MOST_CHOICES):
                    display = content(f"{argument.word} ", Cell(shown, "bold"))
                    yield Hit(1.0 if typed else 0.5, display, act, help=argument.about)
        matcher = self.matcher(query)
        for about, keys, action in self._actions():
            if (score := matcher.match(about)) > 0:
                yield Hit(score, matcher.highlight(about), partial(self.screen.run_action, action), help=keys)
