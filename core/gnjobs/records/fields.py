"""The table of fields: everything that a job's and a child's hash may hold, what it means and who writes it.

Each field is one annotated attribute of `Listed`, `Job` or `Child`. Reading, rows of the catalogue, sort orders,
filters, `--json` and the reference in `core/README.md` are made from these annotations. Reading is total: nothing
that is found in Redis makes it raise.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from gnjobs.records import values
from gnjobs.records.keys import CHILD_FIELD, MIRROR_FIELD, OWN_STATUS
from gnjobs.records.statuses import FINAL_STATUSES, PENDING, SUCCESS
from gnjobs.records.summaries import ChildrenSummary, TellingProcess, children_summary, telling_process
from gnjobs.text import mask_secrets, telling

Fields = Mapping[bytes, bytes] | Mapping[str, bytes]
Reader = Callable[[bytes | str | None], Any]


class Kind(NamedTuple):
    """How the stored text of a field is read, what that gives, and in which unit."""

    read: Reader
    type: str
    unit: str = ""


class Stored(NamedTuple):
    """What the table says of one field beside its type: who writes it and when, and one sentence of what it is.

    `name` is its name in Redis where that is not the attribute with dashes, `alias` another spelling that is read,
    too. `json`: it is part of `--json`. `listed`: lists read it (of ended jobs only the fields of `Listed`).
    """

    by: str
    about: str
    name: str = ""
    alias: str = ""
    unit: str = ""
    json: bool = False
    listed: bool = True


class Field(NamedTuple):
    """One row of the table: an attribute of a record with its name in Redis and how it is read."""

    attribute: str
    name: str
    kind: Kind
    stored: Stored

    @property
    def unit(self) -> str:
        """What the number counts."""
        return self.stored.unit or self.kind.unit


Text = Annotated[str | None, Kind(values.text, "text")]
Number = Annotated[float | None, Kind(values.number, "number")]
Whole = Annotated[int | None, Kind(values.integer, "whole number")]
ExitCode = Annotated[int | None, Kind(values.exit_code, "whole number")]
Percent = Annotated[float | None, Kind(values.percentage, "number", "% from 0 to 100")]
Moment = Annotated[float | None, Kind(values.seconds, "number", "unix seconds")]
Span = Annotated[float | None, Kind(values.number, "number", "seconds")]
Difference = Annotated[float | None, Kind(values.difference, "number", "seconds")]
Summary = Annotated[ChildrenSummary | None, Kind(children_summary, "JSON")]
Telling = Annotated[TellingProcess | None, Kind(telling_process, "JSON")]

_CHANGE: Final = "script `transition`, at each change"
_ALLOCATION: Final = "parent, when it allocates the child"
_CREATOR: Final = "creator, once"
_LAUNCHER: Final = "launcher, once"
_CLAIM: Final = "supervisor, when it takes the job"
_SPAWN: Final = "supervisor, when the process starts"
_BEAT: Final = "supervisor, at each beat"
_QUEUE: Final = "launcher or agent, while it waits in Slurm's queue"
_CODE: Final = "the job's code, at any time"
_END: Final = "whoever ends the job, at the end"
_KILL: Final = "whoever carries out the kill"
_CHILD: Final = "the child, at any time"
_CHILD_START: Final = "the child, when it starts"
_CHILD_END: Final = "the child or whoever waits for it, at its end"


class Listed(msgspec.Struct, frozen=True):
    """The fields that a list keeps of every job, also of those that have ended: a row has them as the record does."""

    type: Annotated[
        Text,
        Stored(
            _CREATOR, "Selects how the output is processed.", name="job-type", alias="job_type", json=True
        ),
    ] = None
    user: Annotated[
        Text, Stored(_CREATOR, "The id of the owner.", name="user-id", alias="user_id", json=True)
    ] = None
    status: Annotated[Text, Stored(_CHANGE, "Where the job stands.", json=True)] = None
    percent: Annotated[Percent, Stored(_CODE, "How far the job is.", json=True)] = None
    faults: Annotated[
        Whole,
        Stored(_BEAT, "How many faults were found in the data, by the job and all children.", json=True),
    ] = None
    started: Annotated[Moment, Stored(_CLAIM, "When the job began to run.", json=True)] = None
    finished: Annotated[Moment, Stored(_END, "When the job ended.", json=True)] = None
    host: Annotated[Text, Stored(_CLAIM, "The host that the job runs on.", json=True)] = None
    children: Annotated[Whole, Stored(_CODE, "How many children were allocated.", json=True)] = None

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good."""
        return self.status in FINAL_STATUSES


class Job(Listed, frozen=True, kw_only=True):
    """One job's record; None where nothing readable is stored.

    `estimated_start`, `is_foreign` and `is_uncounted` are stored nowhere: see `records.foreign`. `run` is what its
    record says of when it was created, as it stands there: see `scripts.Run`. `raw` holds the fields that are none of
    ours and those that can't be read, which `unreadable` names.
    """

    id: str
    label: Annotated[Text, Stored(_CREATOR, "What to call the job.", alias="filename", json=True)] = None
    command: Annotated[Text, Stored(_CREATOR, "The command line, quoted for a shell.", json=True)] = None
    created: Annotated[
        Moment, Stored(_CREATOR, "When the job was created, by the server's clock.", json=True)
    ] = None
    heartbeat: Annotated[Moment, Stored(_BEAT, "When the supervisor last reported.", json=True)] = None
    account: Annotated[Text, Stored(_CLAIM, "The account that the job runs as.", json=True)] = None
    pid: Annotated[Whole, Stored(_SPAWN, "The job's own process.", json=True)] = None
    exit_code: Annotated[
        ExitCode,
        Stored(_END, "The exit code of the job's own process; none where a signal ended it.", json=True),
    ] = None
    signal: Annotated[Whole, Stored(_END, "The signal that ended the job's own process.", json=True)] = None
    error: Annotated[
        Text, Stored(_END, "What went wrong, with the traceback if there is one.", json=True)
    ] = None
    message: Annotated[Text, Stored(_CODE, "What the job is doing, in its own words.", json=True)] = None
    done: Annotated[Number, Stored(_CODE, "How much of the work is done, in `unit`.", listed=False)] = None
    total: Annotated[Number, Stored(_CODE, "How much work there is, in `unit`.", listed=False)] = None
    unit: Annotated[Text, Stored(_CODE, "What `done` and `total` count, such as rows.", listed=False)] = None
    max_workers: Annotated[
        Whole, Stored(_CODE, "How many children may be at work at once.", listed=False)
    ] = None
    cwd: Annotated[Text, Stored(_CREATOR, "The directory that the command runs in.", listed=False)] = None
    env: Annotated[Text, Stored(_CREATOR, "Variables of the command's environment.", listed=False)] = None
    stuck_after: Annotated[Span, Stored(_CREATOR, "How long a silence means that the job is stuck.")] = None
    keep: Annotated[Span, Stored(_CREATOR, "How long the job's keys are kept after its end.")] = None
    parent_job: Annotated[
        Text, Stored(_CREATOR, "The id of the job that this one repeats.", listed=False)
    ] = None
    launched: Annotated[
        Moment, Stored(_LAUNCHER, "When a supervisor was started for the job.", listed=False)
    ] = None
    launch_host: Annotated[Text, Stored(_LAUNCHER, "The host that it was started on.")] = None
    launch_namespace: Annotated[
        Text, Stored(_LAUNCHER, "The pid namespace that it was started in.", listed=False)
    ] = None
    slurm_job: Annotated[
        Text, Stored(f"{_LAUNCHER}, or {_CLAIM}", "The id of the job in Slurm that runs it.", json=True)
    ] = None
    queue_reason: Annotated[Text, Stored(_QUEUE, "Why Slurm lets it wait, in Slurm's own word.")] = None
    queue_read: Annotated[Moment, Stored(_QUEUE, "When Slurm's queue was read for that.")] = None
    time_limit: Annotated[Span, Stored(_CLAIM, "How long Slurm lets it run.", listed=False)] = None
    memory_limit: Annotated[
        Whole, Stored(_CLAIM, "The memory that Slurm lets it have.", unit="bytes", listed=False)
    ] = None
    requeues: Annotated[
        Whole, Stored("whoever requeues it", "How often Slurm requeued it.", listed=False)
    ] = None
    process_started: Annotated[
        Whole, Stored(_SPAWN, "When `pid` started (field 22 of its stat).", unit="clock ticks since boot")
    ] = None
    supervisor_pid: Annotated[Whole, Stored(_CLAIM, "The supervisor's process.")] = None
    supervisor_started: Annotated[
        Whole, Stored(_CLAIM, "When the supervisor started (field 22).", unit="clock ticks since boot")
    ] = None
    boot_id: Annotated[Text, Stored(_CLAIM, "The boot of the host that the pids belong to.")] = None
    pid_namespace: Annotated[Text, Stored(_CLAIM, "The pid namespace that the pids belong to.")] = None
    mark: Annotated[
        Text, Stored(_CLAIM, "A digest of the mark that all processes of the job carry.", listed=False)
    ] = None
    heartbeat_every: Annotated[Span, Stored(_CLAIM, "How far apart the heartbeats are.")] = None
    clock_shift: Annotated[
        Difference, Stored(_BEAT, "By how much the server's clock is ahead of the host's.")
    ] = None
    cpu: Annotated[Number, Stored(_BEAT, "CPU used by all processes of the job.", unit="% of one core")] = (
        None
    )
    rss: Annotated[Whole, Stored(_BEAT, "Memory of all processes of the job.", unit="bytes")] = None
    written: Annotated[Whole, Stored(_BEAT, "What they wrote to disk.", unit="bytes")] = None
    processes: Annotated[Whole, Stored(_BEAT, "How many processes the job has.")] = None
    lines: Annotated[Whole, Stored(_BEAT, "How many lines the job's own output has.")] = None
    idle_since: Annotated[Moment, Stored(_BEAT, "When a process of the job last gave a sign of life.")] = None
    last_output: Annotated[
        Moment, Stored(_BEAT, "When a line or progress last came from the job or any child.")
    ] = None
    children_done: Annotated[Whole, Stored(_CODE, "How many children `run_children` saw succeed.")] = None
    children_summary: Annotated[
        Summary, Stored(_BEAT, "The children by status, and the one that has been silent longest.")
    ] = None
    doing: Annotated[
        Telling,
        Stored(_BEAT, "The process that tells most of what the job does: what it waits for, or where it is."),
    ] = None
    partial_line: Annotated[
        Text,
        Stored("supervisor, at most once a second", "An output line that is not finished yet.", listed=False),
    ] = None
    stop_requested: Annotated[Moment, Stored(_KILL, "When the kill was requested.")] = None
    stop_by: Annotated[Text, Stored(_KILL, "Who requested the kill.")] = None
    stop_reason: Annotated[Text, Stored(_KILL, "Why.")] = None
    left_running: Annotated[Text, Stored(_KILL, "Pids of processes that outlived the kill.")] = None
    orphaned: Annotated[
        Moment, Stored("agent, once", "When the agent found that the supervisor was gone.")
    ] = None
    run: str = ""
    estimated_start: float | None = None
    is_foreign: bool = False
    is_uncounted: bool = False
    raw: Mapping[str, str] = {}
    unreadable: tuple[str, ...] = ()

    @property
    def is_supervised(self) -> bool:
        """Whether a supervisor of ours took it, as far as its record says."""
        return self.supervisor_pid is not None or self.mark is not None

    @property
    def is_in_slurm(self) -> bool:
        """Whether Slurm runs it, or is to be asked to."""
        return self.slurm_job is not None or self.queue_reason is not None

    @property
    def began(self) -> float | None:
        """When the job started, as recorded or else as estimated; None while it waits."""
        return self.started or (None if self.status == PENDING else self.estimated_start)

    @property
    def name(self) -> str:
        """What to call the job: its label, else its command, else its id."""
        return self.label or telling(mask_secrets(self.command or "")) or self.id


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One child of a job; None where its hash says nothing that can be read. `raw`, `unreadable`: as in `Job`."""

    id: str
    output_key: str | None = None
    label: Annotated[Text, Stored(_ALLOCATION, "What to call it.", json=True)] = None
    status: Annotated[Text, Stored(_CHANGE, "Where the child stands.", json=True)] = None
    percent: Annotated[Percent, Stored(_CHILD, "How far the child is.", json=True)] = None
    faults: Annotated[Whole, Stored(_CHILD, "How many faults it found in the data.", json=True)] = None
    message: Annotated[Text, Stored(_CHILD, "What it is doing, in its own words.", json=True)] = None
    pid: Annotated[Whole, Stored(_CHILD_START, "Its process.", json=True)] = None
    exit_code: Annotated[
        ExitCode, Stored(_CHILD_END, "The exit code of its process; none where a signal ended it.", json=True)
    ] = None
    signal: Annotated[Whole, Stored(_CHILD_END, "The signal that ended its process.", json=True)] = None
    done: Annotated[Number, Stored(_CHILD, "How much of the work is done, in `unit`.")] = None
    total: Annotated[Number, Stored(_CHILD, "How much work there is, in `unit`.")] = None
    unit: Annotated[Text, Stored(_CHILD, "What `done` and `total` count, such as rows.")] = None
    started: Annotated[Moment, Stored(_CHILD_START, "When the child began to run.")] = None
    finished: Annotated[Moment, Stored(_CHILD_END, "When the child ended.")] = None
    process_started: Annotated[
        Whole,
        Stored(_CHILD_START, "When `pid` started (field 22 of its stat).", unit="clock ticks since boot"),
    ] = None
    last_output: Annotated[Moment, Stored(_CHILD, "When its last line or progress came.")] = None
    error: Annotated[Text, Stored(_CHILD_END, "What went wrong, with the traceback if there is one.")] = None
    stop_by: Annotated[Text, Stored(_KILL, "Who requested that it be killed.")] = None
    stop_reason: Annotated[Text, Stored(_KILL, "Why.")] = None
    partial_line: Annotated[
        Text, Stored("the child, at most once a second", "An output line that is not finished yet.")
    ] = None
    may_fail: Annotated[Whole, Stored(_ALLOCATION, "1 where its failure is no error of the job's.")] = None
    raw: Mapping[str, str] = {}
    unreadable: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the child has ended for good."""
        return self.status in FINAL_STATUSES


def percent_done(part: Listed | Child) -> float | None:
    """How far a job or child is: 100 once it succeeded, None where nothing was reported (a record begins with 0)."""
    return 100.0 if part.status == SUCCESS else part.percent or None


def run_seconds(part: Listed | Child, now: float) -> float | None:
    """How long a job or child has run, or ran; None where its start, or its end, is not known."""
    began = part.began if isinstance(part, Job) else part.started
    end = part.finished or (None if part.is_final else now)
    return None if began is None or end is None else max(0.0, end - began)


def _table(record: type) -> dict[str, Field]:
    """The annotated fields of a struct by their names in Redis, in order."""
    fields = []
    annotated = [getattr(base, "__annotations__", {}) for base in reversed(record.__mro__)]
    for attribute, hint in chain.from_iterable(each.items() for each in annotated):
        if metadata := getattr(hint, "__metadata__", None):
            kind, stored = metadata
            name = stored.name or attribute.replace("_", "-")
            fields.append(Field(attribute, name, kind, stored))
    return {field.name: field for field in fields}


JOB_FIELDS: Final = _table(Job)
CHILD_FIELDS: Final = _table(Child)
ROW_FIELDS: Final = _table(Listed)
ALIASES: Final = {field.stored.alias: name for name, field in JOB_FIELDS.items() if field.stored.alias}
MAY_FAIL_FIELD: Final = "may-fail"
TOKEN_FIELD: Final = "transition-token"
SLURM: Final = "Slurm"  # in `stop-by` where Slurm ended a job for a reason of its own

# What lists read by HMGET of a job that has not ended.
_LISTED = (name for name, field in JOB_FIELDS.items() if field.stored.listed)
LIST_FIELDS: Final = (*_LISTED, *ALIASES, OWN_STATUS, MIRROR_FIELD)


class _Reading(NamedTuple):
    attribute: str
    read: Reader
    is_alias: bool


def _readings(known: Mapping[str, Field]) -> dict[str, _Reading]:
    """How each stored name is read, by the names and then by their aliases."""
    names = {name: _Reading(field.attribute, field.kind.read, False) for name, field in known.items()}
    aliases = {field.stored.alias: field for field in known.values() if field.stored.alias}
    return names | {
        alias: _Reading(field.attribute, field.kind.read, True) for alias, field in aliases.items()
    }


_OF_JOB: Final = _readings(JOB_FIELDS)
_OF_CHILD: Final = _readings(CHILD_FIELDS)


def _read(known: Mapping[str, _Reading], fields: Iterable[tuple[str, bytes | str | None]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    raw: dict[str, str] = {}
    unreadable: list[str] = []
    for name, value in fields:
        reading = known.get(name)
        if value is None or (reading is None and _is_passed_over(name)):
            continue
        if reading is None:
            raw[name] = values.text(value) or ""
            continue
        attribute, understand, is_alias = reading
        if is_alias and read.get(attribute) is not None:
            continue
        understood = understand(value)
        if understood is None or is_alias:
            raw[name] = values.text(value) or ""
        if understood is None:
            unreadable.append(name)
        else:
            read[attribute] = understood
    if OWN_STATUS in raw:
        read["status"], raw["status"] = raw.pop(OWN_STATUS), read.get("status") or ""
    return read | {"raw": raw, "unreadable": tuple(unreadable)}


def _is_passed_over(name: str) -> bool:
    return name == TOKEN_FIELD or name.startswith(CHILD_FIELD)


def _pairs(fields: Fields) -> Iterable[tuple[str, bytes]]:
    return zip(map(values.text, fields), fields.values(), strict=True)  # type: ignore[arg-type]


def read_job(job_id: str, fields: Fields) -> Job:
    """Read a whole record (HGETALL); fields that are none of ours are kept in `raw`, `child:` fields are not."""
    created = fields.get("created") or fields.get(b"created")  # type: ignore[call-overload]
    return Job(id=job_id, run=values.run_of(created), **_read(_OF_JOB, _pairs(fields)))


def read_job_list(
    job_id: str, listed: Sequence[bytes | None], names: Sequence[str] = LIST_FIELDS
) -> Job | None:
    """Read the values of these fields (HMGET), or return None where there is no record."""
    found = {name: value for name, value in zip(names, listed, strict=True) if value is not None}
    return read_job(job_id, found) if found else None


def read_child(child_id: str, fields: Fields, output_key: str | None = None) -> Child:
    """Read a child's hash (HGETALL)."""
    return Child(id=child_id, output_key=output_key, **_read(_OF_CHILD, _pairs(fields)))
