"""The pane under a list of jobs: who the job of the cursor is, why it is as it is, and what it says."""

from collections.abc import Sequence

from textual.content import Content

from gnjobs.health import Health
from gnjobs.rows import JobRow
from gnjobs_tui.styling import GLYPHS, Cell, Part, Parts, content, lines


def pane_title(row: JobRow | None, width: int, marked: str) -> Content:
    """The rule above the pane, with the job's id, type, host and user."""
    if row is None:
        return content(GLYPHS.rule * width)
    words = "  ".join(word for word in (row.id[:8], row.type, row.host, row.user) if word)
    title = f"{GLYPHS.rule * 2} {words} "
    rest = max(0, width - len(title) - len(marked) - 2)
    return content(
        Cell(title, "dim"),
        Cell(GLYPHS.rule * rest, "dim"),
        Cell(marked, "accent"),
        Cell(GLYPHS.rule * 2, "dim"),
    )


def pane_lines(row: JobRow | None, health: Health | None, causes: Sequence[str], height: int) -> Content:
    """Why and what, in so many lines."""
    if row is None:
        return content("")
    evidence = list(health.evidence) if health is not None else []
    why: list[Sequence[Part]] = []
    if causes:
        why.append([Cell("all   ", "dim"), Cell("; ".join(causes), "warning")])
    if evidence:
        why.append([Cell("why   ", "dim"), evidence[0]])
        if len(evidence) > 1:
            why.append([Cell("      ", "dim"), " · ".join(evidence[1:])])
    says: Parts = [Cell("says  ", "dim"), row.says or _faults(row) or "nothing yet"]
    return lines([*why[: height - 1], says])


def _faults(row: JobRow) -> str:
    return f"{row.faults} faults in its data" if row.faults else ""
