"""What a job used and did over time, as sparklines, with its rate and the time that is left."""

from collections.abc import Sequence

from gnjobs.health.states import DEAD_STATE
from gnjobs.processes.seen import History
from gnjobs.records.fields import Child, run_seconds
from gnjobs.text import MINUTE, count_text, duration_words, percent_text, size_text
from gnjobs.watch.rows import RANK_TROUBLED, JobRow
from gnjobs_tui.style import GLYPHS, Cell, Part

LEAST_PERCENT = 1.0
LEAST_RUN = 5.0
SHORTEST, LONGEST = 8, 30
# What stands beside the three lines.
_WORDS = 62


def trend_parts(row: JobRow, history: History | None, now: float, width: int) -> Sequence[Part]:
    """CPU, memory and rate of a job that runs, each with its line and its last value, and how long is left."""
    if row.is_final or row.state == DEAD_STATE.word:
        return []
    is_stuck = row.rank == RANK_TROUBLED
    left = "" if is_stuck else left_words(row.percent, run_seconds(row, now), row.silence)
    if history is None:
        return [left]
    room = max(SHORTEST, min(LONGEST, (width - _WORDS) // 3))
    shown = [
        ("CPU", history.cpu, percent_text(row.cpu)),
        ("memory", history.rss, size_text(row.rss)),
        (f"{history.unit or 'done'}/s", history.rate, rate_text(history.rate[-1] if history.rate else 0.0)),
    ]
    parts: list[Part] = []
    for name, values, last in shown:
        if values:
            parts += [Cell(f"{name} ", "dim"), Cell(GLYPHS.spark(values, room), "accent"), f" {last}   "]
    return [*parts, left]


def rate_text(rate: float) -> str:
    """So many a second."""
    return count_text(rate) if rate >= 10 else f"{rate:.1f}"


def left_words(percent: float | None, run: float | None, silence: float | None) -> str:
    """How long is left if it goes on as it did; nothing where that can't be told."""
    if percent is None or run is None or run < LEAST_RUN or (silence or 0.0) >= MINUTE:
        return ""
    if not LEAST_PERCENT <= percent < 100:
        return ""
    return f"about {duration_words(run * (100 - percent) / percent)} left"


def pace_words(child: Child, silence: float | None, now: float) -> str:
    """How fast a child at work is, and how long is left."""
    run = run_seconds(child, now)
    if child.is_final or run is None or run < LEAST_RUN or (silence or 0.0) >= MINUTE:
        return ""
    # Without a message the unit was said already.
    unit = f" {child.unit}" if child.unit and child.message else ""
    rate = f"{rate_text(child.done / run)}{unit}/s" if child.done else ""
    return ", ".join(part for part in (rate, left_words(child.percent, run, silence)) if part)
