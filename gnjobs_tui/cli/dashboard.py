"""Opening the dashboard from the command line."""

import sys

import click

from gnjobs_tui.cli.session import Session


def open_dashboard(session: Session, *, user: str | None, theme: str | None, mouse: bool) -> None:
    """Run the dashboard until it is left; refused where there is no terminal to draw on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("the dashboard needs a terminal; `gnjobs ls` lists jobs without one")
    from gnjobs_tui import pauses

    pauses.begin()
    from gnjobs_tui.app import GnjobsApp

    app = GnjobsApp(session.config, session.actor, user=user, theme=theme)
    app.run(mouse=mouse)
