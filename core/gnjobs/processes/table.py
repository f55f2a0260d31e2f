"""The processes of this machine at one moment, as `/proc` tells them."""

import errno
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from gnjobs.records.environment import (
    ENV_CHILD,
    ENV_JOB,
    ENV_MARK,
    ENV_OWNER,
    ENV_PREFIX,
    ENV_URL,
    digest_of_mark,
)
from gnjobs.text import mask_secrets, place_of, socket_path


def process_start(pid: int) -> int | None:
    """Read field 22 of `/proc/<pid>/stat`, ticks since the machine started; None where there is no such process.

    A pid and this number together name a process for as long as the machine runs: a reused pid has another one.
    """
    fields = _read_stat(f"/proc/{pid}/stat")
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None


_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
ENDED_STATES: Final = frozenset("ZX")
_LONGEST_COMMAND = 400
_LONGEST_ENVIRONMENT = 2 * 1024 * 1024  # what a system gives a new program by default
_LONGEST_VALUE = 4096
# Whoever may make namespaces can have many, with many mounts: of more, a look knows no more than that they differ.
_LONGEST_MOUNTS, _MOST_NAMESPACES = 256 * 1024, 100
_MARKS = (
    (ENV_JOB, "job"),
    (ENV_CHILD, "child"),
    (ENV_MARK, "token"),
    (ENV_OWNER, "owner"),
    (ENV_URL, "url"),
    (ENV_PREFIX, "prefix"),
)


class TableEntry(NamedTuple):
    """One process: `started` in ticks since boot, `session` the pid of its session's leader."""

    pid: int
    parent: int
    session: int
    started: int
    state: str


class Mark(NamedTuple):
    """What a process's environment says of where it belongs.

    `token` is a digest of its supervisor's, `owner` whom the job was launched for, `place` server and prefix.
    """

    job: str | None
    child: str | None
    token: str | None = None
    owner: str | None = None
    place: str | None = None


class Wanted(NamedTuple):
    """What the marks of a job's processes must say, so that records which are forged or copied lead to no others.

    None: that is not known to who only watches; an empty `token`: the record has none. `place` is the server and prefix
    of who looks, `uid` that of the job's account.
    """

    job: str
    token: str | None = None
    place: str | None = None
    owner: str | None = None
    uid: int | None = None

    def matches(self, mark: Mark) -> bool:
        """Whether a mark may be of this job: enough for what descends from it, which may have lost the token."""
        return (
            mark.job == self.job
            and (self.token is None or mark.token in (None, self.token))
            and self.place in (None, mark.place)
            and self.owner in (None, mark.owner)
        )

    def covers(self, pid: int, mark: Mark) -> bool:
        """Whether a mark alone shows a process to be of this job.

        Without the token, which only its account can read, it counts for processes of that account: anybody can know
        the rest.
        """
        if not self.matches(mark):
            return False
        if self.token is not None and mark.token == self.token:
            return True
        if self.uid is None:
            return self.token is None
        return owners_of(pid)[1:2] == (self.uid,)  # the real one: anybody can run what is setuid

    def is_claimed_by(self, mark: Mark) -> bool:
        """Whether a mark says this job's token, or its id here: what else it and the record say, its code can write."""
        is_here = self.place is not None and (mark.job, mark.place) == (self.job, self.place)
        return is_here or (mark.token is not None and mark.token == self.token)


def read_entry(pid: int) -> TableEntry | None:
    """Read `/proc/<pid>/stat`; None where there is no such process.

    A process whose first thread has ended looks like a zombie there while its other threads run: its state is theirs.
    """
    fields = _read_stat(f"/proc/{pid}/stat")
    if len(fields) < 20:
        return None
    state = fields[0].decode()
    if state in ENDED_STATES and int(fields[17]) > 1:
        state = next(_living_threads(pid), ("", state))[1]
    return TableEntry(pid, int(fields[1]), int(fields[3]), int(fields[19]), state)


def _read_stat(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().rpartition(b")")[2].split()  # the name before it may hold spaces and brackets
    except OSError as error:
        return _nothing_of(error)


def _nothing_of(error: OSError) -> list[Any]:
    """Nothing, of a process that is gone or not shown; where we have no room to look, that is no answer."""
    if error.errno in _NO_ROOM:
        raise error
    return []


def _living_threads(pid: int) -> Iterator[tuple[str, str]]:
    """Folder and state of each thread that has not ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        fields = _read_stat(f"/proc/{pid}/task/{thread}/stat")
        if fields and (state := fields[0].decode()) not in ENDED_STATES:
            yield f"/proc/{pid}/task/{thread}", state


def list_pids() -> list[int]:
    """The pid of every process, as far as it is shown to us."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


# Device, root and place of each mount, by mount namespace and root directory, as one look has seen them.
Mounts = dict[tuple[str, str], list[list[bytes]]]


def read_mark(pid: int, mounts: Mounts | None = None) -> Mark | None:
    """The marks in a process's environment; None where it can't be inspected.

    `mounts` are those that one look has read so far.
    """
    try:
        environ = _read_of_process(pid, "environ")
    except OSError:
        return None
    if b"GNJOBS_" not in environ:
        return Mark(None, None)
    said = ((name, _variable(environ, variable)) for variable, name in _MARKS)
    found = {name: value for name, value in said if value is not None}
    if "token" in found:
        found["token"] = digest_of_mark(found["token"])
    url, key_prefix = found.pop("url", None), found.pop("prefix", None)
    place = None if url is None or key_prefix is None else place_of(url, key_prefix)
    if url is not None and place is not None and not names_the_same(pid, url, mounts):
        place = f"another namespace's {place}"
    return Mark(found.pop("job", None), found.pop("child", None), **found, place=place)


def names_the_same(pid: int, url: str, mounts: Mounts | None = None) -> bool:
    """Whether a server's URL names the same to a process as to us: a port in one network, a socket below equal mounts.

    The kernel's tables say so: a look at the files that another process sees may hang for ever. What we may not
    inspect, and so not signal either, is thought to have the same.
    """
    folder, path = f"/proc/{pid}", socket_path(url)
    if _read_stat(f"{folder}/stat")[:1] == [b"Z"]:
        folder = next((thread for thread, _ in _living_threads(pid)), folder)
    names = ("ns/net",) if path is None else ("ns/mnt", "root")
    try:
        if all(os.readlink(f"{folder}/{name}") == os.readlink(f"/proc/self/{name}") for name in names):
            return True
        if path is None:
            return False
        known = {} if mounts is None else mounts
        above = _mounts_above(path, folder, known)
        return above != [] and above == _mounts_above(path, "/proc/self", known)
    except PermissionError:
        return True
    except OSError:
        return False


def _mounts_above(path: str, folder: str, known: Mounts) -> list[list[bytes]]:
    """Device, root and place of each mount on the way to a path, as a process sees them; none of too many."""
    spaces = os.readlink(f"{folder}/ns/mnt"), os.readlink(f"{folder}/root")
    if spaces not in known:
        known[spaces] = _read_mounts(folder) if len(known) < _MOST_NAMESPACES else []
    way = {_escaped(each) for each in (path, *map(str, Path(path).parents))}
    return [mount for mount in known[spaces] if mount[-1] in way]


def _read_mounts(folder: str) -> list[list[bytes]]:
    with open(f"{folder}/mountinfo", "rb") as file:
        lines = file.read(_LONGEST_MOUNTS).split(b"\n")
    return [] if lines[-1] else [line.split(b" ")[2:5] for line in lines[:-1]]


def _escaped(path: str) -> bytes:
    """A path as `mountinfo` has it."""
    return re.sub(rb"[ \t\n\\]", lambda found: b"\\%03o" % ord(found.group()), os.fsencode(path))


def _variable(environ: bytes, name: str) -> str | None:
    """The beginning of a variable's first value, at the pace of memory: an environment may be 8 MB of anything."""
    beginning = f"{name}=".encode()
    if environ.startswith(beginning):
        start = len(beginning)
    elif (before := environ.find(b"\0" + beginning)) >= 0:
        start = before + 1 + len(beginning)
    else:
        return None
    return environ[start : start + _LONGEST_VALUE].partition(b"\0")[0].decode("utf-8", "replace")


def _read_of_process(pid: int, name: str) -> bytes:
    """Read a file about a process's memory, through another thread where the first has ended; empty when it is gone."""
    content = _read_or_nothing(f"/proc/{pid}/{name}")
    if content or _read_stat(f"/proc/{pid}/stat")[:1] != [b"Z"]:
        return content
    folder = next(_living_threads(pid), None)
    return b"" if folder is None else _read_or_nothing(f"{folder[0]}/{name}")


def _read_or_nothing(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST_ENVIRONMENT)
    except (ProcessLookupError, FileNotFoundError):
        return b""


def read_command(pid: int) -> list[str]:
    """The words of a process's command line, what is not UTF-8 replaced; a kernel thread and a zombie have none."""
    try:
        words = _read_of_process(pid, "cmdline")[:65536].rstrip(b"\0").split(b"\0")
    except OSError:
        return []
    return [word.decode("utf-8", "replace") for word in words if word]


def command_text(pid: int) -> str:
    """A process's command line without passwords, cut to a readable length."""
    return mask_secrets(" ".join(read_command(pid)))[:_LONGEST_COMMAND]


def owners_of(pid: int) -> tuple[int, ...]:
    """The user ids of a process: effective, real, saved, of the file system; empty when it is gone.

    The owner of its files in `/proc` is no answer: those of a process that forbids to be inspected are root's.
    """
    numbers = _status_numbers(pid, b"Uid:")
    if not numbers:
        return ()
    real, effective, *others = numbers
    return effective, real, *others


def inner_pid(pid: int) -> int | None:
    """The pid of a process in its own pid namespace, where that is another one than ours."""
    numbers = _status_numbers(pid, b"NSpid:")
    return numbers[-1] if len(numbers) > 1 else None


def _status_numbers(pid: int, name: bytes) -> list[int]:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            line = next((line for line in file if line.startswith(name)), b"")
    except OSError as error:
        return _nothing_of(error)
    return [int(word) for word in line.split()[1:]]


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


_MOST_PASSES: Final = 50


class ProcessView:
    """The processes that have not ended: `table` and `marks` by pid (None: it can't be inspected).

    `spared` are this process and its ancestors, which are nobody's to end. The marks of those that an `earlier` view
    knows are taken from there, which is quicker and may miss that a process now runs another program.
    """

    def __init__(self, earlier: "ProcessView | None" = None) -> None:
        self._earlier = earlier
        self.table: dict[int, TableEntry] = {}
        self.marks: dict[int, Mark | None] = {}
        self.spared = ancestors_and_self()
        self._mounts: Mounts = {}
        self._read()
        self._earlier = None

    def _read(self) -> None:
        """Read until no new process has appeared meanwhile: one that forks and ends at once must not slip through."""
        seen: set[int] = set()
        for _ in range(_MOST_PASSES):
            new = [pid for pid in list_pids() if pid not in seen]
            if not new:
                return
            seen.update(new)
            for pid in new:
                self._read_one(pid)

    def _read_one(self, pid: int) -> None:
        known = self._earlier.table.get(pid) if self._earlier is not None else None
        mark = read_mark(pid, self._mounts) if known is None else None
        entry = read_entry(pid)
        if entry is None or entry.state in ENDED_STATES:
            return
        if known is not None and self._earlier is not None:
            is_same = known.started == entry.started
            mark = self._earlier.marks[pid] if is_same else read_mark(pid, self._mounts)
        self.table[pid] = entry
        self.marks[pid] = mark

    def has(self, pid: int | None, started: int | None) -> bool:
        """Whether this very process is there: a start in one boot and namespace is that of no other."""
        entry = self.table.get(pid) if pid else None
        return entry is not None and entry.started == started

    def owner_of_mark(self, pid: int) -> Mark | None:
        """The innermost mark of a job above or at a process, as far as marks can be read."""
        marks = (self.marks[each] for each in self.lineage(pid))
        return next((mark for mark in marks if mark is not None and mark.job is not None), None)

    def lineage(self, pid: int) -> Iterator[int]:
        """Yield a process and its ancestors, the nearest first."""
        for _ in self.table:  # pids are read one after the other: what they say may go round in a circle
            if pid not in self.table:
                return
            yield pid
            pid = self.table[pid].parent
