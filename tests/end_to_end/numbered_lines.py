"""What an output has of the lines of `jobs.numbered`, held against what was written."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import redis

from gnjobs.outputs.lines import Line
from gnjobs.outputs.reader import OutputReader
from tests.end_to_end.jobs.numbered import so_far_by


class LineCount(NamedTuple):
    """One output: lines written, lost and stored twice, faults stored, and whether all is in order.

    `cut` are lines at the end, of a child that was ended before it had written all.
    """

    written: int
    lost: int
    twice: int
    faults: int
    is_in_order: bool
    cut: int

    @property
    def is_right(self) -> bool:
        """Whether every line is there once and in order."""
        return not self.lost and not self.twice and self.is_in_order


def count_lines(client: redis.Redis, key: str, said: Path) -> LineCount:
    """Count what is stored, not what a reader makes of it; who wrote it left in a file how many lines it wrote.

    Where nobody left that, the last line that is stored counts as the last one written.
    """
    stored = list(_stored_lines(client, key))
    numbers = list(_numbers(stored))
    counted = Counter(numbers)
    written = _written(said)
    held = max(counted, default=-1) + 1
    so_far = _written(so_far_by(said)) or 0
    cut = max(0, so_far - held) if written is None else 0
    if written is None:
        written = held
    read = [item.text for item in OutputReader(client, key).iterate() if isinstance(item, Line)]
    return LineCount(
        written,
        written - len(counted),
        len(numbers) - len(counted),
        sum(kind == b"fault" for kind, _ in stored),
        numbers == sorted(numbers) and read == [text for _, text in stored],
        cut,
    )


def _written(said: Path) -> int | None:
    text = said.read_text() if said.exists() else ""
    return int(text) if text else None


def _stored_lines(client: redis.Redis, key: str) -> Iterable[tuple[bytes, str]]:
    """Every line of an output with its kind."""
    for _, fields in client.xrange(key):
        for line in fields[b"data"].decode().split("\n"):
            yield fields[b"kind"], line


def _numbers(lines: Iterable[tuple[bytes, str]]) -> Iterable[int]:
    """The numbers of the lines, however they are wrapped."""
    for kind, line in lines:
        if kind == b"out":
            yield int(line)
        elif kind in (b"record", b"fault", b"log"):
            yield int(_number(json.loads(line)))


def _number(value: Mapping[str, object]) -> str:
    return str(value["message"] if "message" in value else value["number"])
