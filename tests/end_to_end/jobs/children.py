"""A job with children that do what their names say; run as `python -m tests.end_to_end.jobs.children NAME…`."""

import os
import signal
import sys
import time

from gnjobs import ThisChild, current_job


def act(name: str, child: ThisChild) -> str:
    """Say something, then end as the name says."""
    for number in range(3):
        child.progress(done=number + 1, total=3, unit="rows")
        child.log(f"{name} {number}")
    if name.startswith("raises"):
        raise ValueError(f"{name} cannot go on")
    if name.startswith("crashes"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("waits"):
        time.sleep(1000)
    return name


if __name__ == "__main__":
    with current_job() as job:
        job.run_children(act, sys.argv[1:])
        job.message("all children have ended")
