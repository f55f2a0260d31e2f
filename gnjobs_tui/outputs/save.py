"""Saves a whole output, as stored, in a new file on the machine that runs the dashboard."""

import os
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gnjobs.outputs.lines import Hole
from gnjobs.outputs.reader import OutputReader
from gnjobs.records.values import encode_text
from gnjobs_tui.outputs.reading import all_after

LONGEST_NAME = 100


class Saved(NamedTuple):
    """Where an output was saved, and how many of its lines; `missing` lines were not there to be saved."""

    path: Path
    lines: int
    missing: int
    is_whole: bool


def file_name(*parts: str | None) -> str:
    """A file name of these parts with nothing in it that a shell or a file system could act on."""
    words = (re.sub(r"[^A-Za-z0-9._-]+", "-", part or "").strip("-.") for part in parts)
    return ("-".join(word for word in words if word)[:LONGEST_NAME] or "output") + ".txt"


def save_output(
    reader: OutputReader, directory: Path, name: str, is_stopped: Callable[[], bool] = lambda: False
) -> Saved:
    """Write every stored line into a new file; raises `OSError` where there is no room or no permission."""
    extent = reader.extent()
    lines = missing = 0
    path, file = _new_file(directory, name)
    with file:
        for stored in all_after(reader, extent.first, extent.last):
            if is_stopped():
                return Saved(path, lines, missing, is_whole=False)
            for item in stored:
                if isinstance(item, Hole):
                    missing += item.last - item.first + 1
                else:
                    file.write(encode_text(item.text) + b"\n")
                    lines += 1
    return Saved(path, lines, missing + extent.first - 1, is_whole=True)


def _new_file(directory: Path, name: str) -> tuple[Path, BinaryIO]:
    """Make a file that did not exist, readable by its owner alone; a number is added where the name is taken."""
    stem, _, suffix = name.rpartition(".")
    for number in count(1):
        path = directory / (name if number == 1 else f"{stem}-{number}.{suffix}")
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        return path.absolute(), os.fdopen(handle, "wb")
    raise AssertionError("numbers do not end")


def save_directory() -> Path:
    """The directory to save in: the current one, or where that can't be written, the home directory."""
    here = Path.cwd()
    return here if os.access(here, os.W_OK) else Path.home()
