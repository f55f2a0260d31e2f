"""The text above the parts on a job's screen: verdict and evidence, facts, result. Also the list of all fields."""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from msgspec import json
from rich.cells import cell_len

from gnjobs.health.states import display_state
from gnjobs.health.verdict import OK, Health
from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS, Child, Field, Job, run_seconds
from gnjobs.records.statuses import PENDING, RUNNING
from gnjobs.records.summaries import ChildrenSummary, TellingProcess
from gnjobs.text import DAY, MINUTE, clock_text, count_text, duration_words, plural, size_text
from gnjobs_tui.screens.job_cells import run_text
from gnjobs_tui.style import GLYPHS, Cell, Part, fit, safe, state_cell

if TYPE_CHECKING:
    from gnjobs.processing.report import Report

LABEL_WIDTH = 10
# Names of fields with what stands between them and what they hold.
NAME_WIDTH = 20
WIDEST_FIRST = 24
MORE = f" {GLYPHS.cut}"
DOT = f" {GLYPHS.dot} "

Rows = list[list[Part]]


def verdict_lines(job: Job, health: Health, width: int, most: int) -> Rows:
    """The state with its evidence, in two lines or, where it is long, in at most so many."""
    state = state_cell(display_state(job, health))
    indent = len(state.text) + 3
    evidence = (
        DOT.join(health.evidence if job.is_final else health_words(health, job.status)) or job.message or ""
    )
    said = break_lines(safe(evidence), max(20, width - indent), most)
    said += [""] * (2 - len(said))
    rest: Rows = [[" " * indent, line] for line in said[1:]]
    return [[state, "   ", said[0]], *rest]


def health_words(health: Health, status: str | None) -> list[str]:
    """The evidence of a verdict; a running job of which nothing bad is known runs normally."""
    if health.verdict == OK and len(health.evidence) == 1 and status == RUNNING:
        return [f"running normally; {health.evidence[0]}"]
    return list(health.evidence)


def break_lines(text: str, width: int, most: int) -> list[str]:
    """Break a text into at most so many lines, as `break_line` does; what has no room gives way to a mark."""
    found: list[str] = []
    while text and len(found) < most:
        line, text = break_line(text, width)
        found.append(line)
    if text and found:
        found[-1] = break_line(found[-1], width - len(MORE))[0].rstrip(" .·,;") + MORE
    return found


def break_line(text: str, width: int) -> tuple[str, str]:
    """Break a text between words so that the first line fits; between two reasons if they are about as long."""
    if cell_len(text) <= width:
        return text, ""
    # In characters, some of which are wide.
    room = max(1, sum(end <= width for end in accumulate(map(cell_len, text[:width]))))
    reason = text.rfind(DOT, 0, room + len(DOT))
    if reason > room // 2:
        return text[:reason], text[reason + len(DOT) :]
    space = text.rfind(" ", 0, room + 1)
    cut = space if space > room // 2 else room
    return text[:cut].rstrip(), text[cut:].lstrip()


def fact_lines(job: Job, now: float, width: int, *, is_dead: bool = False) -> Rows:
    """Where and how long it runs, on what, as far as there is room, and its command; of a dead job no processes."""
    facts = [_when(job, now)]
    facts += [" as ".join(part for part in (job.host, job.account) if part)] if job.host else []
    facts += [f"Slurm job {job.slurm_job}"] if job.slurm_job else []
    if job.processes and not job.is_final and not is_dead:
        facts.append(plural(job.processes, "process", "processes"))
    limit = f" of {size_text(job.memory_limit)}" if job.memory_limit else ""
    facts += [f"{size_text(job.rss)}{limit}"] if job.rss and not is_dead else []
    facts += [f"wrote {size_text(job.written)}"] if job.written else []
    facts += [f"exit code {job.exit_code}"] if job.exit_code is not None else []
    facts += [f"signal {job.signal}"] if job.signal is not None else []
    while len(facts) > 1 and cell_len(DOT.join(facts)) > width:
        facts.pop()
    command = job.command or ""
    shown = command if cell_len(safe(command)) <= width - LABEL_WIDTH else without_directory(command)
    return [[DOT.join(facts)], [_label("command"), shown]]


def without_directory(command: str) -> str:
    """A command line whose program is named alone, since where it lies takes the room of what it does."""
    program, space, arguments = command.partition(" ")
    return program.rpartition("/")[2] + space + arguments


def _when(job: Job, now: float) -> str:
    if job.status == PENDING:
        return "not started"
    if job.began is None:
        return "nothing recorded of its start"
    word = "ran" if job.is_final else "running"
    about = "" if job.started else "about "
    run = run_seconds(job, now)
    ran = run_text(run) if run is None or not job.is_final else duration_words(run)
    ran += f" of {duration_words(job.time_limit)}" if job.time_limit and not job.is_final else ""
    return " ".join(filter(None, [word, ran, f"since {about}{clock_text(job.began, now)}"]))


def fields_text(record: Job | Child, now: float) -> str:
    """Every field of a record that says something, ours as a person reads them, others' as they are stored.

    Behind what is not said as it is stored, its stored number follows.
    """
    table = JOB_FIELDS if isinstance(record, Job) else CHILD_FIELDS
    ours = {name: field_words(field, getattr(record, field.attribute), now) for name, field in table.items()}
    said = {"id": record.id, **ours, **record.raw}
    return "\n".join(f"{name:{NAME_WIDTH - 2}}  {_indented(value)}" for name, value in said.items() if value)


def field_words(field: Field, value: Any, now: float) -> str:
    """What a field holds, in its unit: a time with its age, a length of time, a size, a count; "" for nothing."""
    if value is None:
        return ""
    if isinstance(value, ChildrenSummary):
        counts = ", ".join(f"{count} {status}" for status, count in value.counts.items())
        return f"{counts}   {json.encode(value).decode()}"
    if isinstance(value, TellingProcess):
        return json.encode(value).decode()
    if not isinstance(value, int | float):
        return str(value)
    words = _number_words(field.unit, value, now)
    return words if words in (str(value), f"{value:.0f}") else f"{words}  {value}"


def _number_words(unit: str, value: float, now: float) -> str:
    if unit == "unix seconds":
        age = f"{duration_words(now - value)} ago" if value <= now else f"in {duration_words(value - now)}"
        year = "" if abs(now - value) < 300 * DAY else " %Y"
        return f"{datetime.fromtimestamp(value):%d %b{year} %H:%M:%S}, {age}"
    if unit == "seconds":
        return duration_words(value) if value >= MINUTE else f"{value:g} s"
    if unit == "bytes":
        return size_text(value)
    if unit.startswith("%"):
        return f"{value:.0f} {unit.partition(' from ')[0]}"
    return f"{value} {unit}".rstrip()


def _indented(value: str) -> str:
    return value.replace("\n", "\n" + " " * NAME_WIDTH)


def _label(word: str) -> Cell:
    return Cell(word.ljust(LABEL_WIDTH), "dim")


def result_lines(report: "Report", room: int, width: int) -> Rows:
    """The report's headline, its notes, and the first rows of its first table with how often each occurs."""
    found: Rows = [[_label("result"), Cell(report.headline, "bold")]]
    found += [[_label(""), Cell(note, "warning")] for note in report.notes]
    for table in report.tables[:1]:
        counts = table.counts or (1,) * len(table.rows)
        left = max(0, room - len(found))
        fits = left if len(table.rows) <= left else left - 1
        rows = [(str(row[0] or ""), str(row[-1] or "")) for row in table.rows[:fits] if row]
        found += _table_lines(rows, counts, width)
        if 0 <= fits < len(table.rows):
            more = plural(len(table.rows) - fits, "more kind")
            found.append([Cell(f"  and {more}; e shows all", "dim")])
    return found[: max(1, room)]


def _table_lines(rows: Sequence[tuple[str, str]], counts: Sequence[int], width: int) -> Rows:
    """Lines of a first column, what is said, and how often, under one another."""
    firsts = [safe(first) for first, _ in rows]
    times = [f"×{count_text(count)}" if count > 1 else "" for count in counts[: len(rows)]]
    first_width = min(WIDEST_FIRST, max((cell_len(first) for first in firsts), default=0))
    times_width = max((len(text) for text in times), default=0)
    longest = max((cell_len(safe(said)) for _, said in rows), default=0)
    room = max(10, min(longest, width - first_width - times_width - 6))
    return [
        [f"  {fit(first, first_width)}  ", fit(safe(said), room), Cell(f"  {text:>{times_width}}", "dim")]
        for first, (_, said), text in zip(firsts, rows, times, strict=False)
    ]
