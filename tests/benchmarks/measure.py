"""What a benchmark reports, and how times are taken: medians of several runs beside a reference of the same run."""

import statistics
import time
from collections.abc import Callable, Sequence

import msgspec


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: a value with its spread, beside its reference and its budget.

    `budget` is the highest allowed value (`lowest_allowed` False) or the lowest, of `ratio` where there is a
    reference, else of `value`.
    """

    name: str
    value: float
    unit: str
    spread: float = 0.0
    reference_name: str | None = None
    reference: float | None = None
    budget: float | None = None
    lowest_allowed: bool = False

    @property
    def ratio(self) -> float | None:
        """The value in units of the reference."""
        return None if not self.reference else self.value / self.reference

    @property
    def within_budget(self) -> bool | None:
        """Whether the budget is met; None where there is none."""
        if self.budget is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.budget if self.lowest_allowed else judged <= self.budget


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """The distance between the quartiles; 0 for fewer than four values."""
    if len(values) < 4:
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4)
    return upper - lower


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def times_of(action: Callable[[], object], runs: int = 7) -> list[float]:
    """Seconds that an action takes, for each of several runs."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return taken
