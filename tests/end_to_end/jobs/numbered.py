"""A job that numbers what it writes: `python -m tests.end_to_end.jobs.numbered PLACE SEED SECONDS CODE NAME…`.

Its own lines are printed, those of its children (a process each, by NAME) are records, faults and logs. Each leaves in
PLACE how many it wrote, once it has written all of them; children also how many they have written so far. A child
whose name begins so raises or crashes at its end.
"""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from gnjobs import ThisChild, current_job

Work = tuple[str, str, int, float]


def write_numbers(work: Work, child: ThisChild) -> int:
    """Write numbered lines of all kinds at an uneven pace, then end as the name says."""
    name, place, seed, seconds = work
    pace, number, end = random.Random(f"{seed}{name}"), 0, time.monotonic() + seconds
    so_far = os.open(f"{place}/{seed}.{name}.so-far", os.O_CREAT | os.O_WRONLY)
    while time.monotonic() < end:
        for _ in range(pace.randint(1, 200)):
            match pace.randrange(4):
                case 0:
                    child.fault({"number": number})
                case 1:
                    child.log(str(number))
                case _:
                    child.record({"number": number})
            number += 1
            os.pwrite(so_far, b"%d" % number, 0)
        child.progress(done=number, unit="lines")
        time.sleep(pace.random() / 10)
    if name.startswith("crashes"):
        os.kill(os.getpid(), signal.SIGKILL)
    Path(place, f"{seed}.{name}").write_text(str(number))
    if name.startswith("raises"):
        raise ValueError(f"{name} cannot go on")
    return number


def print_numbers(place: str, seed: int, seconds: float) -> None:
    """Print numbered lines at an uneven pace."""
    pace, number, end = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(pace.randint(1, 200)):
            print(number, flush=True)
            number += 1
        time.sleep(pace.random() / 10)
    Path(place, str(seed)).write_text(str(number))


def main(place: str, seed: int, seconds: float, code: int, names: list[str]) -> int:
    """Print, and run the children."""
    printing = threading.Thread(target=print_numbers, args=(place, seed, seconds))
    printing.start()
    if names:
        with current_job() as job:
            job.run_children(write_numbers, [(name, place, seed, seconds) for name in names], labels=names,
                             max_workers=len(names))  # fmt: skip
    printing.join()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]))
