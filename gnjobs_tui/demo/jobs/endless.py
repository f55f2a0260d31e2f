"""A check that never ends: `python -m gnjobs_tui.demo.jobs.endless FILE…` hangs on the last file."""

import sys
import threading
import time
from pathlib import Path

from gnjobs import ThisChild, current_job

SECONDS_PER_FILE = 40
HANGS_AT = 0.12


def check_file(given: tuple[str, bool], child: ThisChild) -> None:
    """Go through a file slowly; one that hangs waits for something that never comes."""
    path, hangs = given
    with Path(path).open(encoding="utf-8") as file:
        total = sum(1 for _ in file)
    for step in range(1, 101):
        child.progress(total * step // 100, total, unit="rows")
        if hangs and step / 100 >= HANGS_AT:
            child.log(f"waiting for the lock on {Path(path).name}", level="WARNING", logger="gn.qc")
            threading.Event().wait()
        time.sleep(SECONDS_PER_FILE / 100)


def main(paths: list[str]) -> None:
    """Check files in processes of their own."""
    with current_job() as job:
        job.message(f"checking {len(paths)} files")
        given = [(path, path == paths[-1]) for path in paths]
        job.run_children(
            check_file, given, max_workers=len(paths), labels=[Path(path).name for path in paths]
        )


if __name__ == "__main__":
    main(sys.argv[1:])
