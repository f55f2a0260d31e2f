"""Finds the processes of a job that another program runs: by the command lines of its workers."""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from gnjobs.processes.find import OtherJobs, describe
from gnjobs.processes.mounts import KnownMounts, names_the_same
from gnjobs.processes.proc import read_command_line, words_of
from gnjobs.processes.seen import Found
from gnjobs.processes.table import ProcessView, descendants
from gnjobs.records import values
from gnjobs.records.fields import Job
from gnjobs.records.indexes import scan_steps
from gnjobs.records.keys import Keys
from gnjobs.records.layouts import ID, PREFIX
from gnjobs.records.reading import Records, fetch_listed
from gnjobs.records.statuses import FINAL_STATUSES, PENDING
from gnjobs.text import place_of

_ABOVE: Final = " > "
_COMMAND: Final = "<command>"
_RUNS_NOTHING: Final = FINAL_STATUSES | {PENDING}
_SERVER: Final = re.compile(r"(rediss?|unix)(\+sentinel)?://")
_NAMES: Final = re.compile(
    rb"(?<![^\x00])(?:(?:rediss?|unix)(?:\+sentinel)?://[^\x00]*|[^\x00]*:jobs(?![^\x00]))"
)
_MOST_NAMES: Final = 100  # of servers and prefixes, in one command line
_OF_OTHERS_TOO: Final = "runs the command of this job, and of others: whose it is can't be told"
_OF_SOME_SERVER: Final = "runs the command of this job: whether its server is ours can't be told"


def worker_processes_of(
    job: Job,
    store: Records,
    view: ProcessView | None = None,
    *,
    with_names: bool = False,
    is_shared: bool = False,
) -> Found:
    """Find the processes of a job that another program runs: its workers by their command lines, and what is below.

    The prefix's description has patterns of them. A word stands for itself, `*` for any one, `...` for any number of
    words, `<id>`, `<prefix>` and `<command>` for the job's; ` > ` stands between a parent and the worker that it
    started. A pattern without the id fits the processes of equal jobs alike: where it fits several, or there are such
    jobs (`is_shared`), none is touched. It counts for nothing where the job waits: what it fits then runs another one.
    A command line that names another server or prefix is none of the job's, nor is a process with a mark, or one in
    a container to which our server's URL names another; where that can't be told, it is named as hidden if it says the
    id. Below a worker, what says that it is of another job is not touched, and is named as hidden unless that job's
    supervisor is above it. For whoever acts for others, and where the record says that something else has run it, a
    pattern must hold prefix and id (`with_names`): the rest is what a record says.
    """
    keys, here = store.keys, place_of(store.url, "")
    view = view or ProcessView()
    found: dict[int, str | None] = {}
    doubted: dict[int, str] = {}
    known: KnownMounts = {}
    for pattern in keys.layout.workers:
        if (job.status == PENDING and ID not in pattern) or (
            with_names and not (ID in pattern and PREFIX in pattern)
        ):
            continue
        roots = {
            pid: is_same
            for pid in view.table
            if pid not in view.spared
            and _fits(pattern, pid, view, job, keys, here)
            and ((is_same := names_the_same(pid, store.url, known)) or (is_same is None and ID in pattern))
        }
        if (len(roots) > 1 or is_shared) and ID not in pattern:
            doubted |= dict.fromkeys(roots, _OF_OTHERS_TOO)
        else:
            found |= dict.fromkeys(pid for pid, is_same in roots.items() if is_same)
            doubted |= dict.fromkeys((pid for pid, is_same in roots.items() if not is_same), _OF_SOME_SERVER)
    below, claimed = _below(set(found), job, store, view)
    found |= dict.fromkeys(below)
    unsure = ((pid, why) for pid, why in doubted.items() if pid not in found)
    return msgspec.structs.replace(describe(view, found), hidden=(*claimed, *unsure))


def _below(
    workers: set[int], job: Job, store: Records, view: ProcessView
) -> tuple[list[int], list[tuple[int, str]]]:
    """What descends from the workers, and what does and says that it is of another job, with why that is doubted."""
    others, its = OtherJobs(view, store), list[int]()
    claimed: list[tuple[int, str]] = []
    for pid, _ in descendants(view.table, workers):
        if pid in view.spared:
            continue
        mark = view.owner_of_mark(pid)
        if mark is None or mark.job == job.id:
            its.append(pid)
        elif why := others.doubt(pid, workers):
            claimed.append((pid, why))
    return its, claimed


def is_shared(job: Job, store: Records) -> bool:
    """Whether another record of the prefix says that it runs the same command, and no id tells their workers apart."""
    keys = store.keys
    without_id = [pattern for pattern in keys.layout.workers if ID not in pattern]
    if not without_id:
        return False
    own = _words(job) if all(_COMMAND in pattern for pattern in without_id) else None
    for names in scan_steps(store.client, keys.scan_pattern()):
        ids = [job_id for job_id in keys.records(names) if job_id != job.id]
        others = (each for each in fetch_listed(store.client, keys, ids) if each is not None)
        if any(each.status not in _RUNS_NOTHING and own in (None, _words(each)) for each in others):
            return True
    return False


def _words(job: Job) -> str:
    return _joined(values.command_words(job.command))


def _fits(pattern: str, pid: int, view: ProcessView, job: Job, keys: Keys, here: str) -> bool:
    above, _, own = pattern.rpartition(_ABOVE)
    line = read_command_line(pid)
    if ID in own and job.id.encode() not in line:
        return False  # before it is taken apart: any account can have many and long ones
    expression = _pattern(own, job, keys)
    if not expression.fits(line) or view.owner_of_mark(pid) is not None:
        return False
    if ID in own and _is_elsewhere(line, keys, here):
        return False
    line_above = read_command_line(view.table[pid].parent) if above else b""
    return not above or (
        _pattern(above, job, keys).fits(line_above) and not _is_elsewhere(line_above, keys, here)
    )


def _is_elsewhere(line: bytes, keys: Keys, here: str) -> bool:
    """Whether a command line names another server, or the jobs of another prefix."""
    names = (each.group().decode("utf-8", "replace") for each in islice(_NAMES.finditer(line), _MOST_NAMES))
    return any(place_of(name, "") != here if _SERVER.match(name) else name != keys.jobs for name in names)


def _joined(words: Iterable[str]) -> str:
    return "".join(f"{word}\0" for word in words if word)


class _Expression(NamedTuple):
    """What a whole command line is to be, each word with a NUL at its end; `most` is how many words decide it."""

    words: re.Pattern[str]
    most: int | None = None

    def fits(self, line: bytes) -> bool:
        """Whether a command line is so: any account can have many and long ones, so only its end is taken apart."""
        while b"\0\0" in line:
            line = line.replace(b"\0\0", b"\0")
        last = line if self.most is None else b"\0".join(line.rsplit(b"\0", self.most)[-self.most :])
        return self.words.fullmatch(_joined(words_of(last))) is not None


def _pattern(pattern: str, job: Job, keys: Keys) -> _Expression:
    return _expression(pattern, job.id, job.command, keys.jobs)


@lru_cache(maxsize=64)
def _expression(pattern: str, job_id: str, job_command: str | None, jobs_key: str) -> _Expression:
    command = _joined(values.command_words(job_command))
    if pattern.startswith(_COMMAND) and not command:
        return _Expression(re.compile(r"(?!)"), 1)
    known = {ID: f"{job_id}\0", PREFIX: f"{jobs_key}\0", _COMMAND: command}
    special = {"*": r"[^\x00]+\x00", "...": r"(?:[^\x00]+\x00)*"}
    told = pattern.split()
    words = [special.get(word) or re.escape(known.get(word, f"{word}\0")) for word in told]
    before = "" if pattern.startswith(_COMMAND) else special["..."]
    count = sum(command.count("\0") if word == _COMMAND else 1 for word in told)
    # Where nothing may stand before, one word more decides that.
    return _Expression(re.compile(before + "".join(words)), None if "..." in told else count + (not before))
