"""What the children of `jobs.writers` wrote, held against what Redis has of it."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import redis

from gnjobs.keys import Keys
from gnjobs.lines import Line
from gnjobs.output_reader import OutputReader


class Account(NamedTuple):
    """One output: lines written (None: nobody knows), stored, lost, stored twice; whether they are in order.

    `faults` is how many faults were written and how many are stored.
    """

    child_id: str
    written: int | None
    stored: int
    lost: int
    twice: int
    is_in_order: bool
    faults: tuple[int | None, int]

    @property
    def is_right(self) -> bool:
        """Whether every line is there once and in order."""
        wrote, found = self.faults
        return not self.lost and not self.twice and self.is_in_order and wrote in (None, found)


def account(
    client: redis.Redis, keys: Keys, job_id: str, child_id: str | None, wrote: tuple[int, int] | None
) -> Account:
    """Read an output whole; a hole counts as the lines that are missing from it."""
    key = keys.output(job_id) if child_id is None else keys.child_output(job_id, child_id)
    lines = [item for item in OutputReader(client, key).iterate() if isinstance(item, Line)]
    numbers = [int(line.text) for line in lines if line.kind == "out"]
    faults = sum(line.kind == "fault" for line in lines)
    written, wrote_faults = wrote or (None, None)
    counted = Counter(numbers)
    expected = max(counted, default=-1) + 1 if written is None else written
    return Account(
        child_id or "the job itself",
        written,
        len(numbers),
        expected - len(counted),
        len(numbers) - len(counted),
        numbers == sorted(numbers),
        (wrote_faults, faults),
    )


def wrote(place: Path, child_id: str) -> tuple[int, int] | None:
    """How many lines and faults a child says it wrote; None where it did not come so far."""
    path = place / f"{child_id}.wrote"
    if not path.exists() or not (text := path.read_text()):
        return None
    lines, faults = text.split()
    return int(lines), int(faults)
