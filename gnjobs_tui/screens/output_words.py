"""The text around an output: which lines are on screen, whether it follows the end, how the writer is."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from textual.content import Content

from gnjobs.health.silence import child_silence, judge_child
from gnjobs.health.states import State, child_state
from gnjobs.health.verdict import Limits
from gnjobs.records.keys import is_id
from gnjobs.store import JobStore
from gnjobs.text import MINUTE, count_text, duration_words, silence_text
from gnjobs.watch.rows import JobRow
from gnjobs_tui.outputs.reading import News
from gnjobs_tui.screens.base import NARROW
from gnjobs_tui.style import GLYPHS, Cell, Part, content, state_cell, state_named


class Place(NamedTuple):
    """The current line, whether the end is followed, when the line was written (if that is to be said), and a note."""

    line: int
    is_following: bool
    written_at: float | None = None
    note: str = ""


def place_line(place: Place, news: News, last_at: float | None, now: float, width: int) -> Content:
    """The rule under an output."""
    dot = f" {GLYPHS.dot} "
    facts = _facts(place, news, last_at, now, is_narrow=width < NARROW)
    parts: list[Part] = [Cell(GLYPHS.rule * 2, "dim"), " ", facts[0]]
    if news.away:
        parts += [dot, Cell(f"can't be read: {news.away}", "error")]
    elif news.kind == "unreadable":
        parts += [dot, Cell("what is stored here can't be read as lines", "warning")]
    if place.note:
        parts += [dot, Cell(place.note, "accent")]
    said = content(*parts, *(f"{dot}{fact}" for fact in facts[1:]), " ")
    return Content.assemble(said, content(Cell(GLYPHS.rule * max(0, width - said.cell_length), "dim")))


def _facts(place: Place, news: News, last_at: float | None, now: float, *, is_narrow: bool) -> Sequence[str]:
    if not news.key and not news.away:
        return ["reading …"]
    if not news.last:
        return ["no line" if news.has_ended else "no line yet", _mode(place, news)]
    facts = [f"line {count_text(min(place.line, news.last))} of {count_text(news.last)}"]
    if news.first > 1 or not is_narrow:
        facts.append(f"first kept {count_text(news.first)}")
    facts.append(_mode(place, news))
    if place.written_at is not None:
        facts.append(f"written {datetime.fromtimestamp(place.written_at):%a %d %b %Y %H:%M:%S}")
    elif last_at is not None:
        facts.append(f"last line {_age(now - last_at)} ago")
    return facts


def _mode(place: Place, news: News) -> str:
    if news.has_ended:
        return "ended"
    return "following" if place.is_following else "not following"


def _age(seconds: float) -> str:
    return duration_words(seconds) if seconds >= MINUTE else "under 1 min"


class OutputState(NamedTuple):
    """The state of an output's writer, and how many seconds it has been silent while at work."""

    state: State
    silence: float | None = None
    percent: float | None = None


def state_of_row(row: JobRow) -> OutputState:
    """The state of a job, as its list has it."""
    return OutputState(state_named(row.state), row.silence, row.percent)


def read_child_state(store: JobStore, job_id: str, child_id: str, limits: Limits) -> OutputState | None:
    """Read and judge a child; None for one of gn-uploader's, of which nothing is recorded."""
    job = store.many([job_id])[0]
    if job is None or not is_id(child_id):
        return None
    child = store.child(job_id, child_id)
    snapshot = None if child.is_final else store.processes(job_id)
    health = judge_child(job, child, snapshot, limits)
    silence = None if child.is_final or child.started is None else child_silence(job, child)
    return OutputState(child_state(child, health.verdict), silence, child.percent)


def state_parts(state: OutputState | None) -> Sequence[Part]:
    """The state and the silence, for a title."""
    if state is None:
        return []
    silence = silence_text(state.silence)
    return ["   ", state_cell(state.state), Cell(f" {silence}" if silence else "", "warning")]
