"""`gnjobs log`: the event log, from a given time on or followed live (`-f`)."""

import heapq
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click
import msgspec

from gnjobs.text import count_text, parse_duration
from gnjobs_tui.cli.json_output import print_json
from gnjobs_tui.cli.session import Session, json_option, on_terminal, print_fields, say, with_session

if TYPE_CHECKING:
    from gnjobs.records.events import Event

TERMINAL_EVENTS = 1000
_EVENT_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


def parse_since(text: str, now: datetime) -> float:
    """Read `18:00` (the last time it was so), an ISO date and time, or a length of time ago; unix seconds."""
    try:
        return now.timestamp() - parse_duration(text)
    except ValueError:
        pass
    try:
        clock = datetime.strptime(text, "%H:%M")
        today = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
        return (today if today <= now else today - timedelta(days=1)).timestamp()
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise click.BadParameter(
            f"{text!r:.80} is not a time such as 18:00, 2h or 2026-07-01T18:00", param_hint="--since"
        ) from None


@click.command()
@click.option("--since", metavar="T", help="Start at this time: 18:00, 2h (ago), 2026-07-01T18:00.")
@click.option(
    "-f", "--follow", is_flag=True, help="Show new events as they happen; without --since only those."
)
@click.option("--after", metavar="ID", help="Start after the event with this id, in place of --since.")
@json_option
@with_session
def log(session: Session, since: str | None, follow: bool, after: str | None, as_json: bool) -> int:
    """Show what happened, newest last: ends, losses, removals, and kills with who asked and why.

    It is a log for people, not proof against forgery. Into a pipe, the last column is the event's id: with --after, a
    script goes on behind the last event that it saw.
    """
    if not follow:
        session.only_look()
    if after is not None and (since is not None or not _EVENT_ID.fullmatch(after)):
        raise click.UsageError("--after takes an event's id and excludes --since")
    start = parse_since(since, datetime.fromtimestamp(time.time())) if since else None
    events = _followed(session, start, after) if follow else _past(session, start, after)
    visible = (event for event in events if session.actor.may_see_owner(event.owner))
    if on_terminal() and not as_json and not follow:
        _draw_newest(visible)
        return 0
    for event in visible:
        _print(event, as_json)
    return 0


def _draw_newest(events: "Iterable[Event]") -> None:
    from gnjobs_tui.cli.drawing import draw_events

    newest: deque[Event] = deque(maxlen=TERMINAL_EVENTS)
    count = 0
    for event in events:
        newest.append(event)
        count += 1
    draw_events(newest)
    if older := count - len(newest):
        say(f"and {count_text(older)} older; into a pipe all are listed")


def _past(session: Session, start: float | None, after: str | None) -> "Iterable[Event]":
    of_stores = (store.events(since=start, after=after) for store in session.stores)
    return heapq.merge(*of_stores, key=lambda event: event.at)


def _followed(session: Session, start: float | None, after: str | None) -> "Iterator[Event]":
    from gnjobs.records.events import follow_events

    return follow_events(session.config.url, [store.keys for store in session.stores], start, after)


def _print(event: "Event", as_json: bool) -> None:
    """Print one event at once: on a terminal for a person, else for a program."""
    if as_json:
        print_json(msgspec.to_builtins(event))
        return
    when = datetime.fromtimestamp(event.at).isoformat(timespec="seconds")
    said = (when, event.kind, event.job, event.label, event.owner, event.by, event.text, event.reason)
    if on_terminal():
        say("  ".join(word for word in said if word))
    else:
        print_fields(*said, event.id)
    sys.stdout.flush()
