"""The text of a filter, as typed after `/` or given to `ls --filter`, made into a test of rows.

    QC average          both words, anywhere in label, id, user, type or last message
    "QC average"        these words together
    state:STUCK,fail    a shown or stored state (or a group: trouble) that begins with one of these
    user: type: host: id:   that begin so, and with $ behind it are just that     label:   that contains it
    re:"^QC .*July$"    a regular expression that one of the texts matches
    age>2h ended<1d run<=10m silent>10m faults>0 cpu>90 percent<50 children>1
    -state:done !test   not

All conditions must hold.
"""

import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from gnjobs.errors import FilterError
from gnjobs.health.states import GROUPS, STATES, group_of
from gnjobs.health.verdict import Health
from gnjobs.records import values
from gnjobs.records.fields import ROW_FIELDS, Job, run_seconds
from gnjobs.records.statuses import STATUSES
from gnjobs.text import parse_duration
from gnjobs.watch.patterns import Pattern
from gnjobs.watch.rows import JobRow, row_of

Test = Callable[[Any, float], bool]


class Term(NamedTuple):
    """One condition; `timed` when its answer changes as time passes, `pattern` what may be given up."""

    test: Test
    timed: bool = False
    pattern: Pattern | None = None

    def negated(self) -> "Term":
        """The opposite condition."""
        test = self.test
        return Term(lambda row, now: not test(row, now), self.timed, self.pattern)


Words = Callable[[Sequence[str]], Term]


class Measure(NamedTuple):
    """A number of a row that can be compared: how it is read, at a time, and how a limit is written."""

    read: Callable[[Any, float], float | None]
    parse: Callable[[str], float]
    timed: bool = False


class Vocabulary(NamedTuple):
    """What filters may say of one kind of rows: its texts, which words alone look for, its keys and its measures."""

    texts: Callable[[Any], Iterable[str | None]]
    words: Mapping[str, Words]
    measures: Mapping[str, Measure]

    def free_text(self, word: str) -> Term:
        """The word stands anywhere in what a list shows of the row."""
        wanted, texts = word.casefold(), self.texts
        return Term(lambda row, _: any(wanted in text.casefold() for text in texts(row) if text))

    def matching(self, pattern: Pattern) -> Term:
        """A regular expression matches one of the texts."""
        is_in, texts = pattern.is_in, self.texts
        return Term(lambda row, _: any(is_in(text) for text in texts(row) if text), pattern=pattern)


def _state(alternatives: Sequence[str]) -> Term:
    known = {state.word.casefold() for state in STATES} | STATUSES | set(GROUPS)
    wanted = tuple(word.casefold() for word in alternatives)
    for word in wanted:
        if not any(name.startswith(word) for name in known):
            raise FilterError(f"no state begins with {word!r}; known are {', '.join(sorted(known))}")
    groups = frozenset(wanted) & frozenset(GROUPS)
    # A word that is a group's means the group, as the counts do, and not a stored status of the same name.
    words = tuple(word for word in wanted if word not in groups)

    def test(row: JobRow, _: float) -> bool:
        return (
            row.state.casefold().startswith(words)
            or (row.status or "").startswith(words)
            or group_of(row.state) in groups
            or "all" in groups
        )

    return Term(test)


def begins(read: Callable[[Any], str | None]) -> Words:
    """Make the test of a text that begins with one of some words, of which `$` is the end."""

    def make(alternatives: Sequence[str]) -> Term:
        wanted = tuple(word.casefold() for word in alternatives)
        end = "$" if any(word.endswith("$") for word in wanted) else ""
        return Term(lambda row, _: f"{read(row) or ''}{end}".casefold().startswith(wanted))

    return make


def contains(read: Callable[[Any], str | None]) -> Words:
    """Make the test of a text that contains one of some words."""

    def make(alternatives: Sequence[str]) -> Term:
        wanted = tuple(word.casefold() for word in alternatives)

        def test(row: Any, _: float) -> bool:
            found = (read(row) or "").casefold()
            return any(word in found for word in wanted)

        return Term(test)

    return make


# Every listed field that is a text, and what is more than one field.
WORD_FIELDS: Final[dict[str, Words]] = {
    "state": _state,
    **{
        field.attribute: begins(attrgetter(field.attribute))
        for field in ROW_FIELDS.values()
        if field.kind.read is values.text
    },
    "label": contains(attrgetter("label")),
    "id": begins(lambda row: row.id),
}


def _age(row: JobRow, now: float) -> float | None:
    return now - row.created if row.created else None


def _ended(row: JobRow, now: float) -> float | None:
    return now - row.finished if row.is_final and row.finished else None


def plain_number(text: str) -> float:
    """Read a number, which may be a percentage."""
    return float(text.removesuffix("%"))


def _counted(attribute: str) -> Measure:
    read = attrgetter(attribute)
    return Measure(lambda row, _: read(row), plain_number)


_COUNTS: Final = (values.integer, values.number, values.percentage)

# Lengths of time, then every listed field that is a number.
MEASURES: Final[dict[str, Measure]] = {
    "age": Measure(_age, parse_duration, timed=True),
    "ended": Measure(_ended, parse_duration, timed=True),
    "run": Measure(run_seconds, parse_duration, timed=True),
    "silent": Measure(lambda row, _: row.silence, parse_duration),
    **{
        field.attribute: _counted(field.attribute)
        for field in ROW_FIELDS.values()
        if field.kind.read in _COUNTS
    },
    "faults": Measure(lambda row, _: None if row.is_uncounted else row.faults or 0, plain_number),
    "cpu": Measure(lambda row, _: row.cpu, plain_number),
}
JOBS: Final = Vocabulary(lambda row: (row.label, row.id, row.user, row.type, row.says), WORD_FIELDS, MEASURES)
COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


def comparison(name: str, measure: Measure, sign: str, limit_text: str) -> Term:
    """The measure compares so with the limit; a row whose measure is unknown never matches."""
    compare = COMPARISONS[sign]
    try:
        limit = measure.parse(limit_text)
    except ValueError:
        raise FilterError(f"{name}{sign} needs {_example(measure)}, not {limit_text!r:.40}") from None
    read = measure.read

    def test(row: Any, now: float) -> bool:
        found = read(row, now)
        return found is not None and compare(found, limit)

    return Term(test, measure.timed)


def _example(measure: Measure) -> str:
    return "a length of time such as 30m or 2h" if measure.parse is parse_duration else "a number"


# Compiled at the first filter: a dashboard that starts has none.
_PIECE: Final = r'"([^"]*)"|([^\s"]+)|(")'
_FIELD: Final = r"(?is)([a-z]+):(.*)"
_COMPARISON: Final = r"(?is)([a-z]+)(>=|<=|>|<|=)(.*)"
_PATTERN: Final = "re:"
LONGEST_FILTER: Final = 1000


class Filter:
    """A compiled filter; false when it lets everything pass, `timed` when its answers change as time passes."""

    def __init__(self, text: str, terms: Sequence[Term]) -> None:
        self.text = text
        self.timed = any(term.timed for term in terms)
        self._tests = tuple(term.test for term in terms)
        self._patterns = tuple(term.pattern for term in terms if term.pattern is not None)

    def __bool__(self) -> bool:
        return bool(self._tests)

    def __str__(self) -> str:
        return self.text

    @property
    def is_too_slow(self) -> bool:
        """Whether a regular expression took so long that it was given up: nothing matches it any more."""
        return any(pattern.is_spent for pattern in self._patterns)

    def matches(self, row: Any, now: float = 0.0) -> bool:
        """Tell whether a row passes at this time (unix seconds)."""
        for test in self._tests:  # noqa: SIM110 - a generator would double the time for a million rows
            if not test(row, now):
                return False
        return True


class _Word:
    """A blank-separated word with the parts of it that were quoted, in which no character means anything."""

    def __init__(self, parts: list[tuple[str, bool]]) -> None:
        self._parts = parts
        self.text = "".join(text for text, _ in parts)
        self.bare = "".join("\ue000" * len(text) if quoted else text for text, quoted in parts)

    def without_first(self) -> "_Word":
        """The word without its first character, which is not quoted."""
        (first, quoted), *others = self._parts
        return _Word([(first[1:], quoted), *others])

    def split(self, start: int) -> list[str]:
        """The alternatives from this position on, separated by commas."""
        edges = [start - 1, *(i for i in range(start, len(self.bare)) if self.bare[i] == ","), len(self.bare)]
        pieces = [self.text[left + 1 : right] for left, right in itertools.pairwise(edges)]
        return [piece for piece in pieces if piece]


def _words(text: str) -> Iterator[_Word]:
    parts: list[tuple[str, bool]] = []
    end = 0
    for match in re.finditer(_PIECE, text):
        if match.group(3):
            raise FilterError("a quote is opened and not closed")
        if match.start() != end and parts:
            yield _Word(parts)
            parts = []
        quoted = match.group(1) is not None
        parts.append((match.group(1) if quoted else match.group(2), quoted))
        end = match.end()
    if parts:
        yield _Word(parts)


def _term(word: _Word, vocabulary: Vocabulary) -> Term:
    if word.bare[:1] in {"-", "!"} and len(word.bare) > 1:
        return _term(word.without_first(), vocabulary).negated()
    if match := re.match(_COMPARISON, word.bare):
        name, sign = _known(match.group(1).lower(), match.group(2), vocabulary), match.group(2)
        return comparison(name, vocabulary.measures[name], sign, word.text[match.start(3) :])
    if word.bare[:3].lower() == _PATTERN:
        return vocabulary.matching(Pattern(word.text[3:], ignores_case=True))
    if match := re.match(_FIELD, word.bare):
        name, alternatives = _known(match.group(1).lower(), ":", vocabulary), word.split(match.start(2))
        if not alternatives:
            raise FilterError(f"{name}: needs a value")
        return vocabulary.words[name](alternatives)
    return vocabulary.free_text(word.text)


def _known(name: str, sign: str, vocabulary: Vocabulary) -> str:
    words, measures = vocabulary.words, vocabulary.measures
    if name in (words if sign == ":" else measures):
        return name
    if name in (measures if sign == ":" else words):
        raise FilterError(f"{name} is compared: {name}>… or {name}<…" if sign == ":" else f"use {name}:…")
    known = ", ".join([*words, "re"] if sign == ":" else measures)
    raise FilterError(f"unknown key {name}{sign} (known: {known}); to search for that text, quote it")


def parse_filter(text: str, vocabulary: Vocabulary = JOBS) -> Filter:
    """Compile the text of a filter, of jobs unless another vocabulary is given; raises `FilterError` of one line."""
    if len(text) > LONGEST_FILTER:
        raise FilterError(f"a filter has at most {LONGEST_FILTER} characters")
    return Filter(text.strip(), [_term(word, vocabulary) for word in _words(text) if word.text])


def quoted(text: str) -> str:
    """A text as a filter takes it literally, and whole; of one with a quote what stands before it."""
    before, quote, _ = text.partition('"')
    return f'"{before}"' if quote else f'"{before}"$'


def matcher(text: str, *, now: float) -> Callable[[Job, Health], bool]:
    """Compile a filter into a test of judged jobs, for those who hold no rows."""
    found = parse_filter(text)
    return lambda job, health: found.matches(row_of(job, verdict=health.verdict), now)
