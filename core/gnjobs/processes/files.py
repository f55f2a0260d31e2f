"""Which files a process has open, how far it is in each; and all that may be asked of a job's processes."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from gnjobs.processes.seen import Found, SeenProcess
from gnjobs.processes.stack import not_allowed, stacks_of, text_of_each
from gnjobs.text import safe_line

_MOST_FILES: Final = 200
_WAYS: Final = {os.O_RDONLY: "read", os.O_WRONLY: "write", os.O_RDWR: "read and write"}


def files_of(found: Found) -> str:
    """Say which files each of these processes has open, one process after the other."""
    return text_of_each(found, _open_files)


def _open_files(process: SeenProcess) -> list[str]:
    """Say which files a process has open, or why that can't be said: `3  read   62 % of 1200000 bytes  /data/a.tsv`."""
    directory = f"/proc/{process.pid}/fd"
    try:
        numbers = sorted(int(name) for name in os.listdir(directory))
        lines = [line for number in numbers[:_MOST_FILES] for line in _file(directory, number)]
    except PermissionError:
        return [not_allowed(process)]
    except OSError:
        return ["it is gone"]
    more = len(numbers) - _MOST_FILES
    return (lines or ["no open file"]) + ([f"and {more} more"] if more > 0 else [])


def _file(directory: str, number: int) -> Iterator[str]:
    path = f"{directory}/{number}"
    try:
        # `stat` follows what is open, and not its name, which may be another file's by now.
        target, found = os.readlink(path), os.stat(path)
        position, way = _place(f"{directory}info/{number}")
    except FileNotFoundError:
        return  # closed meanwhile
    share = ""
    if stat.S_ISREG(found.st_mode):
        share = (
            f"{100 * position / found.st_size:3.0f} % of {found.st_size} bytes" if found.st_size else "empty"
        )
    yield f"{number:3}  {way:14}  {share:28}  {safe_line(target)}"


def _place(path: str) -> tuple[int, str]:
    """How far it was read or written, and which of both it is open for."""
    with open(path, "rb") as file:
        # Below may stand what the process chose, such as the names of a ring's files.
        said = dict(line.split(b":", 1) for line in islice(file, 2))
    flags = int(said.get(b"flags", b"0"), 8)
    return int(said.get(b"pos", b"0")), _WAYS.get(flags & os.O_ACCMODE, "")


# By the kind of the request.
LOOKS: Final[Mapping[str, Callable[[Found], str]]] = {"stack": stacks_of, "files": files_of}
