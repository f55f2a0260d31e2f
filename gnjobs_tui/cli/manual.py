"""`gnjobs man`: the manual page, made from the help of all commands, so that it says what they do."""

import inspect
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib.metadata import version

import click

from gnjobs_tui.cli.exits import MEANINGS
from gnjobs_tui.cli.json_output import JOB_COLUMNS
from gnjobs_tui.cli.session import on_terminal

_GLOBAL = frozenset({"redis_url", "prefix", "config"})
_ENVIRONMENT = {
    "GNJOBS_REDIS_URL": "The Redis server, such as redis://db1:6379/0.",
    "GNJOBS_PREFIX": "The prefix of the keys in Redis, or several, separated by blanks.",
    "GNJOBS_ON_END": "A command, quoted for a shell, that runs after each job launched from here.",
    "GNJOBS_MASK": "A regular expression; what matches it is masked, as passwords in URLs are.",
    "NO_COLOR": "Draw without colours.",
}
_FILES = {
    "/etc/gnjobs/config.toml": "The system's configuration; where it exists, it says who is who.",
    "~/.config/gnjobs/config.toml": "Your own.",
}
_QUOTED = re.compile(r"`([^`]*)`")


@click.command()
@click.pass_context
def man(context: click.Context) -> int:
    """Print the manual page; on a terminal, show it.

    To install it: gnjobs man > /usr/local/share/man/man1/gnjobs.1
    """
    page = "\n".join(manual(context.find_root())) + "\n"
    if on_terminal() and shutil.which("man"):
        return subprocess.run(["man", "-l", "-"], input=page.encode(), check=False).returncode
    click.echo(page, nl=False)
    return 0


def manual(root: click.Context) -> Iterator[str]:
    """The page, line by line, for `man`."""
    group = root.command
    assert isinstance(group, click.Group)
    yield f'.TH GNJOBS 1 "" "gnjobs {version("gnjobs")}" "User Commands"'
    yield ".nh"
    yield from (".SH NAME", "gnjobs \\- run, watch and kill background jobs tracked in Redis")
    yield from (".SH SYNOPSIS", ".B gnjobs", "[\\fIOPTIONS\\fR] [\\fICOMMAND\\fR [\\fIARGUMENTS\\fR]]")
    yield from (".SH DESCRIPTION", *_paragraphs(group.help or ""))
    yield from (".SH OPTIONS", "Those that name server, prefix and configuration may also follow a command.")
    yield from _options(root, skipped=frozenset())
    yield ".SH COMMANDS"
    for name in group.list_commands(root):
        command = group.get_command(root, name)
        assert command is not None
        with click.Context(command, info_name=name, parent=root) as context:
            usage = " ".join(command.collect_usage_pieces(context))
            yield f".SS {_escaped(f'gnjobs {name} {usage}')}"
            yield from _paragraphs(command.help or "")
            yield from _options(context, skipped=_GLOBAL)
    yield from (".SH FILTERS", *_filters())
    yield ".SH OUTPUT FOR PROGRAMS"
    yield "The names in each object of \\fBls \\-\\-json\\fR, which are the columns of \\fBls \\-\\-tsv\\fR:"
    columns = JOB_COLUMNS.items()
    yield from _tagged((name, f"{each.about} ({each.unit or each.type})") for name, each in columns)
    yield from (".SH EXIT STATUS", *_tagged((str(code), about) for code, about in MEANINGS.items()))
    yield from (".SH ENVIRONMENT", *_tagged(_ENVIRONMENT.items()))
    yield from (".SH FILES", *_tagged(_FILES.items()))


def _escaped(text: str) -> str:
    """The text as nothing but itself; words between backquotes are bold."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    plain = re.sub(r"(?m)^([.'])", r"\\&\1", plain)
    return _QUOTED.sub(r"\\fB\1\\fR", plain)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield from (".PP", _escaped(" ".join(paragraph.split())))


def _options(context: click.Context, *, skipped: frozenset[str]) -> Iterator[str]:
    help_option = context.command.get_help_option(context)
    given = (param for param in context.command.get_params(context) if isinstance(param, click.Option))
    shown = (param for param in given if param.name not in skipped and (param != help_option or not skipped))
    yield from _tagged(record for param in shown if (record := param.get_help_record(context)) is not None)


def _tagged(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, about in pairs:
        yield from (".TP", f"\\fB{_escaped(name)}\\fR", _escaped(" ".join(about.split())))


def _filters() -> Iterator[str]:
    """What the module of filters says of them, as it stands there."""
    from gnjobs.watch import filters

    _, _, words = (inspect.getdoc(filters) or "").partition("\n\n")
    yield "What is typed after / on the dashboard, and given to \\fB\\-\\-filter\\fR:"
    yield from (".PP", ".nf")
    yield from (_escaped(line) for line in words.split("\n"))
    yield ".fi"
