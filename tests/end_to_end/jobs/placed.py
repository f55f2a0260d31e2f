"""A job whose children Slurm places; run as `python -m tests.end_to_end.jobs.placed [--options] NAME…`."""

import os
import signal
import socket
import sys
import time

from gnjobs import ChildResult, ThisChild, current_job


class Answer:
    """A value of the script's own."""

    def __init__(self, host: str) -> None:
        self.host = host


def act(name: str, child: ThisChild) -> Answer:
    """Say where it runs and some lines, then end as the name says."""
    for number in range(100):
        child.log(f"{name} {number}")
    child.progress(done=1, total=2, unit="rows", message=socket.gethostname())
    if name.startswith("raises"):
        raise ValueError(f"{name} cannot go on")
    if name.startswith("crashes"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("sleeps"):
        time.sleep(float(name.removeprefix("sleeps-").partition("-")[0]))
    if name.startswith("waits"):
        time.sleep(1000)
    return Answer(socket.gethostname())


if __name__ == "__main__":
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    names = [word for word in sys.argv[1:] if not word.startswith("--")]
    with current_job() as job:
        results = job.run_children(act, names, via="slurm", options=options)
        for result in results:
            how = (
                result.value.host
                if isinstance(result, ChildResult)
                else result.error.strip().splitlines()[-1]
            )
            print(result.label, how, flush=True)
