"""Inserts a tab-separated file into SQLite in batches: the file, the database, and how many seconds to take."""

import sqlite3
import sys
import time
from itertools import islice
from pathlib import Path

from gnjobs import current_job

BATCH = 1000
TABLE = "PublishData"


def main(path: str, database: str, seconds: float) -> None:
    """Insert every cell of a file, taking at least so many seconds, as a busy database would."""
    with (
        current_job() as job,
        sqlite3.connect(database) as connection,
        Path(path).open(encoding="utf-8") as file,
    ):
        total = sum(1 for _ in file) - 1
        file.seek(0)
        strains = next(file).rstrip("\n").split("\t")[1:]
        connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (trait TEXT, strain TEXT, value TEXT)")
        job.message(f"inserting {total} rows of {len(strains)} strains")
        rows = 0
        while batch := [line.rstrip("\n").split("\t") for line in islice(file, BATCH)]:
            cells = (
                (trait, strain, cell)
                for trait, *row in batch
                for strain, cell in zip(strains, row, strict=True)
            )
            connection.executemany(f"INSERT INTO {TABLE} VALUES (?, ?, ?)", cells)
            connection.commit()
            rows += len(batch)
            job.record({"table": TABLE, "rows": rows, "total": total})
            job.progress(rows, total, unit="rows")
            time.sleep(seconds * len(batch) / total)
        job.message(f"inserted {rows} rows")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
