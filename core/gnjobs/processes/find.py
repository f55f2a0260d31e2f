"""Finds the processes of a job: by the mark in their environment, and by descent where a mark was lost."""

from collections.abc import Collection, Iterator
from itertools import takewhile

import msgspec
from redis.exceptions import RedisError

from gnjobs.processes.host import account_name, pids_count_here, user_id
from gnjobs.processes.proc import (
    ENDED_STATES,
    command_text,
    inner_pid,
    owners_of,
    read_command,
    read_entry,
)
from gnjobs.processes.seen import Found, Identity, SeenProcess
from gnjobs.processes.table import LookSoFar, Mark, ProcessView, Wanted, descendants, read_mark
from gnjobs.records.environment import digest_of_mark
from gnjobs.records.fields import Job
from gnjobs.records.keys import is_id
from gnjobs.records.reading import Records, fetch_job
from gnjobs.text import place_of

SUPERVISOR_MODULE = "gnjobs.supervisor"
_LENGTH_OF_MARK, _LENGTH_OF_DIGEST = 32, 64


def wanted_of(job: Job, store: Records | None = None, owner: str | None = None) -> Wanted:
    """What the marks of the job's processes say; without its `store`, as for mere watching, on any server."""
    place = None if store is None else place_of(store.url, store.keys.prefix)
    # Records of an earlier version hold the mark itself.
    token = digest_of_mark(job.mark) if job.mark and len(job.mark) == _LENGTH_OF_MARK else job.mark
    token = token and token[:_LENGTH_OF_DIGEST]
    if store is not None and token is None:
        token = ""  # whoever may signal takes no mark with a token for that of a record without
    return Wanted(job.id, token, place, owner, None if job.account is None else user_id(job.account))


def processes_of(
    wanted: Wanted,
    child_id: str | None = None,
    *,
    supervisor: Identity | None = None,
    view: ProcessView | None = None,
    store: Records | None = None,
) -> Found:
    """Find the processes of a job, or of one of its children alone.

    A process belongs to its innermost mark; one without a mark, or whose mark can't be read, to where it descends
    from: the nearest marked process, its session's leader, or the `supervisor` (pid and start, which must match).
    That supervisor is left out, with what it has started for itself, and so are this process and its ancestors. What
    descends from it and says that it is of another job is believed where the `store` shows that job's supervisor above
    it, and else named as hidden.
    """
    search = _Search(wanted, view or ProcessView(), supervisor, store)
    found = describe(
        search.view, {pid: child for pid, child in search.members().items() if child_id in (None, child)}
    )
    hidden = tuple(search.doubted) if child_id is None else ()
    return msgspec.structs.replace(found, hidden=hidden, job=wanted.job)


def claimants(wanted: Wanted, child_id: str | None, store: Records) -> tuple[SeenProcess, ...]:
    """What claims to be of a job, or of one of its children alone: nobody may signal it for that."""
    view = ProcessView()
    found = (
        Found() if child_id is None else processes_of(Wanted(wanted.job), child_id, view=view, store=store)
    )
    inherited = {each.pid for each in found.processes}
    claims = {
        pid: child_id or mark.child
        for pid, mark in claiming(wanted, view)
        if pid in inherited or child_id in (None, mark.child)
    }
    return describe(view, claims).processes


def claiming(wanted: Wanted, view: ProcessView) -> Iterator[tuple[int, Mark]]:
    """Yield what claims to be of the job, apart from its supervisor and from whoever looks."""
    for pid, mark in view.marks.items():
        if mark is None or pid in view.spared or not wanted.is_claimed_by(mark):
            continue
        if mark.token not in (None, wanted.token) or SUPERVISOR_MODULE not in read_command(pid):
            yield pid, mark


def is_supervisor(pid: int | None, started: int | None, wanted: Wanted, *, unreadable: bool = True) -> bool:
    """Whether this is the living supervisor of the job: the start, the command and the mark must all agree.

    The mark of another account's process can't be read; its pid and start are enough for whoever only watches or asks
    (`unreadable`), since no other process has both.
    """
    entry = read_entry(pid) if pid else None
    if pid is None or entry is None or entry.state in ENDED_STATES or entry.started != started:
        return False
    mark = read_mark(pid)
    is_its_mark = unreadable if mark is None else wanted.covers(pid, mark)
    return is_its_mark and SUPERVISOR_MODULE in read_command(pid)


def supervisor_here(job: Job, wanted: Wanted) -> Identity | None:
    """The pid and start of the job's living supervisor, from which descent counts; None where that is not sure."""
    pid, started = job.supervisor_pid, job.supervisor_started
    is_it = pids_count_here(job) and is_supervisor(pid, started, wanted, unreadable=False)
    return (pid, started) if is_it and pid is not None and started is not None else None


def supervisor_process(supervisor: Identity, wanted: Wanted) -> Found:
    """The job's supervisor (pid and start) as a process to be ended, or nothing where it is another one or gone."""
    pid, started = supervisor
    if not is_supervisor(pid, started, wanted, unreadable=False):
        return Found()
    return Found((_see(pid, started, None, "S"),), marks={pid: read_mark(pid)})


class OtherJobs:
    """Tells whether what says that it is of another job is believed: below that job's supervisor alone."""

    def __init__(self, view: ProcessView, store: Records | None) -> None:
        self._view = view
        self._store = store
        self._supervisors: dict[str, int | None] = {}

    def doubt(self, pid: int, roots: Collection[int] = ()) -> str | None:
        """Why nothing but its own word shows of which job a process is; None where that job's supervisor is above it.

        Only what stands below the `roots` counts.
        """
        mark = self._view.owner_of_mark(pid)
        job_id = (mark and mark.job) or ""
        between = set(takewhile(lambda each: each not in roots, self._view.lineage(pid)))
        return None if self._supervisor(job_id) in between else f"says that it is of job {job_id:.80}"

    def _supervisor(self, job_id: str) -> int | None:
        """The pid of the supervisor that the job's record names, and that lives here."""
        if job_id not in self._supervisors:
            self._supervisors[job_id] = None if self._store is None else _supervisor_of(job_id, self._store)
        return self._supervisors[job_id]


def _supervisor_of(job_id: str, store: Records) -> int | None:
    try:
        job = fetch_job(store.client, store.keys, job_id) if is_id(job_id) else None
    except RedisError:
        return None
    found = None if job is None else supervisor_here(job, wanted_of(job, store))
    return None if found is None else found[0]


class _Search:
    """One search for the processes of one job."""

    def __init__(
        self, wanted: Wanted, view: ProcessView, supervisor: Identity | None, store: Records | None
    ) -> None:
        self.wanted = wanted
        self.view = view
        self.others = OtherJobs(view, store)
        self.supervisor = supervisor[0] if supervisor is not None and view.has(*supervisor) else None
        self.doubted: list[tuple[int, str]] = []
        self.roots: set[int] = set()

    def members(self) -> dict[int, str | None]:
        """Pid → child of every process that belongs to the job, those included that can't be inspected."""
        self._read_again()
        marked = {
            pid: mark.child
            for pid, mark in self.view.marks.items()
            if mark is not None and self.wanted.covers(pid, mark) and pid != self.supervisor
        }
        members: dict[int, str | None] = dict(marked)
        self.roots = {*marked, *([] if self.supervisor is None else [self.supervisor])}
        for pid, _ in descendants(self.view.table, self.roots):
            if not (self._is_supervisors(pid) or self._is_foreign(pid)):
                members[pid] = self._child_of(pid, members, marked)
        return {pid: child for pid, child in members.items() if pid not in self.view.spared}

    def _read_again(self) -> None:
        """Read of what bears the job's token where its server is, however many namespaces its account has."""
        so_far = LookSoFar()
        for pid, mark in self.view.marks.items():
            if mark is not None and mark.may_be_elsewhere and mark.token == self.wanted.token:
                self.view.marks[pid] = read_mark(pid, so_far)

    def _is_supervisors(self, pid: int) -> bool:
        """Whether the supervisor has started it for itself: a job begins in another session, and nothing enters one."""
        table = self.view.table
        return self.supervisor is not None and table[pid].session == table[self.supervisor].session

    def _is_foreign(self, pid: int) -> bool:
        """Whether a descendant belongs to another job: to its own mark, or to the other job's process above it."""
        mark = self.view.owner_of_mark(pid)
        if mark is None or self.wanted._replace(place=None).matches(mark):
            return False
        if mark.token is not None and mark.token == self.wanted.token:
            return False
        if pid not in self.view.spared and (why := self.others.doubt(pid, self.roots)):
            self.doubted.append((pid, why))
        return True

    def _child_of(
        self, pid: int, members: dict[int, str | None], marked: dict[int, str | None]
    ) -> str | None:
        entry = self.view.table[pid]
        if members.get(entry.parent) is not None:
            return members[entry.parent]
        return marked.get(entry.session)


def describe(view: ProcessView, wanted: dict[int, str | None]) -> Found:
    """What was found, given the job's pids, each with its child."""
    entries = [(view.table[pid], child) for pid, child in sorted(wanted.items())]
    seen = tuple(_see(entry.pid, entry.started, child, entry.state) for entry, child in entries)
    return Found(seen, marks={process.pid: view.marks[process.pid] for process in seen})


def _see(pid: int, started: int, child: str | None, state: str) -> SeenProcess:
    owners = owners_of(pid)
    account = account_name(owners[0]) if owners else None
    return SeenProcess(
        pid, started, child, state, command=command_text(pid), account=account, inner_pid=inner_pid(pid)
    )
