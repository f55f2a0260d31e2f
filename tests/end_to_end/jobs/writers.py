"""A job whose children write numbered lines: `python -m tests.end_to_end.jobs.writers PLACE CHILDREN LINES PACE`.

Each child leaves a file `<child>.wrote` in PLACE at its end: how many lines and how many faults it wrote. Of the
optional words that follow, `slow` lets each pause now and then, and a number is the job's exit code.
"""

import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

from gnjobs import ThisChild, current_job

BURST = 100
FAULT_EVERY = 997


class Task(NamedTuple):
    """What one child is to write: `pace` is in lines a second."""

    name: str
    place: str
    lines: int
    pace: float
    is_uneven: bool

    def __str__(self) -> str:
        return self.name


def write(task: Task, child: ThisChild) -> int:
    """Write the numbers from 0 on, and a fault now and then; return how many numbers."""
    chance = random.Random(task.name)
    faults, begun = 0, time.monotonic()
    for number in range(task.lines):
        child.print(str(number))
        if number % FAULT_EVERY == 0:
            child.fault({"row": number})
            faults += 1
        if number % BURST == 0:
            child.progress(number, task.lines, unit="lines")
            late = begun + number / task.pace - time.monotonic()
            time.sleep(max(0.0, late) + (chance.random() / 5 if task.is_uneven else 0.0))
    child.progress(task.lines, task.lines, unit="lines")
    (Path(task.place) / f"{child.id}.wrote").write_text(f"{task.lines} {faults}")
    return task.lines


def main() -> int:
    """Run the children; their number says how many are at work at once."""
    place, children, lines, pace, *words = sys.argv[1:]
    tasks = [
        Task(f"writer-{number}", place, int(lines), float(pace), "slow" in words)
        for number in range(int(children))
    ]
    with current_job() as job:
        job.run_children(write, tasks, max_workers=len(tasks))
        job.message("all have written")
    return next((int(word) for word in words if word.isdigit()), 0)


if __name__ == "__main__":
    sys.exit(main())
