"""Saves in a new file on the machine that runs the dashboard: a whole output as stored, or what else is written."""

import os
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gnjobs.outputs.lines import Hole
from gnjobs.outputs.reader import OutputReader
from gnjobs.records.values import encode_text
from gnjobs.text import safe_line

LONGEST_NAME = 100


class Saved(NamedTuple):
    """Where an output was saved, and how many of its lines; `missing` lines were not there to be saved."""

    path: Path
    lines: int
    missing: int
    is_whole: bool


def file_name(*parts: str | None, suffix: str = ".txt") -> str:
    """A file name of these parts with nothing in it that a shell or a file system could act on."""
    words = (re.sub(r"[^A-Za-z0-9._-]+", "-", part or "").strip("-.") for part in parts)
    return ("-".join(word for word in words if word)[:LONGEST_NAME] or "output") + suffix


def save_output(reader: OutputReader, path: Path, is_stopped: Callable[[], bool]) -> Saved:
    """Write every stored line into a new file; raises `OSError` where there is no room or no permission."""
    extent = reader.extent()
    lines = missing = 0
    with new_file(path) as file:
        for item in reader.iterate(extent.first, extent.last):
            if is_stopped():
                return Saved(path, lines, missing, is_whole=False)
            if isinstance(item, Hole):
                missing += item.last - item.first + 1
            else:
                file.write(encode_text(item.text) + b"\n")
                lines += 1
    return Saved(path, lines, missing + extent.first - 1, is_whole=True)


def new_file(path: Path) -> BinaryIO:
    """Make a file that did not exist, readable by its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def proposed_path(name: str) -> str:
    """Where to save under a name: in the current directory, or where that can't be written, the home directory.

    A number is added where the name is taken. A directory that a field can't show harmlessly is left out.
    """
    here = Path.cwd()
    directory = here if os.access(here, os.W_OK) else Path.home()
    stem, _, suffix = name.rpartition(".")
    paths = (directory / (name if number == 1 else f"{stem}-{number}.{suffix}") for number in count(1))
    path = next(path for path in paths if not os.path.lexists(path))
    return str(path) if safe_line(str(path)) == str(path) else path.name


def typed_path(text: str, name: str) -> Path:
    """The path that a person typed, whole; in a directory the proposed name is meant."""
    path = Path(text.strip()).expanduser().absolute()
    return path / name if path.is_dir() else path


def refusal_words(error: OSError) -> str:
    """Why a file could not be written, without Python's numbers and quotes."""
    why = error.strerror or str(error)
    return f"can't write {error.filename or 'the file'}: {why[:1].lower()}{why[1:]}"
