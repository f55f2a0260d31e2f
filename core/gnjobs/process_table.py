"""The processes of this machine at one moment, as `/proc` tells them."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gnjobs.environment import ENV_CHILD, ENV_JOB

_LONGEST_COMMAND = 400
_MARKS = {f"{ENV_JOB}=".encode(): "job", f"{ENV_CHILD}=".encode(): "child"}


class TableEntry(NamedTuple):
    """One process: `started` in ticks since boot, `session` the pid of its session's leader."""

    pid: int
    parent: int
    session: int
    started: int
    state: str


class Mark(NamedTuple):
    """What a process's environment says of where it belongs."""

    job: str | None
    child: str | None


def read_entry(pid: int) -> TableEntry | None:
    """Read `/proc/<pid>/stat`; None where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20:
        return None
    return TableEntry(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0].decode())


def read_table() -> dict[int, TableEntry]:
    """All processes by pid."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return {entry.pid: entry for pid in pids if (entry := read_entry(pid)) is not None}


def read_mark(pid: int) -> Mark | None:
    """The marks in a process's environment; None where it can't be inspected."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except ProcessLookupError:
        return Mark(None, None)
    except OSError:
        return None
    if b"GNJOBS_" not in environ:
        return Mark(None, None)
    found: dict[str, str] = {}
    for variable in environ.split(b"\0"):
        for prefix, name in _MARKS.items():
            if variable.startswith(prefix):
                found[name] = variable[len(prefix) :].decode("utf-8", "surrogateescape")
    return Mark(found.get("job"), found.get("child"))


def read_command(pid: int) -> list[str]:
    """The words of a process's command line; a kernel thread and a zombie have none."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(65536).rstrip(b"\0").split(b"\0")
    except OSError:
        return []
    return [word.decode("utf-8", "surrogateescape") for word in words if word]


def command_text(pid: int) -> str:
    """A process's command line, cut to a readable length."""
    return " ".join(read_command(pid))[:_LONGEST_COMMAND]


def owner_of(pid: int) -> int | None:
    """The user id that a process runs as."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def descendants(table: dict[int, TableEntry], roots: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Pairs of a descendant and the root that it descends from, parents before children."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in table.values():
        children[entry.parent].append(entry.pid)
    seen = set(roots)
    waiting = [(child, root) for root in seen for child in children[root]]
    while waiting:
        pid, root = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            yield pid, root
            waiting += [(child, root) for child in children[pid]]


def ancestors_and_self() -> frozenset[int]:
    """Our own pid and those of all our ancestors: never to be signalled."""
    found = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        entry = read_entry(pid)
        pid = entry.parent if entry is not None else 0
    return frozenset(found | {1})
