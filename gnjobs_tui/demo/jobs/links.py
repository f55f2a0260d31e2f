"""Checks links between traits, for so many seconds and with this many that lead nowhere; more than 9 are an error."""

import sys
import time

from gnjobs import current_job

TOO_MANY = 9


def main(seconds: float, broken: int) -> None:
    """Check a hundred traits."""
    with current_job() as job:
        job.message("checking links")
        for trait in range(1, 101):
            if trait <= broken:
                job.fault({"row": trait, "row_title": f"trait {trait}", "value": "404", "expected": "a page"})
            job.progress(trait, 100)
            time.sleep(seconds / 100)
        job.message(f"{broken} of 100 links are broken")
        if broken > TOO_MANY:
            raise SystemExit(f"{broken} links are broken: is the server down?")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
