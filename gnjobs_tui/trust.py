"""Which files root believes, and reads for others: those that nobody else can have put where they are."""

import contextlib
import os
import select
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gnjobs.processes.mounts import way_to
from gnjobs.records.actor import AgentStarts
from gnjobs.text import mask_secrets

_LONGEST: Final = 64 * 1024
_LONGEST_PROBLEM: Final = 200
_SECONDS: Final = 2.0
_ENDING_SECONDS: Final = 0.5


def is_roots(path: Path) -> bool:
    """Whether nobody but root can have written a file, or put it or a link on the way to it in its place."""
    try:
        return all(_only_root_writes(each) for each, _ in way_to(os.fsencode(path.absolute())))
    except OSError:
        return False


def with_urls(starts: Mapping[str, AgentStarts]) -> dict[str, AgentStarts]:
    """What an agent may start, with the URLs that stand in files: for nobody else is a program of the account run.

    Where one can't be read the entry says why: the account may change the file, and is to keep us from nothing.
    """
    read = dict(starts)
    for account, entry in starts.items():
        if entry.url_file is not None:
            try:
                read[account] = msgspec.structs.replace(entry, url=read_url(Path(entry.url_file), account))
            except (OSError, ValueError) as problem:
                read[account] = msgspec.structs.replace(entry, problem=str(problem))
    return read


def read_url(path: Path, account: str | None = None) -> str:
    """Read a server's URL in a file, for the jobs of an `account` perhaps; raises `ValueError` or `OSError`."""
    try:
        text = path.read_text(encoding="utf-8") if account is None else read_for(account, path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"url-file {path} can't be read: {why}") from error
    if not (url := text.strip()):
        raise ValueError(f"url-file {path} is empty")
    check_secret(path, url)
    return url


def check_secret(path: Path, url: str | None) -> None:
    """Refuse a password in a file that everybody can read: anybody who reads it can log in with it."""
    if url is not None and mask_secrets(url) != url and path.stat().st_mode & stat.S_IROTH:
        raise ValueError(f"{path} holds a password and everybody can read it: chmod o-r {path}")


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
    """Have a program of the account's read it, in a session of its own: the account can have it do anything else.

    That gets neither our terminal nor our directory, says no more than is read, and is not waited for.
    """
    import subprocess

    from gnjobs.records.accounts import as_account

    begin, until = as_account(account), time.monotonic() + _SECONDS
    copying = ("dd", f"if={path.absolute()}", "iflag=nonblock", f"bs={_LONGEST}", "count=1", "status=none")
    process = subprocess.Popen(
        [*begin.words, *copying],
        env={**begin.env, "LC_ALL": "C"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as pipe:
        said = _said_by(pipe.fileno(), until)
    try:
        code = process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # whoever traces it keeps it
            process.wait(_ENDING_SECONDS)
        raise ValueError(f"{account} takes more than {_SECONDS:.0f} s to read it") from None
    if code:
        raise ValueError(said.decode(errors="replace").strip().rpartition(": ")[2][:_LONGEST_PROBLEM])
    return said.decode()


def _said_by(pipe: int, until: float) -> bytes:
    """What comes from a pipe until it is closed, for so long, and as much as a file may hold."""
    said = b""
    while len(said) < _LONGEST and select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
        if not (data := os.read(pipe, _LONGEST - len(said))):
            break
        said += data
    return said


def _only_root_writes(path: bytes) -> bool:
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        return found.st_uid == 0
    is_shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # In a sticky directory nobody replaces what is root's.
    return found.st_uid == 0 and not (is_shared and not found.st_mode & stat.S_ISVTX)
