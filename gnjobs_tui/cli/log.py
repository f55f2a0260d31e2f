"""`gnjobs log`: what happened, for the hand-over in the morning."""

import time
from datetime import datetime, timedelta

import click

from gnjobs.text import parse_duration
from gnjobs_tui.cli.json_output import print_json
from gnjobs_tui.cli.session import Session, on_terminal, print_fields, with_session


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
            f"{text!r:.80} is no time such as 18:00, 2h or 2026-07-01T18:00", param_hint="--since"
        ) from None


@click.command()
@click.option("--since", metavar="T", help="From this time on: 18:00, 2h (ago), 2026-07-01T18:00.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@with_session
def log(session: Session, since: str | None, as_json: bool) -> int:
    """What happened, newest last: ends, losses, removals, kills with who asked and why.

    It is a log for people, not proof against forgery.
    """
    import msgspec

    start = parse_since(since, datetime.fromtimestamp(time.time())) if since else None
    events = sorted(
        (event for store in session.stores for event in store.events(since=start)), key=lambda event: event.at
    )
    visible = [event for event in events if session.actor.may_see_owner(event.owner)]
    if on_terminal() and not as_json:
        from gnjobs_tui.cli.drawing import draw_events

        draw_events(visible)
        return 0
    for event in visible:
        if as_json:
            print_json(msgspec.to_builtins(event))
        else:
            when = datetime.fromtimestamp(event.at).isoformat(timespec="seconds")
            print_fields(
                when, event.kind, event.job, event.label, event.owner, event.by, event.text, event.reason
            )
    return 0
