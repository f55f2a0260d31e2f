"""What an output's screen says of where one is in it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from textual.content import Content

from gnjobs.text import MINUTE, duration_words
from gnjobs_tui.outputs.follower import News
from gnjobs_tui.styling import GLYPHS, Cell, Part, content

NARROW = 90


class Place(NamedTuple):
    """Where one is: the current line, whether the end is followed, when the current line was written (if that
    is to be said), and what is going on beside (a search).
    """

    line: int
    is_following: bool
    written_at: float | None = None
    note: str = ""


def count_text(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}".replace(",", " ")


def place_line(place: Place, news: News, last_at: float | None, now: float, width: int) -> Content:
    """The rule under an output."""
    dot = " . " if GLYPHS.is_ascii else " · "
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
