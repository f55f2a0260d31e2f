"""Which files root believes, and reads for others: those that nobody else can have put where they are."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MOST_LINKS: Final = 40  # as many as the kernel follows
_LONGEST: Final = 64 * 1024
_SECONDS: Final = 2.0


def is_roots(path: Path) -> bool:
    """Whether nobody but root can have written a file, or put it or a link on the way to it in its place."""
    try:
        return all(_only_root_writes(each) for each in _way_to(path))
    except OSError:
        return False


def read_for(account: str, path: Path) -> str:
    """Read a file for an account: as root one that nobody but root can have written, or as the account what is its own.

    Whoever may write to a directory on the way can put a link there to any file, one of the account's number too that
    lies where it may not go, and to a pipe or a device.
    """
    from gnjobs.processes.host import user_id  # late: few configurations need it

    place = os.open(path, os.O_PATH)  # opens nothing yet: a pipe would wait, and a device act
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no file")
        if os.geteuid() != 0 or is_roots(path):
            with open(f"/proc/self/fd/{place}", encoding="utf-8", opener=_without_waiting) as file:
                return file.read(_LONGEST)
    finally:
        os.close(place)
    if found.st_uid != user_id(account):
        raise ValueError(f"neither is it {account}'s own, nor can only root have written it")
    return _read_as(account, path)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, unless its owner keeps it from that by a lease."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read_as(account: str, path: Path) -> str:
    import subprocess

    from gnjobs.records.environment import as_account

    begin = as_account(account)
    copying = ("dd", f"if={path.absolute()}", "iflag=nonblock", f"bs={_LONGEST}", "count=1", "status=none")
    try:
        done = subprocess.run(
            [*begin.words, *copying],
            env={**begin.env, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{account} takes more than {_SECONDS:.0f} s to read it") from None
    if done.returncode:
        raise ValueError(done.stderr.decode(errors="replace").strip().rpartition(": ")[2])
    return done.stdout.decode()


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
