"""A job whose children write so many lines each, at a pace: `… tests.end_to_end.jobs.steady CHILDREN LINES RATE`."""

import sys
import time

from gnjobs import ThisChild, current_job

_AT_ONCE = 50


def write_steadily(work: tuple[int, float], child: ThisChild) -> int:
    """Write numbered records, so many a second."""
    lines, rate = work
    began = time.monotonic()
    for number in range(lines):
        child.record({"number": number})
        if number % _AT_ONCE == 0:
            child.progress(done=number, total=lines, unit="lines")
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
    child.progress(done=lines, total=lines, unit="lines")
    return lines


if __name__ == "__main__":
    children, lines, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with current_job() as job:
        names = [f"steady-{number}" for number in range(children)]
        results = job.run_children(
            write_steadily, [(lines, rate)] * children, labels=names, max_workers=children
        )
    print(sum(result.value for result in results))
