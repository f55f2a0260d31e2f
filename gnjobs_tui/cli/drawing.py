"""Draws what the commands show with Rich: jobs, users, events, lines, reports. Without colour into a pipe."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnjobs.health.states import DONE, STATES, State, child_state, display_state
from gnjobs.outputs.faults import line_sentence
from gnjobs.records.fields import percent_done, run_seconds
from gnjobs.text import age_text, last_line, percent_text, safe_line, size_text
from gnjobs_tui.glyphs import drawable, glyphs_of_terminal

if TYPE_CHECKING:
    from gnjobs.health.hosts import HostHealth
    from gnjobs.health.verdict import Health
    from gnjobs.outputs.lines import Line
    from gnjobs.processing.report import Report, ReportTable
    from gnjobs.processing.view import JobStatus
    from gnjobs.records.events import Event
    from gnjobs.records.fields import Child, Job
    from gnjobs.records.indexes import UserSummary
    from gnjobs.watch.pulse import Finding, Pulse, Tally
    from gnjobs_tui.config import Config

# What the table of states calls its colours, in rich's words.
_STYLES = {
    "dim": "dim",
    "accent": "cyan",
    "plain": "",
    "warning": "yellow",
    "warning-bold": "bold yellow",
    "error": "red",
    "error-bold": "bold red",
    "success": "green",
}
# The words of the states in which a job may end.
_ENDS = tuple(state.word for state in STATES if state.rank == DONE.rank)[:-1]
_NUMBERS = frozenset(
    {"%", "Run", "Faults", "Lines", "Jobs", *map(str.capitalize, _ENDS), "Waited", "Run 24h", "Usual"}
)
_GROWING = frozenset({"Label", "What", "Child", "Says"})  # what gives way on a narrow terminal
_WIDEST = {"Job": 24}
_MOST_DRAWN = 1000
_LINE_STYLES = {"err": "red", "fault": "yellow", "log": "", "out": "", "record": "dim", "result": "green"}

_IS_ASCII = glyphs_of_terminal().is_ascii
_BOX = Box(drawable(str(SIMPLE_HEAD)), ascii=True) if _IS_ASCII else SIMPLE_HEAD
_console = Console(highlight=False, markup=False, emoji=False)


def _text(value: object, style: str = "") -> Text:
    return Text("" if value is None else drawable(safe_line(str(value))), style=style)


def _state_text(state: State) -> Text:
    symbol = state.ascii_symbol if _IS_ASCII else state.symbol
    return Text(f"{symbol} {state.word}", style=_STYLES[state.token])


def _table(*columns: str) -> Table:
    table = Table(box=_BOX, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        side: Literal["left", "right"] = "right" if column in _NUMBERS else "left"
        table.add_column(
            column,
            justify=side,
            no_wrap=column not in _GROWING,
            max_width=_WIDEST.get(column),
            overflow="crop" if _IS_ASCII else "ellipsis",
        )
    return table


def _one_line(value: object) -> Text:
    """A cell that is cut where there is no room, rather than wrapped."""
    text = _text(value)
    text.no_wrap, text.overflow = True, "crop" if _IS_ASCII else "ellipsis"
    return text


def _clock(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at).strftime("%d %b %H:%M")


def _run_time(job: "Job | Child", now: float) -> str:
    return age_text(run_seconds(job, now))


def _print(table: Table, nothing: str) -> None:
    """Print a table, or in place of an empty one what there is none of."""
    _console.print(table if table.rows else _text(nothing, "dim"))


def draw_jobs(jobs: "Iterable[tuple[Job, Health]]", now: float, nothing: str) -> None:
    """Draw a list of jobs, or say `nothing`."""
    table = _table("State", "Label", "User", "%", "Run", "Started", "Id")
    for job, health in jobs:
        table.add_row(
            _state_text(display_state(job, health)).append(" ?" if job.is_uncounted else ""),
            _one_line(job.name),
            _text(job.user),
            _text(percent_text(percent_done(job))),
            _text(_run_time(job, now)),
            _text(_clock(job.began)),
            _text(job.id[:8], "dim"),
        )
    _print(table, nothing)


def draw_users(users: "Iterable[UserSummary]", config: "Config") -> None:
    """Draw users with what their jobs do."""
    table = _table("User", "Name", "Newest job", "Jobs")
    for user in users:
        counts = ", ".join(f"{count} {status}" for status, count in user.counts.items() if count)
        table.add_row(
            _text(user.user), _text(config.name_of(user.user)), _text(_clock(user.newest)), _text(counts)
        )
    _print(table, "no user has jobs")


def draw_hosts(hosts: "Iterable[HostHealth]", now: float) -> None:
    """Draw hosts with their agents and what their jobs use."""
    table = _table("Host", "Agent", "Running", "Silent", "Load", "Memory in use", "Jobs' CPU", "Jobs' memory")
    for host in hosts:
        cpu, rss = (f"{host.cpu:.0f}%", size_text(host.rss)) if host.running else ("", "")
        cells = (
            host.host,
            host.agent_words(now),
            host.running,
            host.silent,
            host.load_words,
            host.memory_words,
            cpu,
            rss,
        )
        table.add_row(*(_text(str(cell)) for cell in cells))
    _print(table, "no agents and no running jobs")


def draw_pulse(pulse: "Pulse", findings: "Iterable[Finding]") -> None:
    """Draw what is unusual, then the days and the types."""
    _console.print(_text(pulse.range_words, "dim"))
    for found in findings:
        about = _text(
            f"{'!' if found.is_trouble else ' '} {found.about:<9}", "bold" if found.is_trouble else "dim"
        )
        _console.print(about.append_text(_text(found.text)))
    names: list[tuple[str, str, str, Tally]] = [
        (f"{datetime.fromtimestamp(day.begin):%a %d %b}", "", "", day) for day in pulse.days
    ]
    names += [(each.name, age_text(each.run), age_text(each.usual_run), each) for each in pulse.types]
    table = _table("Day, type", "Jobs", *map(str.capitalize, _ENDS), "Waited", "Run 24h", "Usual")
    for name, run, usual, part in names:
        ends = (part.ended.get(word) for word in _ENDS)
        cells = (name, part.created, *ends, age_text(part.waited), run, usual)
        table.add_row(*(_text(cell) for cell in cells))
    _console.print(table)


def draw_events(events: "Iterable[Event]") -> None:
    """Draw what happened, a line an event."""
    table = _table("When", "What", "Job", "Owner", "By")
    for event in events:
        what = event.text + (f" ({event.reason})" if event.reason else "")
        name = event.label or event.job or ""
        table.add_row(_text(_clock(event.at)), _text(what), _text(name), _text(event.owner), _text(event.by))
    _print(table, "nothing has happened")


def draw_line(line: "Line") -> None:
    """Draw one line of an output as a sentence."""
    _console.print(_text(line_sentence(line), _LINE_STYLES.get(line.kind, "")), soft_wrap=True)


def draw_status(
    status: "JobStatus", verdicts: Sequence[str], lines: Sequence[int | None], now: float
) -> None:
    """Draw all that is known of one job; verdicts and numbers of lines are its children's."""
    job = status.job
    head = Text.assemble(_state_text(display_state(job, status.health)), "  ", _text(job.name, "bold"))
    _console.print(head, soft_wrap=True)
    for sentence in status.health.evidence:
        _console.print(_text(f"  {sentence}"), soft_wrap=True)
    _draw_facts(job, now)
    _draw_report(status.report)
    if status.children:
        _draw_children(status.children, verdicts, lines, now)


def _draw_facts(job: "Job", now: float) -> None:
    where = " as ".join(word for word in (job.host, job.account) if word)
    ended = "" if job.finished is None else f", ended {_clock(job.finished)}"
    about = "" if job.started else "about "
    facts = {
        "id": job.id,
        "type": job.type,
        "user": job.user,
        "status": job.status,
        "run": f"{_run_time(job, now)} since {about}{_clock(job.began)}{ended}" if job.began else None,
        "where": where,
        "command": job.command,
        "says": job.message,
        "exit": job.exit_code,
        "signal": job.signal,
        "error": job.error,
        "stopped by": " for: ".join(word for word in (job.stop_by, job.stop_reason) if word),
        "still running": job.left_running,
    }
    extra = {name: value for name, value in job.raw.items() if name not in {"stdout", "stderr"}}
    for name, value in (facts | extra).items():
        if value not in (None, ""):
            for index, part in enumerate(str(value).rstrip("\n").split("\n")):
                lead = _text(name if index == 0 else "").plain
                _console.print(Text.assemble((f"{lead:<14} ", "dim"), _text(part)), soft_wrap=True)


def _draw_report(report: "Report") -> None:
    _console.print(Text.assemble((f"{'result':<14} ", "dim"), _text(report.headline)), soft_wrap=True)
    for note in report.notes:
        _console.print(_text(f"{'':<15}{note}"), soft_wrap=True)
    for table in report.tables:
        _console.print(Text())
        _console.print(_text(table.title, "bold"))
        _draw_table(table)


def _draw_table(table: "ReportTable") -> None:
    """Draw a table; of grouped cases what it is about, what is said last, and how many there are."""
    drawn = Table(box=_BOX, show_edge=False, pad_edge=False)
    shown = (0, -1) if table.counts and len(table.columns) > 1 else range(len(table.columns))
    for place in shown:
        drawn.add_column(_text(table.columns[place]))
    if table.counts:
        drawn.add_column("", justify="right", no_wrap=True, style="dim")
    for index, row in enumerate(table.rows):
        cells = [_text(row[place]) for place in shown if place < len(row)]
        count = table.counts[index] if index < len(table.counts) else 1
        drawn.add_row(*cells, *([_text(f"×{count}" if count > 1 else "")] if table.counts else []))
    _console.print(drawn)


def _draw_children(
    children: "Sequence[Child]", verdicts: Sequence[str], lines: Sequence[int | None], now: float
) -> None:
    table = _table("State", "Child", "%", "Run", "Faults", "Lines", "Says")
    for child, verdict, count in islice(zip(children, verdicts, lines, strict=True), _MOST_DRAWN):
        table.add_row(
            _state_text(child_state(child, verdict)),
            _text(child.label or child.id),
            _text(percent_text(percent_done(child))),
            _text(_run_time(child, now)),
            _text(child.faults),
            _text(count),
            _text(last_line(child.error or child.message)),
        )
    _console.print(Text())
    _console.print(table)
    if (more := len(children) - _MOST_DRAWN) > 0:
        _console.print(f"and {more} more, which --json tells")
