"""`python -m tests.benchmarks`: every budget of the design, measured in one run."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from tests.benchmarks import (
    described,
    foreign,
    kills,
    long_output,
    outputs,
    recovery,
    rest,
    screen,
    startup,
    watching,
)
from tests.benchmarks.measure import Measurement

SUITES: dict[str, Callable[[Path, int], Iterator[Measurement]]] = {
    "outputs": lambda directory, _: outputs.measure(directory),
    "described": described.measure,
    "foreign": foreign.measure,
    "kills": lambda directory, _: kills.measure(directory),
    "long-output": lambda directory, _: long_output.measure(directory),
    "recovery": lambda directory, _: recovery.measure(directory),
    "rest": lambda directory, _: rest.measure(directory),
    "screen": screen.measure,
    "startup": startup.measure,
    "watching": watching.measure,
}

BY_NUMBER_OF_JOBS = {"described", "foreign", "screen", "startup", "watching"}


def _draw(measurements: list[Measurement]) -> None:
    table = Table("Measured", "Median", "Spread", "Reference", "Ratio", "Budget", "Met")
    for m in measurements:
        met = {None: "", True: "yes", False: "NO"}[m.within_budget]
        sign = ">=" if m.lowest_allowed else "<="
        table.add_row(
            m.name,
            f"{m.value:.4g} {m.unit}",
            f"{m.spread:.2g}",
            "" if m.reference is None else f"{m.reference:.4g} {m.unit}: {m.reference_name}",
            "" if m.ratio is None else f"{m.ratio:.2f}",
            "" if m.budget is None else f"{sign} {m.budget:g}",
            met,
        )
    Console(width=180).print(table)


def _as_json(measurement: Measurement) -> str:
    judged = {"ratio": measurement.ratio, "met": measurement.within_budget}
    return msgspec.json.encode(msgspec.structs.asdict(measurement) | judged).decode()


@click.command()
@click.argument("suites", nargs=-1, type=click.Choice(sorted(SUITES)))
@click.option("--jobs", type=click.IntRange(min=1), multiple=True, default=(1000, 50_000), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
def main(suites: tuple[str, ...], jobs: tuple[int, ...], as_json: bool) -> None:
    """Measure SUITES (all of them unless named), those that depend on the number of jobs at each size."""
    measured: list[Measurement] = []
    for suite in suites or sorted(SUITES):
        for count in jobs if suite in BY_NUMBER_OF_JOBS else jobs[:1]:
            with tempfile.TemporaryDirectory(prefix="gnjobs-benchmark-") as directory:
                for measurement in SUITES[suite](Path(directory) / "server", count):
                    measured.append(measurement)
                    if as_json:
                        click.echo(_as_json(measurement))
    if not as_json:
        _draw(measured)


if __name__ == "__main__":
    main()
