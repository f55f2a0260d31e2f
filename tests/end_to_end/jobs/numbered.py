"""A job that numbers what it writes: `python -m tests.end_to_end.jobs.numbered PLACE SEED LINES PACE CODE NAME…`.

It prints LINES lines, about PACE of them a second, and each of its children (a process each, by NAME) writes as many
records, faults and logs. Each leaves in PLACE how many it wrote, once it has written all of them; children also how
many they have written so far. A child whose name begins so raises or crashes at its end.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gnjobs import ThisChild, current_job


class Work(NamedTuple):
    """What the job itself or one child is to write: `pace` is in lines a second."""

    place: str
    seed: int
    lines: int
    pace: float

    def numbers(self, name: str = "") -> Iterator[int]:
        """The numbers to write, in bursts of any size."""
        chance, number, begun = random.Random(f"{self.seed}{name}"), 0, time.monotonic()
        while number < self.lines:
            burst = range(number, min(self.lines, number + chance.randint(1, 200)))
            yield from burst
            number = burst.stop
            ahead = begun + number / self.pace - time.monotonic()
            time.sleep(max(0.0, ahead) * 2 * chance.random())

    def say_so(self, name: str = "") -> None:
        """Leave word that all lines were written."""
        said_by(Path(self.place), self.seed, name).write_text(str(self.lines))


def said_by(place: Path, seed: int, name: str = "") -> Path:
    """Where a child, or by default the job itself, leaves how many lines it wrote."""
    return place / (f"{seed}.{name}" if name else f"{seed}")


def so_far_by(said: Path) -> Path:
    """Where a child leaves how many lines it has written so far."""
    return said.with_name(f"{said.name}.so-far")


def command(
    place: Path, seed: int, names: Sequence[str], *, lines: int, pace: float = 2000.0, code: int = 0
) -> list[str]:
    """The command of such a job."""
    words = [str(place), str(seed), str(lines), str(pace), str(code)]
    return [sys.executable, "-m", "tests.end_to_end.jobs.numbered", *words, *names]


def write_numbers(item: tuple[str, Work], child: ThisChild) -> int:
    """Write numbered lines of all kinds, then end as the name says."""
    name, work = item
    kinds = random.Random(name)
    so_far = os.open(so_far_by(said_by(Path(work.place), work.seed, name)), os.O_CREAT | os.O_WRONLY)
    for number in work.numbers(name):
        match kinds.randrange(4):
            case 0:
                child.fault({"number": number})
            case 1:
                child.log(str(number))
            case _:
                child.record({"number": number})
        os.pwrite(so_far, b"%d" % (number + 1), 0)
        if number % 100 == 0:
            child.progress(number, work.lines, unit="lines")
    child.progress(work.lines, work.lines, unit="lines")
    if name.startswith("crashes"):
        os.kill(os.getpid(), signal.SIGKILL)
    work.say_so(name)
    if name.startswith("raises"):
        raise ValueError(f"{name} cannot go on")
    return work.lines


def print_numbers(work: Work) -> None:
    """Print numbered lines."""
    for number in work.numbers():
        print(number, flush=True)
    work.say_so()


def main(place: str, seed: str, lines: str, pace: str, code: str, *names: str) -> int:
    """Print, and run the children."""
    work = Work(place, int(seed), int(lines), float(pace))
    printing = threading.Thread(target=print_numbers, args=(work,))
    printing.start()
    if names:
        with current_job() as job:
            job.run_children(write_numbers, [(name, work) for name in names], labels=names,
                             max_workers=len(names), on_failure="ignore")  # fmt: skip
    printing.join()
    return int(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
