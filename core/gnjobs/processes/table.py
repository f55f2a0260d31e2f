"""The processes of this machine at one moment, and what the mark of each says of where it belongs."""

import math
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gnjobs.errors import NoProcesses
from gnjobs.processes.mounts import KnownMounts, names_the_same
from gnjobs.processes.proc import (
    ENDED_STATES,
    TableEntry,
    is_thread,
    list_pids,
    newest_pid,
    owners_of,
    process_start,
    read_entry,
    read_environment,
    shows_our_processes,
)
from gnjobs.records.environment import (
    ENV_CHILD,
    ENV_JOB,
    ENV_MARK,
    ENV_OWNER,
    ENV_PREFIX,
    ENV_URL,
    digest_of_mark,
)
from gnjobs.text import place_of

_LONGEST_VALUE = 4096
# A new program is given less than the second.
_LONG_ENVIRONMENT, _LONGEST_ENVIRONMENT = 64 * 1024, 8 * 1024 * 1024
_MOST_LONG = 64 * 1024 * 1024  # bytes of long environments, of an account
_MARKS = (
    (ENV_JOB, "job"),
    (ENV_CHILD, "child"),
    (ENV_MARK, "token"),
    (ENV_OWNER, "owner"),
    (ENV_URL, "url"),
    (ENV_PREFIX, "prefix"),
)
_OTHER_SPACE = "another namespace's"
_UNREAD_SPACE = "an unread namespace's"
_SIDE_BY_SIDE = (ENV_MARK, ENV_JOB, ENV_URL, ENV_PREFIX)


class Mark(NamedTuple):
    """What a process's environment says of where it belongs.

    `token` is a digest of its supervisor's, `owner` whom the job was launched for, `place` server and prefix.
    """

    job: str | None
    child: str | None
    token: str | None = None
    owner: str | None = None
    place: str | None = None

    @property
    def may_be_elsewhere(self) -> bool:
        """Whether it can't be told if its server is ours: too many namespaces of its account may have come before."""
        return (self.place or "").startswith(_UNREAD_SPACE)


# Of what lives and shows no environment, or more of it than is read: it may say anything.
UNREAD: Final = Mark(None, None, place="unread")


class Wanted(NamedTuple):
    """What the marks of a job's processes must say, so that records which are forged or copied lead to no others.

    None: whoever only watches does not know it; an empty `token`: the record has none. `place` is the server and prefix
    of whoever looks, `uid` that of the job's account.
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
        """Whether a mark says this job's token, or its id here: the rest is what its code chooses."""
        here = (self.place, f"{_UNREAD_SPACE} {self.place}")  # it may be
        is_here = self.place is not None and mark.job == self.job and mark.place in here
        return is_here or (mark.token is not None and mark.token == self.token)


class LookSoFar:
    """How much one look has read of what any account can make long: bounded for each account by itself."""

    def __init__(self) -> None:
        self.mounts: KnownMounts = {}
        self._long: Counter[tuple[int, ...]] = Counter()

    def environment(self, pid: int) -> tuple[bytes | None, bool]:
        """A process's environment, None where it is not shown, and whether that is all of it."""
        environ = read_environment(pid, _LONG_ENVIRONMENT)
        if environ is None or len(environ) < _LONG_ENVIRONMENT:
            return environ, True
        account = owners_of(pid)[1:2]  # the real one, as anybody can run what is setuid
        if self._long[account] >= _MOST_LONG:
            return environ, False
        environ = read_environment(pid, _LONGEST_ENVIRONMENT)
        self._long[account] += len(environ or b"")
        return environ, len(environ or b"") < _LONGEST_ENVIRONMENT


def read_mark(pid: int, so_far: LookSoFar | None = None) -> Mark | None:
    """The marks in a process's environment; None where it can't be inspected.

    Of one that is too long its beginning is enough where that has all that a supervisor puts side by side.
    """
    so_far = so_far or LookSoFar()
    try:
        environ, is_whole = so_far.environment(pid)
    except OSError:
        return None
    if environ is None or not (is_whole or all(_variable(environ, name) for name in _SIDE_BY_SIDE)):
        return UNREAD
    if b"GNJOBS_" not in environ:
        return Mark(None, None)
    said = ((name, _variable(environ, variable)) for variable, name in _MARKS)
    found = {name: value for name, value in said if value is not None}
    if "token" in found:
        found["token"] = digest_of_mark(found["token"])
    url, key_prefix = found.pop("url", None), found.pop("prefix", None)
    place = None if url is None or key_prefix is None else place_of(url, key_prefix)
    if url is not None and place is not None and not (is_same := names_the_same(pid, url, so_far.mounts)):
        place = f"{_UNREAD_SPACE if is_same is None else _OTHER_SPACE} {place}"
    return Mark(found.pop("job", None), found.pop("child", None), **found, place=place)


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


def descendants(table: dict[int, TableEntry], roots: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Pairs of a descendant and the root that it descends from, parents before children.

    A process that has ended since it was read is nobody's parent here: another one may have had its pid when the others
    were read. Each must still have the parent that was read, or have ended, as all do of a chain that forks and ends.
    """
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in table.values():
        children[entry.parent].append(entry.pid)
    seen = set(roots)
    waiting = [(root, root) for root in seen]
    while waiting:
        parent, root = waiting.pop()
        if not children[parent] or process_start(parent) != table[parent].started:
            continue
        for pid in children[parent]:
            if pid not in seen and _is_still_below(table[parent], table[pid]):
                seen.add(pid)
                waiting.append((pid, root))
                yield pid, root


def _is_still_below(parent: TableEntry, entry: TableEntry) -> bool:
    """Whether this very process is there, below the same parent, or was until it ended: one that is older was not."""
    now = read_entry(entry.pid)
    has_ended = now is None or now.started != entry.started or now.state in ENDED_STATES
    return entry.started >= parent.started if has_ended else now is not None and now.parent == entry.parent


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
_NOTHING_NEW: Final = 10
_MOST_SECONDS: Final = 1.0
_MOMENT: Final = 0.01


def require_our_processes() -> None:
    """Raise `NoProcesses` where pids in `/proc` are not ours: other processes with the same pids would be signalled."""
    if not shows_our_processes():
        raise NoProcesses("/proc does not show the processes of this pid namespace: mount it anew")


class ProcessView:
    """The processes that have not ended: `table` and `marks` by pid (None: it can't be inspected).

    `spared` are this process and its ancestors, which are nobody's to end. The marks of those that an `earlier` view
    knows are taken from there, which is quicker and may miss that a process now runs another program. Raises
    `NoProcesses`.
    """

    def __init__(self, earlier: "ProcessView | None" = None) -> None:
        require_our_processes()
        self._earlier = earlier
        self.table: dict[int, TableEntry] = {}
        self.marks: dict[int, Mark | None] = {}
        self.spared = ancestors_and_self()
        self._so_far = LookSoFar()
        self._read()
        self._earlier = None

    def _read(self) -> None:
        """Read until no new process has appeared meanwhile: one that forks and ends at once must not slip through.

        What showed nothing is read once more, a moment later: most programs that begin do so within it.
        """
        seen: set[int] = set()
        until = math.inf
        for _ in range(_MOST_PASSES):
            new = [pid for pid in list_pids() if pid not in seen]
            self._read_all(new)
            seen.update(new)
            if not new or time.monotonic() > until:
                break
            # However long it took to read what there was: what has begun meanwhile is read, too.
            until = min(until, time.monotonic() + _MOST_SECONDS)
        self._read_newest(seen)
        if unread := [pid for pid, mark in self.marks.items() if mark == UNREAD]:
            time.sleep(_MOMENT)
            self._read_all(unread)

    def _read_newest(self, seen: set[int]) -> None:
        """Read the newest process for as long as it is another one each time: it has ended before any list is read."""
        known = 0
        for _ in range(_MOST_PASSES):
            pid = newest_pid()
            known = known + 1 if pid in seen else 0
            if known == _NOTHING_NEW:
                return
            if not known:
                seen.add(pid)
                self._read_all([pid])
                if pid in self.table and is_thread(pid):
                    del self.table[pid], self.marks[pid]

    def _read_all(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self.table.pop(pid, None)
            self.marks.pop(pid, None)
            entry = read_entry(pid)
            if entry is not None and entry.state not in ENDED_STATES:
                self.marks[pid] = self._mark_of(entry)
                self.table[pid] = entry

    def _mark_of(self, entry: TableEntry) -> Mark | None:
        known = self._earlier
        if known is not None and known.has(entry.pid, entry.started) and known.marks[entry.pid] != UNREAD:
            return known.marks[entry.pid]
        return read_mark(entry.pid, self._so_far)

    def has(self, pid: int | None, started: int | None) -> bool:
        """Whether this very process is there: a start in one boot and namespace is that of no other."""
        entry = self.table.get(pid) if pid else None
        return entry is not None and entry.started == started

    def owner_of_mark(self, pid: int) -> Mark | None:
        """The innermost mark of a job above or at a process, as far as marks can be read."""
        marks = (self.marks[each] for each in self.lineage(pid))
        return next((mark for mark in marks if mark is not None and mark.job is not None), None)

    def lineage(self, pid: int) -> Iterator[int]:
        """Yield a process and its ancestors, the nearest first; none that is younger, and so has a pid of before."""
        below = sys.maxsize
        for _ in self.table:  # pids are read one after the other: what they say may go round in a circle
            entry = self.table.get(pid)
            if entry is None or entry.started > below:
                return
            yield pid
            pid, below = entry.parent, entry.started
