"""Commands that keep running on this host: `gnjobs agent` and `gnjobs demo`."""

import os
import sys

import click

from gnjobs_tui.cli.session import Session, warn_of_default_user, with_session


@click.command()
@with_session
def agent(session: Session) -> int:
    """Answer for this host's jobs whose supervisor is gone, mark what is lost, and tidy the indexes."""
    from gnjobs.control.agent import run_agent
    from gnjobs_tui.trust import with_urls

    session.actor.check("serve")
    warn_of_default_user(session, "ACL SETUSER default off")
    return run_agent(session.store, starts=with_urls(session.config.agent_starts))


@click.command()
@click.option("--size", type=click.FloatRange(min=0.01, max=1000), default=1.0, show_default=True,
              metavar="X", help="Make the demo's files X times as long.")  # fmt: skip
@click.option("--no-mouse", is_flag=True, help="Let the terminal handle the mouse, to select and copy.")
@click.option("--theme", metavar="NAME", help="Theme of the dashboard, such as dark or light.")
def demo(size: float, no_mouse: bool, theme: str | None) -> int:
    """Open the dashboard on a Redis server of its own, with real jobs of several users at work.

    Everything that the demo started is gone when it ends.
    """
    from gnjobs_tui.demo.command import run_demo

    _need_terminal()
    return run_demo(size=size, mouse=not no_mouse, theme=theme)


def open_dashboard(session: Session, *, user: str | None, theme: str | None, mouse: bool) -> None:
    """Run the dashboard until it is left; refused where there is no terminal to draw on."""
    _need_terminal()
    from gnjobs_tui import pauses

    pauses.begin()
    from gnjobs_tui.app import GnjobsApp

    app = GnjobsApp(session.config, session.actor, user=user, theme=theme)
    app.run(mouse=mouse)


def _need_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("the dashboard needs a terminal; `gnjobs ls` lists jobs without one")
    if (term := os.environ.get("TERM") or "not set") in ("dumb", "not set"):
        raise click.UsageError(
            f"the dashboard can't be drawn on this terminal (TERM is {term}): use `gnjobs ls`"
        )
