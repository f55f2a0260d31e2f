"""Which files root believes, and reads for others: those that nobody else can have put where they are."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MOST_LINKS: Final = 40  # as many as the kernel follows
_LONGEST: Final = 64 * 1024


def is_roots(path: Path) -> bool:
    """Whether nobody but root can have written a file, or put it or a link on the way to it in its place."""
    try:
        return all(_only_root_writes(each) for each in _way_to(path))
    except OSError:
        return False


def read_for(account: str, path: Path) -> str:
    """Read a file for an account: as root one that nobody but root can have written, or that is the account's own.

    Whoever may write to a directory on the way can put a link to any file there, a pipe or a device.
    """
    from gnjobs.processes.host import user_id  # late: few configurations need it

    place = os.open(path, os.O_PATH)  # opens nothing yet: a pipe would wait, and a device act
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no file")
        if os.geteuid() == 0 and found.st_uid != user_id(account) and not is_roots(path):
            raise ValueError(f"neither is it {account}'s own, nor can only root have written it")
        with open(f"/proc/self/fd/{place}", encoding="utf-8", opener=_without_waiting) as file:
            return file.read(_LONGEST)
    finally:
        os.close(place)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, unless its owner keeps it from that by a lease."""
    return os.open(path, flags | os.O_NONBLOCK)


def _way_to(path: Path) -> Iterator[Path]:
    """Every directory and link that one goes through on the way to a file, and the file."""
    here, ahead, links = Path("/"), [*reversed(path.absolute().parts)], 0
    while ahead:
        part = ahead.pop()
        each = here.parent if part == ".." else here / part  # which "/" begins anew
        yield each
        if each.is_symlink() and links < _MOST_LINKS:
            ahead += reversed(Path(os.readlink(each)).parts)
            links += 1
        else:
            here = each


def _only_root_writes(path: Path) -> bool:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return found.st_uid == 0
    is_shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # In a sticky directory nobody replaces what is root's.
    return found.st_uid == 0 and not (is_shared and not found.st_mode & stat.S_ISVTX)
