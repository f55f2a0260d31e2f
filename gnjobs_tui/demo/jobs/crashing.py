"""A job with a child that a signal kills, as the kernel does when memory is short."""

import os
import signal
import time

from gnjobs import ThisChild, current_job


def compute(chromosome: str, child: ThisChild) -> str:
    """Compute for a while; one chromosome is too much."""
    for step in range(1, 21):
        child.progress(step, 20, unit="steps")
        time.sleep(0.2)
        if chromosome == "chr X" and step == 10:
            child.log("allocating 64 GB", level="WARNING", logger="gn.map")
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
    return chromosome


if __name__ == "__main__":
    with current_job() as job:
        job.run_children(compute, ["chr 1", "chr 2", "chr X"], max_workers=3)
        raise SystemExit("1 of 3 chromosomes could not be computed")
