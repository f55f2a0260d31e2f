"""What processing says of a job's outputs: plain data that becomes JSON, and is drawn by others."""

from collections.abc import Iterator

import msgspec

from gnjobs.text import encodable

LARGEST_REPORT = 1_000_000
CUT_NOTE = "this report was cut: it was larger than 1 MB"

Cell = str | int | float | None


class Metric(msgspec.Struct, frozen=True):
    """A number with its name and unit."""

    name: str
    value: Cell
    unit: str = ""


class ReportTable(msgspec.Struct, frozen=True):
    """A table; `counts` says for each row how many equal cases it stands for (empty: one each)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    counts: tuple[int, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """A headline of a few words, progress in percent, and what supports it."""

    headline: str = ""
    progress: float | None = None
    metrics: tuple[Metric, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    notes: tuple[str, ...] = ()


def failed_report(why: str) -> Report:
    """What is reported where a processor failed."""
    return Report(
        "the output could not be processed", notes=(encodable(why), "the raw output can be read all the same")
    )


def bounded(report: Report) -> Report:
    """Return the report in texts that any encoding takes, or as much as 1 MB holds, with a note that it was cut.

    Raises `msgspec.ValidationError` for one whose parts are not what they should be.
    """
    small = _cut(report) if _is_huge(report) else report
    said = msgspec.convert(encodable(msgspec.to_builtins(small)), Report)
    return said if len(msgspec.json.encode(said)) <= LARGEST_REPORT else _cut(said)


def _is_huge(report: Report) -> bool:
    """Whether its text alone is too large, found without making a copy of it."""
    room = LARGEST_REPORT
    for text in _texts(report):
        room -= len(text) + 1
        if room < 0:
            return True
    return False


def _texts(report: Report) -> Iterator[str]:
    yield report.headline
    yield from report.notes
    for metric in report.metrics:
        yield from (metric.name, _text(metric.value), metric.unit)
    for table in report.tables:
        yield from (table.title, *table.columns)
        yield from map(str, table.counts)
        for row in table.rows:
            yield from map(_text, row)


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else str(cell)


def _cut(report: Report) -> Report:
    metrics = tuple(
        Metric(metric.name[:200], _short(metric.value), metric.unit[:50]) for metric in report.metrics[:50]
    )
    room = LARGEST_REPORT // 10  # characters, of which JSON makes up to six bytes each
    tables = []
    for table in report.tables[:10]:
        rows, room = _rows_that_fit(table, room)
        columns = tuple(column[:200] for column in table.columns[:50])
        tables.append(ReportTable(table.title[:200], columns, rows, table.counts[: len(rows)]))
    return Report(report.headline[:1000], report.progress, metrics, tuple(tables), (CUT_NOTE,))


def _rows_that_fit(table: ReportTable, room: int) -> tuple[tuple[tuple[Cell, ...], ...], int]:
    rows = []
    for row in table.rows:
        kept = tuple(_short(cell) for cell in row[:50])
        size = sum(len(str(cell)) for cell in kept) + 10
        if size > room:
            break
        room -= size
        rows.append(kept)
    return tuple(rows), room


def _short(cell: Cell) -> Cell:
    return cell[:1000] if isinstance(cell, str) else cell
