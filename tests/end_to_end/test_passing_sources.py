"""Whoever adds a toast, a dialog, a tooltip, a palette entry or a title must say here where its data are seen."""

import ast
from collections.abc import Callable, Collection

import pytest

from tests.end_to_end.passing_sources import arguments_of, assigned, calls_of, defined, keywords, nodes
from tests.end_to_end.places import COPIED, PASSING

# The one place where toasts are made.
SAYING = "dashboard: content(*parts).plain"
# What the source says there, by module and expression, and the place where it is seen.
TOASTS = {
    "app: f'there is no theme {self._unknown_theme}'": "toast of a theme",
    # What is wrong with a filter or a search that was typed into the palette.
    "jobs: str(error)": "error of a filter",
    "output: str(error)": "error of a filter",
    "job: f'nothing to kill: {ended_words(self._part, self.dashboard.jobs.now())}'": "toast of a failure",
    'dashboard: f"sent {what} to the terminal\'s clipboard"': "toast of a copied id",
    'dashboard: f"copied {what} into tmux\'s buffer, which its prefix and ] paste"': "toast of a copied id",
    # How a job ended that was marked in a list, which shows its label.
    "jobs: ends_words(ended, self.dashboard.jobs.now())": "toast of a failure",
    "app: run.summary()": "toast of a kill",
    "base: message.text": "toast of a failure",
    # The reader's own login name, and how a job that she may see has ended.
    "base: refusal": "toast of a failure",
    "row_actions: f'nothing to kill: {how}'": "toast of a failure",
    "output: f'{text} is not the number of a line'": "toast of a number",
    "output: f'the search ended: {why}'": "toast of a search refused",
    "output: f'not saved: {refusal_words(error)}'": "toast of a save refused",
    "output: f'not saved: {self.dashboard.explain(error)}'": "toast of a save refused",
    "faults: f'not saved: {refusal_words(error)}'": "toast of a save refused",
    "faults: f\"saved {plural(len(chosen), 'fault')}{so_far} in {path}\"": "toast of a save",
    "output: _saved_words(saved)": "toast of a save",
    # Numbers alone.
    "kill: f'nothing is killed: type {self._number_prompt()}'": None,
}
NOTES = {
    "output: f'searching {self._query.text}, esc stops'": "search not found",
    "output: f'searching {query.text}, line {count_text(progress.number)}, esc stops'": "search not found",
    "output: f'no match for {query.text}'": "search not found",
    "output: f'the search ended: {message.why}'": "toast of a search refused",
    "output: f'/{query.text}' + (', from the other end' if progress.is_around else '')": "search found",
}
DIALOGS = {
    "row_actions: ConfirmScreen(f'Remove {what}?{kept}{hidden}', 'Remove')": "confirm removal",
    "row_actions: TextScreen('To run it again, use this command in its directory', message.line)": "text of a rerun",
    "log: TextScreen('Kills asked for here', text, wide=True)": "text of kills",
    "log: TextScreen('Event', '\\n'.join((f'{name:6} {value}' for name, value in said.items() if value)), hang=7)": (
        "text of an event"
    ),
    # Seen in `test_stacks_screen`.
    "stacks: TextScreen('Line', self._rows.items[place], wide=True)": None,
    # Seen in `test_places`.
    "faults: TextScreen('Fault', '\\n'.join(rows), wide=True, hang=14)": None,
    "job: TextScreen('All fields', text, wide=True, hang=NAME_WIDTH)": None,
}
COPIES = {
    "row_actions: self.row.id": "copy of an id",
    "output: item.words if isinstance(item, Hole) else item.text": "copy of a line",
    "faults: safe(f\"{fault.file or '?'}: {sentence(fault)}\")": "copy of a fault",
    "dialogs: safe_text(self._text)": "copy of a text",
    "stacks: safe_text(self._text)": "copy of a text",
}
# The palette offers what keys do; what they do is written in the source, and so is every tooltip.
PALETTE = {
    "keys: DiscoveryHit(about, partial(self.screen.run_action, action), help=keys)",
    "keys: DiscoveryHit(f'{argument.word} …', act, help=argument.about)",
    "keys: Hit(1.0 if typed else 0.5, display, act, help=argument.about)",
    "keys: Hit(score, matcher.highlight(about), partial(self.screen.run_action, action), help=keys)",
}
TOOLTIPS = {"keys: about"}
# Of what the same module names in its source.
KEYS_OF_A_TABLE = {"f'Show {about}'", "f'Show {group}'"}
TITLES = {
    "dialogs: 'Keys of this screen' if is_whole else 'Keys of this screen, down shows more'",
    "kill: title_of(self._targets)",
}
TITLE_NAMES = (
    "title", "sub_title", "TITLE", "SUB_TITLE",
    "border_title", "border_subtitle", "BORDER_TITLE", "BORDER_SUBTITLE",
)  # fmt: skip
BUTTONS = {"dialogs: content(self._answer)", "kill: content(_ASK_LABEL)"}
BUTTON_LABELS = {"kill: content('KILL now')", "kill: content('Close')"}

SOURCES: dict[str, tuple[Collection[str], Callable[[], set[str]]]] = {
    "toasts": (TOASTS, lambda: arguments_of("say", "notify") - {SAYING}),
    "notes": (NOTES, lambda: arguments_of("say_beside")),
    "dialogs": (DIALOGS, lambda: calls_of("ConfirmScreen", "TextScreen")),
    "copies": (COPIES, lambda: arguments_of("copy")),
    "palette entries": (PALETTE, lambda: calls_of("Hit", "DiscoveryHit", "SystemCommand", "SimpleCommand")),
    "providers": ({"keys: ScreenCommands"}, lambda: defined("Provider", "get_system_commands")),
    "lists of providers": ({"app: {_commands}"}, lambda: assigned("COMMANDS")),
    "tooltips": (TOOLTIPS, lambda: keywords("tooltip") | assigned("tooltip", "TOOLTIP")),
    "titles": (TITLES, lambda: assigned(*TITLE_NAMES)),
    "buttons": (BUTTONS, lambda: arguments_of("Button")),
    "labels of buttons": (BUTTON_LABELS, lambda: assigned("label")),
    "placeholders": ({"kill: self._number_prompt()"}, lambda: keywords("placeholder")),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_all_that_the_source_makes_is_in_the_tables(kind: str) -> None:
    table, find = SOURCES[kind]
    assert find() == set(table)


def test_what_the_tables_name_is_seen() -> None:
    seen = {*TOASTS.values(), *NOTES.values(), *COPIES.values(), *DIALOGS.values()}
    assert seen <= {*PASSING, *COPIED, None}


def test_toasts_are_made_in_one_place_and_read_no_markup() -> None:
    assert calls_of("notify") == {
        "dashboard: self.notify(content(*parts).plain, severity=severity, markup=False)"
    }


def test_keys_are_described_by_literals() -> None:
    calls = [node for _, node in nodes() if isinstance(node, ast.Call) and ast.unparse(node.func) == "bind"]
    assert calls
    described = [call.args[2] for call in calls]
    assert {
        ast.unparse(about) for about in described if not isinstance(about, ast.Constant)
    } == KEYS_OF_A_TABLE
