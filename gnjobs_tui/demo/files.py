"""Writes the tab-separated files that the demo's jobs check, with known faults in them."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STRAINS = ("BXD1", "BXD2", "BXD6", "BXD12", "BXD31", "BXD32", "BXD60", "BXD100")
ROWS = 200_000
_POOL = 997
_FAULTS_PER_FILE = 120


class FileKind(NamedTuple):
    """A kind of file: `decimals` behind the point, exactly so many or at least."""

    name: str
    decimals: int
    is_exact: bool


AVERAGE = FileKind("average", 3, is_exact=True)
STANDARD_ERROR = FileKind("standard error", 6, is_exact=False)

BAD_CELLS = ("", "x", ".512", "12.3", "1,5", "NA")


def kind_of(path: Path) -> FileKind:
    """The kind that a file's name tells."""
    return STANDARD_ERROR if "_se" in path.stem else AVERAGE


def write_file(
    path: Path, rows: int, *, seed: int, faults: int = _FAULTS_PER_FILE, bad_header: bool = False
) -> None:
    """Write a file with so many rows and faults at random places, the same for the same seed."""
    chance = random.Random(seed)
    kind = kind_of(path)
    header = ["id", *STRAINS]
    if bad_header:
        header[3] = "BDX6"
    pool = [f"{chance.uniform(0, 20):.{kind.decimals}f}" for _ in range(_POOL)]
    bad = {chance.randrange(rows): chance.randrange(len(STRAINS)) for _ in range(faults)}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        file.writelines(_rows(rows, pool, bad, chance))


def _rows(count: int, pool: list[str], bad: dict[int, int], chance: random.Random) -> Iterator[str]:
    width = len(STRAINS)
    for number in range(count):
        start = number * width % (_POOL - width)
        cells = pool[start : start + width]
        if number in bad:
            cells[bad[number]] = chance.choice(BAD_CELLS)
        yield f"row{number + 1}\t" + "\t".join(cells) + "\n"
