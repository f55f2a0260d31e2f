"""The symbols that screens draw with, and their ASCII replacements for terminals without UTF-8."""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import NamedTuple


class Glyphs(NamedTuple):
    """One set of drawing characters."""

    full: str
    empty: str
    rule: str
    into: str
    none: str
    up: str
    down: str
    levels: str
    dot: str
    cut: str
    is_ascii: bool

    def bar(self, percent: float, width: int) -> str:
        """A bar of so many characters for a percentage; it is full only at 100, and empty only at 0."""
        filled = round(min(100.0, max(0.0, percent)) / 100 * width)
        filled = min(max(filled, percent > 0), width - (percent < 100))
        return self.full * filled + self.empty * (width - filled)

    def spark(self, values: Sequence[float], width: int) -> str:
        """A line of values, the newest at the right: 0 at the lowest level, the largest at the highest."""
        share = max(1.0, len(values) / width)
        cuts = [round(place * share) for place in range(round(len(values) / share) + 1)]
        means = [sum(values[start:end]) / (end - start) for start, end in pairwise(cuts)]
        top = max(means, default=0.0) or 1.0
        steps = len(self.levels) - 1
        return "".join(self.levels[min(steps, max(0, ceil(mean / top * steps)))] for mean in means)


UNICODE = Glyphs("█", "·", "─", "›", "–", "▲", "▼", "▁▂▃▄▅▆▇█", "·", "…", is_ascii=False)
ASCII = Glyphs("#", "-", "-", ">", "-", "^", "v", "_.-:=+*#", ".", "~", is_ascii=True)

# What our own words use besides ASCII.
ASCII_FORMS = str.maketrans(
    {"·": "-", "…": "..", "–": "-", "─": "-", "›": ">", "×": "x", "→": "->", "█": "#"}
)


def glyphs_of_terminal() -> Glyphs:
    """The set for this terminal: ASCII where the locale is not UTF-8 or `TERM` is `linux`.

    With `LC_ALL=C` Python writes UTF-8 all the same, and asks nobody whether the terminal understands it.
    """
    encoding = (getattr(sys.__stdout__, "encoding", None) or "").lower().replace("-", "")
    is_utf8 = encoding == "utf8" and os.environ.get("LC_ALL") not in ("C", "POSIX")
    return UNICODE if is_utf8 and os.environ.get("TERM") != "linux" else ASCII


def drawable(text: str) -> str:
    """The text as this terminal can draw it."""
    if text.isascii() or not glyphs_of_terminal().is_ascii:
        return text
    return text.translate(ASCII_FORMS).encode("ascii", "replace").decode()
