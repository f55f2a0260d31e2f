"""What came of jobs under faults: counts of what should not have happened, with a line about each."""

import time
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from gnjobs.records.fields import Job
from gnjobs.records.statuses import FINAL_STATUSES
from tests.end_to_end.jobs.numbered import said_by
from tests.end_to_end.numbered_lines import LineCount, count_lines
from tests.support.supervised import KEYS, SupervisedJob

# Where who ended it died over it, the agent's next round takes it out of the index; the agent may be killed, too.
_TWO_ROUNDS = 15.0
CHILD_ENDS = {"ends": "success", "raises": "error", "crashes": "error"}


class Ledger:
    """Counts what happened, and keeps a line about everything that should not have."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self.jobs = self.children = self.wrong = self.left = 0
        self.written = self.lost = self.twice = self.disordered = self.forgotten = 0
        self.notes: list[str] = []
        self.noted = 0

    def check_end(self, job: SupervisedJob, done: Job | None, expected: Collection[str]) -> None:
        """Compare how a job ended with how it should have, and look for what it left."""
        self.jobs += 1
        if done is None or done.status not in expected:
            self.wrongly(
                job, f"is {done and done.status}, not {' or '.join(expected)}: {done and done.error}"
            )
        elif not _leaves_index(job):
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

    def check_outputs(
        self, job: SupervisedJob, place: Path, seed: int, names: Iterable[str], *, is_forgotten: bool = False
    ) -> list[LineCount]:
        """Count what the outputs of a job of `jobs.numbered` and of its children lack and have twice.

        `is_forgotten` where the server lost its last second when nobody was left who could have sent it again.
        """
        found = [self._check_lines(job, KEYS.output(job.id), said_by(place, seed), "itself")]
        for name in names:
            key = KEYS.child_output(job.id, name)
            found.append(self._check_lines(job, key, said_by(place, seed, name), name))
            cut = found[-1].cut
            if cut and is_forgotten:
                self.forgotten += cut
            elif cut and not name.startswith("crashes"):  # what SIGKILL ends can't send what it has
                self.lost += cut
                self.notes.append(f"{job.id} ({job.fate}) {name}: {cut} lines before its end lost")
        return found

    def _check_lines(self, job: SupervisedJob, key: str, said: Path, name: str) -> LineCount:
        found = count_lines(job.client, key, said)
        self.written += found.written
        self.lost += found.lost
        self.twice += found.twice
        self.disordered += not found.is_in_order
        if not found.is_right:
            self.notes.append(f"{job.id} ({job.fate}) {name}: {found}")
        return found

    def wrongly(self, job: SupervisedJob, text: str) -> None:
        """Note a final status that is wrong or missing."""
        self.wrong += 1
        self.notes.append(f"{job.id} ({job.fate}): {text}")

    @property
    def is_clean(self) -> bool:
        """Whether everything held."""
        return not (self.lost or self.twice or self.disordered or self.wrong or self.left)

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
                f"outputs in disorder  {self.disordered}",
                f"wrong final status   {self.wrong}",
                f"processes left       {self.left}",
                *self.notes,
            ]
        )


def _counted(counter: Counter[str]) -> str:
    return f"{counter.total()} ({', '.join(f'{name} {count}' for name, count in sorted(counter.items()))})"


def _leaves_index(job: SupervisedJob) -> bool:
    limit = time.monotonic() + _TWO_ROUNDS
    while job.client.zscore(KEYS.unfinished, job.id) is not None:
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True
