"""The names of everything in Redis: built, parsed back, and checked, here and nowhere else."""

import re
import uuid
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

from gnjobs.errors import InvalidName
from gnjobs.records.layouts import LAYOUTS, OWN_KEY, Layout, layout_of

DEFAULT_PREFIX = "gn-uploader"
DRY_RUN_PREFIX = "gnjobs-dry-run"  # of keys that no server has: see `runtime.dry_run`
RESERVED_IDS = frozenset({"output", "control", "answers", "children", "processes"})
CHILD_FIELD = "child:"
# In a record of another program's that a supervisor of ours runs: the fields for what it prints, the words that the
# other program understands (see `records.scripts`), and our own word for the status.
MIRROR_FIELD = "mirror-output"
WORDS_FIELD = "old-words"
OWN_STATUS = "own-status"
# How long keys live (seconds): those of a job that may run, and those of one that has ended.
MONTH = 30 * 86400
WEEK = 7 * 86400

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_IDS = re.compile(rf"{_ID.pattern}(?:\n{_ID.pattern})*")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_NEVER_TOLD = (b":output", b":processes", b":control", b":answers")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}")


class KeyPart(StrEnum):
    """A sort of keys, as the glob behind the prefix that matches them."""

    EVERYTHING = ":*"
    USER_JOBS = ":users:*:jobs"
    USER_REQUESTS = ":users:*:requests"
    HOST_AGENT = ":hosts:*:agent"
    HOST_CONTROL = ":hosts:*:control"
    HOST_STARTS = ":hosts:*:starts"
    HOST_LOAD = ":hosts:*:load"


KeyKind = Literal["record", "output", "child", "child-output", "processes", "control", "answers", "foreign"]


class JobKey(NamedTuple):
    """What a key below `P:jobs:` names; `foreign` is a key inside a job that is none of ours."""

    kind: KeyKind
    job_id: str
    child_id: str | None = None


def new_job_id() -> str:
    """Make a job id that nobody has: a UUID4."""
    return str(uuid.uuid4())


def is_id(text: str) -> bool:
    """Tell whether the text may be a job's or a child's id."""
    return _ID.fullmatch(text) is not None and text not in RESERVED_IDS


def ids_among(names: Sequence[bytes]) -> list[str]:
    """The names that may be ids, as text."""
    # Most often all of them may, which is seen at once in a third of the time.
    texts = b"\n".join(names).decode("utf-8", "surrogateescape").split("\n")
    if len(texts) == len(names) and _are_ids(texts):
        return texts
    return [text for name in names if is_id(text := name.decode("utf-8", "surrogateescape"))]


def _are_ids(texts: Sequence[str]) -> bool:
    joined = "\n".join(texts)
    is_one_each = joined.count("\n") == len(texts) - 1
    return is_one_each and _IDS.fullmatch(joined) is not None and RESERVED_IDS.isdisjoint(texts)


def check_ids(texts: Sequence[str], what: str) -> Sequence[str]:
    """Return ids unchanged, or raise as `check_id` does of the first that is not one."""
    return texts if _are_ids(texts) else [check_id(text, what) for text in texts]


def check_id(text: str, what: str = "id") -> str:
    """Return the id unchanged, or raise `InvalidName` since it could reach other keys."""
    if not is_id(text):
        raise InvalidName(
            f"{what} {text!r:.160} is refused: use 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit, "
            f"and none of {', '.join(sorted(RESERVED_IDS))}"
        )
    return text


def is_user(text: str) -> bool:
    """Whether the text may be a user's id: what may be any id, or an e-mail address."""
    return _USER.fullmatch(text) is not None and text not in RESERVED_IDS


def check_user(text: str, what: str = "user id") -> str:
    """Return a user's id unchanged, or raise `InvalidName` since it could reach other keys."""
    if not is_user(text):
        raise InvalidName(
            f"{what} {text!r:.160} is refused: use 1 to 128 of A-Z a-z 0-9 . _ @ + -, the first a letter or digit"
        )
    return text


def check_prefix(text: str) -> str:
    """Return the prefix without a trailing `:`, or raise `InvalidName`."""
    prefix = text.rstrip(":")
    if not _PREFIX.fullmatch(prefix):
        raise InvalidName(f"prefix {text!r:.160} is refused: use A-Z a-z 0-9 . _ - and : between")
    return prefix


class Keys:
    """The key names under one prefix, whose jobs are laid out as described; methods check the ids that they are given.

    Without a `layout` it is the one that ships for the prefix.
    """

    def __init__(self, prefix: str = DEFAULT_PREFIX, layout: Layout | None = None) -> None:
        self.prefix = check_prefix(prefix)
        self.layout = layout or layout_of(self.prefix)
        self.jobs = f"{self.prefix}:jobs"
        self.unfinished = f"{self.prefix}:unfinished"
        self.users = f"{self.prefix}:users"
        self.hosts = f"{self.prefix}:hosts"
        self.events = f"{self.prefix}:events"
        self.ended_events = f"{self.events}:ended"
        self.admin_requests = f"{self.prefix}:admins:requests"
        self.jobs_namespace = self.layout.namespace(self.prefix)
        self.check_apart(self)

    def check_apart(self, other: "Keys") -> None:
        """Raise `InvalidName` where writers of jobs here could ask in another's name, there or here."""
        for name in (other.users, other.hosts, other.events, other.admin_requests):
            if name.startswith(self.jobs_namespace) or self.jobs_namespace.startswith(f"{name}:"):
                raise InvalidName(
                    f"prefix {self.prefix!r} is refused with jobs as {self.layout.key!r}: they could be {name}, too"
                )

    def pattern(self, part: KeyPart) -> str:
        """The glob that matches every key of one sort."""
        return f"{self.prefix}{part}"

    def __repr__(self) -> str:
        return f"Keys({self.prefix!r})"

    def job(self, job_id: str) -> str:
        """The hash that is the job's record."""
        return self.jobs_namespace + check_id(job_id, "job id")

    def output(self, job_id: str) -> str:
        """The stream of what the job's own process printed."""
        return f"{self.job(job_id)}:output"

    def processes(self, job_id: str) -> str:
        """The string with the job's processes as last seen by its supervisor, JSON."""
        return f"{self.job(job_id)}:processes"

    def control(self, job_id: str) -> str:
        """What earlier versions used for requests; removed with its job."""
        return f"{self.job(job_id)}:control"

    def answers(self, job_id: str) -> str:
        """The stream of what a supervisor or an agent answers to requests about the job; askers can't write it."""
        return f"{self.job(job_id)}:answers"

    def child(self, job_id: str, child_id: str) -> str:
        """The hash with one child's state."""
        return f"{self.job(job_id)}:children:{check_id(child_id, 'child id')}"

    def child_output(self, job_id: str, child_id: str) -> str:
        """The stream of one child's output."""
        return f"{self.child(job_id, child_id)}:output"

    def user_jobs(self, user_id: str) -> str:
        """The sorted set of one user's job ids, scored by creation."""
        return f"{self.users}:{check_user(user_id)}:jobs"

    def user_requests(self, user_id: str) -> str:
        """The stream of one user's requests: who may write it is the server's to say, so its name proves the asker."""
        return f"{self.users}:{check_user(user_id)}:requests"

    def user_asking(self, stream: str) -> str | None:
        """The user whose stream of requests this is; None for any other stream."""
        user = stream.removeprefix(f"{self.users}:").removesuffix(":requests")
        return user if is_user(user) and stream == self.user_requests(user) else None

    def host_control(self, host: str) -> str:
        """The stream of what admins ask of a host's agent."""
        return f"{self.hosts}:{check_id(host, 'host')}:control"

    def host_starts(self, host: str) -> str:
        """The stream of jobs that a host's agent is to start, which applications may write, too."""
        return f"{self.hosts}:{check_id(host, 'host')}:starts"

    def is_host_starts(self, stream: str) -> bool:
        """Whether this is some host's stream of jobs to start."""
        host = stream.removeprefix(f"{self.hosts}:").removesuffix(":starts")
        return is_id(host) and stream == self.host_starts(host)

    def host_agent(self, host: str) -> str:
        """The string that says which process is a host's agent, for as long as it is."""
        return f"{self.hosts}:{check_id(host, 'host')}:agent"

    def host_load(self, host: str) -> str:
        """The string with what a host's agent says of how busy the host is, JSON."""
        return f"{self.hosts}:{check_id(host, 'host')}:load"

    def owns(self, job_id: str, key: str) -> bool:
        """Tell whether the key lies inside the job's own namespace, so that it may be opened for it."""
        return key.startswith(self.inside(job_id))

    def inside(self, job_id: str) -> str:
        """What every key inside the job begins with, except its record."""
        return f"{self.job(job_id)}:"

    def scan_pattern(self, job_id: str | None = None) -> str:
        """The glob that matches every key of every job, or every key inside one job."""
        return f"{self.jobs_namespace if job_id is None else self.inside(job_id)}*"

    def parse(self, key: str) -> JobKey | None:
        """Say what a key names, or None for a key that belongs to no job of this prefix."""
        if not key.startswith(self.jobs_namespace):
            return None
        job_id, _, rest = key[len(self.jobs_namespace) :].partition(":")
        if not is_id(job_id):
            return None
        match rest.split(":"):
            case [""]:
                return JobKey("record", job_id) if key.endswith(job_id) else JobKey("foreign", job_id)
            case ["output" | "processes" | "control" | "answers" as kind]:
                return JobKey(kind, job_id)
            case ["children", child_id] if is_id(child_id):
                return JobKey("child", job_id, child_id)
            case ["children", child_id, "output"] if is_id(child_id):
                return JobKey("child-output", job_id, child_id)
            case _:
                return JobKey("foreign", job_id)

    def records(self, names: Iterable[bytes]) -> list[str]:
        """The ids of the jobs whose records are among these keys."""
        length, namespace = len(self.jobs_namespace), self.jobs_namespace.encode()
        below = [name[length:] for name in names if name.startswith(namespace)]
        return ids_among([name for name in below if b":" not in name])

    def changed(self, name: bytes) -> tuple[str, str | None] | None:
        """Say which job a changed key is about, and which child: None its record, the empty text anything else in it.

        None for outputs and processes, whose every change nobody wants to hear of, and for keys of no job.
        """
        if name.endswith(_NEVER_TOLD):
            return None
        parsed = self.parse(name.decode("utf-8", "surrogateescape"))
        if parsed is None:
            return None
        if parsed.kind == "foreign":
            return parsed.job_id, ""
        return parsed.job_id, parsed.child_id


def child_id_of_output(key: str) -> tuple[Keys, str, str]:
    """Split a child's output key into its prefix's keys, job id and child id; raise `InvalidName`."""
    record, _, child_id = key.removesuffix(":output").rpartition(":children:")
    described = [Keys(prefix) for prefix, layout in LAYOUTS.items() if layout.key != OWN_KEY]
    prefix, is_ours, _ = record.rpartition(":jobs:")
    for keys in [*described, *([Keys(prefix)] if is_ours else [])]:
        job_id = record.removeprefix(keys.jobs_namespace)
        if is_id(job_id) and is_id(child_id) and keys.child_output(job_id, child_id) == key:
            return keys, job_id, child_id
    raise InvalidName(f"{key!r:.200} is not the output key of a child")


def child_ids(labels: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Make one readable, unique child id from each label, in order.

    `pheno se.tsv` becomes `pheno-se.tsv`; the next one of that name `pheno-se.tsv-2`.
    """
    used = set(taken) | RESERVED_IDS
    counts: dict[str, int] = {}
    made = []
    for label in labels:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", label)[:100].strip("-._") or "child"
        candidate = base
        while candidate in used:
            counts[base] = counts.get(base, 1) + 1
            candidate = f"{base}-{counts[base]}"
        used.add(candidate)
        made.append(candidate)
    return made
