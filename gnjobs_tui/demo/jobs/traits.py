"""Maps hundreds of traits, a thread each: `python -m gnjobs_tui.demo.jobs.traits COUNT SECONDS`."""

import sys
import time
from functools import partial

from gnjobs import ThisChild, current_job

AT_ONCE = 4
KNOWN_SHARE = 0.3


def map_trait(number: int, child: ThisChild, *, known: int, seconds: float) -> int:
    """Map one trait; the first were mapped before, and are looked up."""
    if number <= known:
        child.log("looked up", logger="gn.map")
        return number
    for permutation in range(1, 11):
        child.progress(permutation * 100, 1000, unit="permutations")
        time.sleep(seconds / 10)
    return number


def main(count: int, seconds: float) -> None:
    """Map so many traits; each that is not known takes so many seconds."""
    with current_job() as job:
        job.run_children(
            partial(map_trait, known=int(count * KNOWN_SHARE), seconds=seconds),
            range(1, count + 1),
            kind="thread",
            max_workers=AT_ONCE,
            labels=[f"trait {number}" for number in range(1, count + 1)],
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
