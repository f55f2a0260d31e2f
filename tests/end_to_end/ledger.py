"""What came of jobs under faults: counts of what should not have happened, with a line about each."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from gnjobs.records import Job
from gnjobs.statuses import FINAL_STATUSES
from tests.supervised import KEYS, SupervisedJob

CHILD_ENDS = {"ends": "success", "raises": "error", "crashes": "error"}


class Ledger:
    """Counts what happened, and keeps a line about everything that should not have."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self.jobs = self.children = self.written = self.lost = self.twice = self.wrong = self.left = 0
        self.forgotten = 0
        self.notes: list[str] = []
        self.noted = 0

    def check_end(self, job: SupervisedJob, done: Job | None, expected: Collection[str]) -> None:
        """Compare how a job ended with how it should have, and look for what it left."""
        self.jobs += 1
        if done is None or done.status not in expected:
            self.wrongly(
                job, f"is {done and done.status}, not {' or '.join(expected)}: {done and done.error}"
            )
        elif job.client.zscore(KEYS.unfinished, job.id) is not None:
            self.wrongly(job, "is still in the index of unfinished jobs")
        if left := job.alive():
            self.left += len(left)
            self.notes.append(f"{job.id}: {len(left)} processes left: {left}")

    def check_children(self, job: SupervisedJob, names: Iterable[str], *, to_their_end: bool) -> None:
        """Look for final statuses of all children, and for the right ones where each came to its end."""
        for name in names:
            self.children += 1
            child = job.child(name)
            expected = CHILD_ENDS[name.split("-")[0]]
            is_right = child.status == expected if to_their_end else child.status in FINAL_STATUSES
            if not is_right:
                self.wrongly(job, f"child {name} is {child.status}, not {expected}: {child.error}")

    def check_lines(
        self, job: SupervisedJob, key: str, place: Path, name: str, *, is_forgotten: bool = False
    ) -> None:
        """Count what an output lacks and has twice; who wrote it left in `place` how many lines it wrote.

        Of one that was killed the end is checked, too, where it says how many it wrote so far; `is_forgotten` where
        the server lost its last second when nobody was left who could have sent it again.
        """
        numbers = list(numbers_in(stored_lines(job, key)))
        held = max(numbers, default=-1) + 1
        written = int(place.read_text()) if place.exists() else held
        so_far = Path(f"{place}.so-far")
        if so_far.exists() and not name.startswith("crashes"):
            told = max(held, int(so_far.read_text()))
            if is_forgotten:
                self.forgotten += told - written
            else:
                written = max(written, told)
        counted = Counter(numbers)
        lost, twice = written - len(counted), len(numbers) - len(counted)
        self.written += written
        self.lost += lost
        self.twice += twice
        if lost or twice or numbers != sorted(numbers):
            self.notes.append(f"{job.id} {name}: {lost} of {written} lines lost, {twice} stored twice")

    def wrongly(self, job: SupervisedJob, text: str) -> None:
        """Note a final status that is wrong or missing."""
        self.wrong += 1
        self.notes.append(f"{job.id} ({job.fate}): {text}")

    @property
    def is_clean(self) -> bool:
        """Whether everything held."""
        return not (self.lost or self.twice or self.wrong or self.left)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"faults injected      {_counted(self.faults)}",
                f"jobs                 {_counted(self.fates)}, of which checked {self.jobs}",
                f"children             {self.children}",
                f"lines written        {self.written}",
                f"lines lost           {self.lost}",
                f"lines forgotten by the server after a kill: {self.forgotten}",
                f"lines stored twice   {self.twice}",
                f"wrong final status   {self.wrong}",
                f"processes left       {self.left}",
                *self.notes,
            ]
        )


def _counted(counter: Counter[str]) -> str:
    return f"{counter.total()} ({', '.join(f'{name} {count}' for name, count in sorted(counter.items()))})"


def stored_lines(job: SupervisedJob, key: str) -> Iterable[tuple[bytes, str]]:
    """Every line of an output with its kind."""
    for _, fields in job.client.xrange(key):
        for line in fields[b"data"].decode().split("\n"):
            yield fields[b"kind"], line


def numbers_in(lines: Iterable[tuple[bytes, str]]) -> Iterable[int]:
    """The numbers of the lines of a job of `jobs.numbered`, however they are wrapped."""
    for kind, line in lines:
        if kind == b"out":
            yield int(line)
        elif kind in (b"record", b"fault", b"log"):
            yield int(_number(json.loads(line)))


def _number(value: Mapping[str, object]) -> str:
    return str(value["message"] if "message" in value else value["number"])
