"""The single conditions of a filter: each a test of a row."""

import operator
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gnjobs.errors import FilterError
from gnjobs.health.groups import GROUPS, group_of
from gnjobs.health.states import STATES
from gnjobs.records.statuses import STATUSES
from gnjobs.text import parse_duration
from gnjobs.watch.rows import JobRow

Test = Callable[[JobRow, float], bool]


class Term(NamedTuple):
    """One condition; `timed` when its answer changes as time passes."""

    test: Test
    timed: bool = False

    def negated(self) -> "Term":
        """The opposite condition."""
        test = self.test
        return Term(lambda row, now: not test(row, now), self.timed)


def free_text(word: str) -> Term:
    """The word stands anywhere in what a list shows of the job."""
    wanted = word.casefold()

    def test(row: JobRow, _: float) -> bool:
        return wanted in row.label.casefold() or any(
            wanted in text.casefold() for text in (row.id, row.user, row.type, row.says) if text
        )

    return Term(test)


def _state(alternatives: Sequence[str]) -> Term:
    known = {state.word.casefold() for state in STATES} | STATUSES | set(GROUPS)
    wanted = tuple(word.casefold() for word in alternatives)
    for word in wanted:
        if not any(name.startswith(word) for name in known):
            raise FilterError(f"no state begins with {word!r}; known are {', '.join(sorted(known))}")
    groups = frozenset(wanted) & frozenset(GROUPS)

    def test(row: JobRow, _: float) -> bool:
        return (
            row.state.casefold().startswith(wanted)
            or (row.status or "").startswith(wanted)
            or group_of(row.state) in groups
            or "all" in groups
        )

    return Term(test)


def _begins(read: Callable[[JobRow], str | None]) -> Callable[[Sequence[str]], Term]:
    def make(alternatives: Sequence[str]) -> Term:
        wanted = tuple(word.casefold() for word in alternatives)
        return Term(lambda row, _: (read(row) or "").casefold().startswith(wanted))

    return make


def _label(alternatives: Sequence[str]) -> Term:
    wanted = tuple(word.casefold() for word in alternatives)

    def test(row: JobRow, _: float) -> bool:
        label = row.label.casefold()
        return any(word in label for word in wanted)

    return Term(test)


WORD_FIELDS: Final[dict[str, Callable[[Sequence[str]], Term]]] = {
    "state": _state,
    "user": _begins(lambda row: row.user),
    "type": _begins(lambda row: row.type),
    "host": _begins(lambda row: row.host),
    "label": _label,
    "id": _begins(lambda row: row.id),
}


class _Measure(NamedTuple):
    read: Callable[[JobRow, float], float | None]
    parse: Callable[[str], float]
    timed: bool = False


def _age(row: JobRow, now: float) -> float | None:
    return now - row.created if row.created else None


def _plain_number(text: str) -> float:
    return float(text.removesuffix("%"))


MEASURES: Final[dict[str, _Measure]] = {
    "age": _Measure(_age, parse_duration, timed=True),
    "run": _Measure(JobRow.run_seconds, parse_duration, timed=True),
    "silent": _Measure(lambda row, _: row.silence, parse_duration),
    "faults": _Measure(lambda row, _: row.faults, _plain_number),
    "cpu": _Measure(lambda row, _: row.cpu, _plain_number),
    "percent": _Measure(lambda row, _: row.percent, _plain_number),
    "children": _Measure(lambda row, _: row.children, _plain_number),
}
COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


def comparison(name: str, sign: str, limit_text: str) -> Term:
    """The measure compares so with the limit; a row of which it is not known never matches."""
    measure, compare = MEASURES[name], COMPARISONS[sign]
    try:
        limit = measure.parse(limit_text)
    except ValueError:
        raise FilterError(f"{name}{sign} needs {_example(measure)}, not {limit_text!r:.40}") from None
    read = measure.read

    def test(row: JobRow, now: float) -> bool:
        found = read(row, now)
        return found is not None and compare(found, limit)

    return Term(test, measure.timed)


def _example(measure: _Measure) -> str:
    return "a length of time such as 30m or 2h" if measure.parse is parse_duration else "a number"
