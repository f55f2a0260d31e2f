"""What processing says of a job's outputs: plain data that becomes JSON, and is drawn by others."""

import msgspec

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


def bounded(report: Report) -> Report:
    """Return the report, or as much of it as 1 MB holds, with a note that it was cut."""
    encoded = msgspec.json.encode(_encodable(report))
    if len(encoded) <= LARGEST_REPORT:
        return report
    kept = Report(report.headline[:1000], report.progress, report.metrics[:50], (), (CUT_NOTE,))
    room = LARGEST_REPORT // 4
    tables = []
    for table in report.tables[:10]:
        rows = []
        for row in table.rows:
            size = sum(len(str(cell)) for cell in row) + 10
            if size > room:
                break
            room -= size
            rows.append(row)
        tables.append(
            ReportTable(table.title[:200], table.columns[:50], tuple(rows), table.counts[: len(rows)])
        )
    return msgspec.structs.replace(kept, tables=tuple(tables))


def _encodable(report: Report) -> object:
    def clean(value: object) -> object:
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()
        if isinstance(value, list | tuple):
            return [clean(each) for each in value]
        if isinstance(value, dict):
            return {name: clean(each) for name, each in value.items()}
        return value

    return clean(msgspec.to_builtins(report))
