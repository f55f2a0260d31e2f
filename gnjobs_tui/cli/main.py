"""The entry point `gnjobs`: global options, the list of commands, exit codes, and one-line errors."""

import codecs
import io
import os
import sys
from typing import Any

import click

from gnjobs.errors import GnjobsError
from gnjobs.text import safe_text
from gnjobs_tui.cli.exits import FAILED, INTERRUPTED, NO_CONNECTION, NOT_ALLOWED, exit_code
from gnjobs_tui.cli.group import LazyGroup
from gnjobs_tui.cli.session import Session, complain, with_session

COMMANDS = {
    "acl": ("gnjobs_tui.cli.acl:acl", "Print the Redis ACL rule for a role."),
    "agent": ("gnjobs_tui.cli.hosting:agent", "Answer for this host's jobs whose supervisor is gone."),
    "completion": ("gnjobs_tui.cli.completion:completion", "Print the completion script for a shell."),
    "demo": ("gnjobs_tui.cli.hosting:demo", "Open the dashboard on a server of its own, with real jobs."),
    "describe": (
        "gnjobs_tui.cli.describe:describe",
        "Try how a prefix's jobs are described: what is found and understood.",
    ),
    "hosts": ("gnjobs_tui.cli.listing:hosts", "List hosts with their agents, load and jobs."),
    "kill": ("gnjobs_tui.cli.kill:kill", "Kill jobs or one child; 0 only when all processes are gone."),
    "log": ("gnjobs_tui.cli.log:log", "Show or follow the event log: ends, losses, kills, by whom and why."),
    "logs": ("gnjobs_tui.cli.logs:logs", "Show or follow the output of a job or child."),
    "ls": ("gnjobs_tui.cli.listing:ls", "List jobs, newest first."),
    "man": ("gnjobs_tui.cli.manual:man", "Print the manual page."),
    "metrics": ("gnjobs_tui.cli.metrics:metrics", "Print numbers for Prometheus, or serve them."),
    "notify": ("gnjobs_tui.cli.notify:notify", "Tell people of a job's end, by mail, chat or web hook."),
    "pulse": (
        "gnjobs_tui.cli.pulse:pulse",
        "Say what is unusual: failures, waits, run times, hosts; jobs by day and type.",
    ),
    "rerun": ("gnjobs_tui.cli.jobs:rerun", "Print the command that runs a job again."),
    "rm": ("gnjobs_tui.cli.jobs:rm", "Remove jobs that have ended."),
    "run": ("gnjobs_tui.cli.jobs:run", "Create a job and run it."),
    "show": (
        "gnjobs_tui.cli.show:show",
        "Show one job: record, health with evidence, children, report, faults.",
    ),
    "stack": ("gnjobs_tui.cli.stack:stack", "Show where in their code a job's processes are."),
    "users": ("gnjobs_tui.cli.listing:users", "List users with counts of their jobs."),
    "wait": ("gnjobs_tui.cli.wait:wait", "Wait until jobs have ended; 0 only when all succeeded."),
}


@click.group(
    cls=LazyGroup,
    commands_at=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="gnjobs", message="%(prog)s %(version)s")
@click.option("--user", metavar="USER", help="Open on this user's jobs.")
@click.option("--read-only", is_flag=True, help="Only look: allow no changes, whatever your role.")
@click.option("--theme", metavar="NAME", help="Theme of the dashboard, such as dark or light.")
@click.option("--no-mouse", is_flag=True, help="Let the terminal handle the mouse, to select and copy.")
@with_session
@click.pass_context
def cli(
    context: click.Context,
    session: Session,
    user: str | None,
    read_only: bool,
    theme: str | None,
    no_mouse: bool,
) -> None:
    """Run, watch and kill background jobs tracked in Redis.

    Without a command, it opens the dashboard.
    """
    session.read_only = read_only
    if context.invoked_subcommand is None:
        from gnjobs_tui.cli.hosting import open_dashboard

        open_dashboard(session, user=user, theme=theme, mouse=not no_mouse)


def _redis_failure(error: Exception, session: Session) -> int:
    import redis

    from gnjobs.records.servers import explain

    is_away = isinstance(error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError)
    complain(explain(error, session.config.url) + (session.config.unset if is_away else ""))
    if isinstance(error, redis.exceptions.NoPermissionError):
        return NOT_ALLOWED
    return NO_CONNECTION if is_away else FAILED


def _run(arguments: list[str]) -> Any:
    session = Session()
    try:
        return cli.main(arguments, prog_name="gnjobs", standalone_mode=False, obj=session)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        print(safe_text(said.getvalue()), end="", file=sys.stderr)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt, BrokenPipeError):  # click says it on standard error, read or not
        return INTERRUPTED
    except GnjobsError as error:
        complain(str(error))
        return exit_code(error)
    except Exception as error:  # noqa: BLE001 - a traceback prints the text of every exception raw
        if any(each.__module__.partition(".")[0] == "redis" for each in type(error).__mro__):
            return _redis_failure(error, session)
        complain(f"unexpected error: {type(error).__name__}: {error}")
        return FAILED


def _as_it_can(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write bytes that were no text as they were, and as an escape what the encoding of the output lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    error.end = error.start + 1
    is_byte = "\udc80" <= error.object[error.start] <= "\udcff"
    return codecs.lookup_error("surrogateescape" if is_byte else "backslashreplace")(error)


def main() -> None:
    """Run the command line and exit with its code (see `gnjobs --help` and the README)."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # whoever runs us has closed it
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    codecs.register_error("as-it-can", _as_it_can)
    sys.stdout.reconfigure(errors="as-it-can")  # type: ignore[union-attr]
    result = _run(sys.argv[1:])
    sys.exit(result if isinstance(result, int) else 0)
