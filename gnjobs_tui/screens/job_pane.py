"""The pane below a list of jobs: which job the cursor is on, why it is in its state, and its last message."""

from collections import Counter
from collections.abc import Sequence

from textual.content import Content

from gnjobs.health.states import ALL, GROUPS
from gnjobs.health.verdict import Health
from gnjobs.records.fields import Child, Job, run_seconds
from gnjobs.records.statuses import ERROR, KILLED, LOST, SUCCESS
from gnjobs.text import duration_words, moment_words, plural
from gnjobs.watch.catalogue import Counts
from gnjobs.watch.rows import RANK_TROUBLED, JobRow
from gnjobs_tui.screens.job_facts import DOT, break_lines, health_words
from gnjobs_tui.style import GLYPHS, Cell, Part, Parts, content, safe

LABEL_WIDTH = 8
# Of so few lines the reasons for trouble take all that they need.
LOW = 3
_ENDS = {
    SUCCESS: "ran to its end",
    ERROR: "failed",
    KILLED: "killed",
    LOST: "lost: nobody will report on it any more;",
}


def count_parts(counts: Counts, shown: str, is_narrow: bool) -> Parts:
    """The groups with their digits and counts, that which is shown in reverse."""
    parts: list[Part] = []
    for number, group in enumerate(GROUPS, 1):
        token = "reverse" if group == shown else "plain" if counts[group] else "dim"
        count = _short(counts[group]) if is_narrow else str(counts[group])
        parts += [Cell(f"{number} {group} {count}", token), "  " if is_narrow else "   "]
    return parts


def _short(count: int) -> str:
    return str(count) if count < 10_000 else f"{count // 1000}k" if count < 1e6 else f"{count / 1e6:.1f}M"


def pane_title(row: JobRow | None, width: int, notes: Sequence[str]) -> Content:
    """The rule above the pane, with the job's id, type, host and user, and notes at its right end."""
    words = "  ".join(word for word in (row.id[:8], row.type, row.host, row.user) if word) if row else ""
    title = content(Cell(f"{GLYPHS.rule * 2} {words} " if words else "", "dim"))
    said = content(Cell("".join(f" {note} " for note in notes), "accent"))
    rest = max(0, width - title.cell_length - said.cell_length - 2)
    return Content.assemble(
        title, content(Cell(GLYPHS.rule * rest, "dim")), said, content(Cell(GLYPHS.rule * 2, "dim"))
    )


def pane_lines(
    row: JobRow | None,
    health: Health | None,
    causes: Sequence[str],
    size: tuple[int, int],
    now: float,
    last_line: str | None = None,
) -> list[Content]:
    """Why and what, in a width and at most so many lines; reasons for trouble go before what the job says.

    A job that says nothing itself says its last line; that is None while it is not known.
    """
    width, height = size
    is_pressed = height <= LOW and row is not None and row.rank == RANK_TROUBLED
    why: list[list[Part]] = []
    if causes:
        why.append([Cell("all     ", "dim"), Cell("; ".join(causes), "warning")])
    if row is None:
        return [content(*parts) for parts in why]
    evidence = (
        health_words(health, row.status)
        if health is not None and not row.is_final
        else [ended_words(row, now)]
    )
    if evidence:
        room = height - len(why) - (not is_pressed)
        said = break_lines(safe(DOT.join(evidence)), max(20, width - LABEL_WIDTH), room)
        word = "why" if row.is_final or row.rank == RANK_TROUBLED else "health"
        labels = [word.ljust(LABEL_WIDTH), *[" " * LABEL_WIDTH] * len(said)]
        why += [[Cell(label, "dim"), line] for label, line in zip(labels, said, strict=False)]
    nothing = "nothing" if row.is_final else "nothing yet"
    words = row.says or last_line or ("" if last_line is None else nothing)
    says: list[Part] = [Cell("says    ", "dim"), words]
    return [content(*parts) for parts in [*why, says][:height]]


def ended_words(row: JobRow | Job | Child, now: float) -> str:
    """How, when and after how long a job or child ended; what its data were like."""
    if row.status not in _ENDS:
        return f"unknown stored status {row.status!r}"
    run = run_seconds(row, now)
    words = [_ENDS[row.status]]
    words += [f"after {duration_words(run)}"] if run is not None else []
    words += [moment_words(row.finished, now)] if row.finished else []
    faults = f"; {plural(row.faults, 'fault')} in its data" if row.faults else ""
    return " ".join(words) + faults


def ends_words(rows: Sequence[JobRow], now: float) -> str:
    """That marked jobs have ended: how one did, or how many of several did how."""
    if len(rows) == 1:
        return f"{rows[0].label}: {ended_words(rows[0], now)}"
    counts = Counter(row.state for row in rows)
    return f"{len(rows)} marked jobs have ended: " + ", ".join(f"{n} {word}" for word, n in counts.items())


def empty_words(filter_text: str, group: str, user: str | None, *, is_given: bool) -> str:
    """Why a list is empty once all jobs are loaded; a filter that was given to it is not cleared."""
    if filter_text:
        return f"no job matches {filter_text}" + ("" if is_given else "; esc clears the filter")
    if group != ALL:
        return f"no job is {group}; 1 shows all"
    return f"{user} has no jobs" if user else "no jobs yet; `gnjobs run -- COMMAND` makes one"
