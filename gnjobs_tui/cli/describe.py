"""`gnjobs describe`: tries the description of a prefix on a live server, and says what it found and understood."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from gnjobs.errors import NotAllowed
from gnjobs_tui.cli.json_output import print_json
from gnjobs_tui.cli.session import Session, json_option, say, searching, with_session

if TYPE_CHECKING:
    from gnjobs.records.survey import Survey

_WIDTH = 16


@click.command()
@json_option
@with_session
def describe(session: Session, as_json: bool) -> int:
    """Try the description of each prefix on the server: what of its jobs is found, and what is not understood.

    It only reads, and is not for curators. Exits 0 when there are jobs and every status among them means something.
    """
    from gnjobs.records.survey import survey

    if session.actor.own_users is not None:
        raise NotAllowed(
            f"{session.actor.name} is a curator, and this shows words and values of everybody's jobs"
        )
    surveys = []
    for store in session.stores:
        with searching() as looked:
            surveys.append(survey(store.client, store.keys, looked))
    for number, found in enumerate(surveys):
        if as_json:
            print_json(msgspec.to_builtins(found))
            continue
        if number:
            say("")
        for name, text in _sentences(found):
            say(f"{name:<{_WIDTH}}{text}")
    return 0 if all(found.is_understood for found in surveys) else 1


def _sentences(found: "Survey") -> Iterator[tuple[str, str]]:
    yield "prefix", found.prefix
    read = "" if found.read == found.records else f", of which {found.read} were read"
    yield "jobs", f"{found.records} at {found.key}, among {found.keys_seen} keys{read}"
    if found.no_hash:
        yield "", f"{found.no_hash} of them are no hash, or hold nothing that is described"
    for number, (word, meaning) in enumerate(sorted(found.words.items())):
        means = "NOT UNDERSTOOD: say what it means in words" if meaning is None else meaning
        yield "" if number else "status", f"{word} → {means}  ({found.counts[f'status {word}']})"
    for number, (name, role) in enumerate(
        sorted(found.fields.items(), key=lambda pair: (pair[1] is None, pair[0]))
    ):
        means = "kept and shown, not understood" if role is None else role
        count = found.counts[f"field {name}"]
        yield (
            "" if number else "fields",
            f"{name}  ({count})" if role == name else f"{name} → {means}  ({count})",
        )
    if found.read:
        yield "times", f"{found.dated} of {found.read} jobs record when they began"
        yield "owners", f"{found.owned} of {found.read} jobs record whose they are"
    for name, value in sorted(found.unreadable.items()):
        yield "unreadable", f"{name}: such as {value!r}"
    for kind, count in sorted(found.parts.items()):
        yield "inside jobs", f"{kind}  ({count} keys)"
    for form, count in found.others.most_common(5):
        yield "other keys", f"{form}  ({count})"
