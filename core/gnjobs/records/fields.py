"""What a job's and a child's hash say, read totally: nothing that is found in Redis makes reading raise."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gnjobs.records import values
from gnjobs.records.keys import CHILD_FIELD
from gnjobs.records.statuses import FINAL_STATUSES, PENDING

Fields = Mapping[bytes, bytes]


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One child of a job; times in unix seconds, None where the record says nothing that can be read."""

    id: str
    output_key: str | None = None
    label: str | None = None
    status: str | None = None
    percent: float | None = None
    message: str | None = None
    done: float | None = None
    total: float | None = None
    unit: str | None = None
    faults: int | None = None
    started: float | None = None
    finished: float | None = None
    pid: int | None = None
    process_started: int | None = None
    last_output: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    stop_by: str | None = None
    stop_reason: str | None = None
    partial_line: str | None = None
    raw: Mapping[str, str] = {}
    unreadable: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the child has ended for good."""
        return self.status in FINAL_STATUSES


class ChildrenSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor says of all children at a beat, so that a list needs to read no child.

    `counts` maps status to number; the other fields describe the running child that has been silent longest.
    """

    counts: dict[str, int] = {}
    quietest_id: str | None = None
    quietest_label: str | None = None
    quietest_since: values.Seconds | None = None
    quietest_cpu: values.Number | None = None
    quietest_pid: int | None = None
    quietest_state: str | None = None
    quietest_idle_since: values.Seconds | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job's record; times in unix seconds, sizes in bytes, None where nothing readable is stored.

    `estimated_start` is stored nowhere: see `expiry_dates`.
    """

    id: str
    type: str | None = None
    user: str | None = None
    label: str | None = None
    command: str | None = None
    status: str | None = None
    percent: float | None = None
    message: str | None = None
    faults: int | None = None
    created: float | None = None
    cwd: str | None = None
    stuck_after: float | None = None
    keep: float | None = None
    parent_job: str | None = None
    started: float | None = None
    finished: float | None = None
    heartbeat: float | None = None
    heartbeat_every: float | None = None
    clock_shift: float | None = None
    host: str | None = None
    account: str | None = None
    pid: int | None = None
    process_started: int | None = None
    supervisor_pid: int | None = None
    supervisor_started: int | None = None
    boot_id: str | None = None
    pid_namespace: str | None = None
    mark: str | None = None
    launched: float | None = None
    launch_host: str | None = None
    launch_namespace: str | None = None
    orphaned: float | None = None
    cpu: float | None = None
    rss: int | None = None
    written: int | None = None
    processes: int | None = None
    idle_since: float | None = None
    last_output: float | None = None
    lines: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    stop_requested: float | None = None
    stop_by: str | None = None
    stop_reason: str | None = None
    left_running: str | None = None
    children: int | None = None
    children_summary: ChildrenSummary | None = None
    partial_line: str | None = None
    estimated_start: float | None = None
    raw: Mapping[str, str] = {}
    unreadable: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good."""
        return self.status in FINAL_STATUSES

    @property
    def began(self) -> float | None:
        """When the job started, as recorded or else as estimated; None while it waits."""
        return self.started or (None if self.status == PENDING else self.estimated_start)

    @property
    def name(self) -> str:
        """What to call the job: its label, else the file it is about, else its command, else its id."""
        return self.label or self.raw.get("filename") or self.command or self.id


def run_seconds(part: "Job | Child", now: float) -> float | None:
    """How long a job or child has run, or ran; None where its start, or its end, is not known."""
    began = part.began if isinstance(part, Job) else part.started
    end = part.finished or (None if part.is_final else now)
    return None if began is None or end is None else max(0.0, end - began)


def children_summary(value: bytes | str | None) -> ChildrenSummary | None:
    """Read a supervisor's summary of the children, else None."""
    return values.json(value, ChildrenSummary)


Reader = Callable[[bytes | str | None], Any]

_SHARED: Final[dict[str, Reader]] = {
    "label": values.text,
    "status": values.text,
    "percent": values.percentage,
    "message": values.text,
    "faults": values.integer,
    "started": values.seconds,
    "finished": values.seconds,
    "pid": values.integer,
    "process-started": values.integer,
    "last-output": values.seconds,
    "exit-code": values.exit_code,
    "signal": values.integer,
    "error": values.text,
    "stop-by": values.text,
    "stop-reason": values.text,
    "partial-line": values.text,
}
CHILD_FIELDS: Final[dict[str, Reader]] = _SHARED | {
    "done": values.number,
    "total": values.number,
    "unit": values.text,
}
JOB_FIELDS: Final[dict[str, Reader]] = _SHARED | {
    "job-type": values.text,
    "user-id": values.text,
    "command": values.text,
    "created": values.seconds,
    "cwd": values.text,
    "stuck-after": values.number,
    "keep": values.number,
    "parent-job": values.text,
    "heartbeat": values.seconds,
    "heartbeat-every": values.number,
    "clock-shift": values.difference,
    "host": values.text,
    "account": values.text,
    "supervisor-pid": values.integer,
    "supervisor-started": values.integer,
    "boot-id": values.text,
    "pid-namespace": values.text,
    "mark": values.text,
    "launched": values.seconds,
    "launch-host": values.text,
    "launch-namespace": values.text,
    "orphaned": values.seconds,
    "cpu": values.number,
    "rss": values.integer,
    "written": values.integer,
    "processes": values.integer,
    "idle-since": values.seconds,
    "lines": values.integer,
    "stop-requested": values.seconds,
    "left-running": values.text,
    "children": values.integer,
    "children-summary": children_summary,
}
TOKEN_FIELD: Final = "transition-token"
MIRROR_FIELD: Final = "mirror-output"  # in a record of gn-uploader's that a supervisor of ours runs
ALIASES: Final = {"user_id": "user-id", "job_type": "job-type"}
_ATTRIBUTES: Final = {"job-type": "type", "user-id": "user"}

_NOT_LISTED: Final = {
    "cwd",
    "parent-job",
    "partial-line",
    "mark",
    "launched",
    "launch-host",
    "launch-namespace",
    "orphaned",
}
# What lists read by HMGET: every field of a record but those that only the job's own screen or an agent needs.
LIST_FIELDS: Final = (
    *(f for f in JOB_FIELDS if f not in _NOT_LISTED),
    *ALIASES,
    "filename",
)


def _read(readers: Mapping[str, Reader], fields: Iterable[tuple[str, bytes | str | None]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    raw: dict[str, str] = {}
    unreadable: list[str] = []
    for name, value in fields:
        if value is None or name == TOKEN_FIELD or name.startswith(CHILD_FIELD):
            continue
        known = ALIASES.get(name, name)
        reader = readers.get(known)
        if reader is None:
            raw[name] = values.text(value) or ""
            continue
        attribute = _ATTRIBUTES.get(known, known.replace("-", "_"))
        if name != known and read.get(attribute) is not None:
            continue
        understood = reader(value)
        if understood is None or known != name:
            raw[name] = values.text(value) or ""
        if understood is None:
            unreadable.append(name)
        else:
            read[attribute] = understood
    return read | {"raw": raw, "unreadable": tuple(unreadable)}


def _pairs(fields: Fields) -> Iterable[tuple[str, bytes]]:
    return ((values.text(name) or "", value) for name, value in fields.items())


def read_job(job_id: str, fields: Fields) -> Job:
    """Read a whole record (HGETALL); fields that are none of ours are kept in `raw`, `child:` fields are not."""
    return Job(id=job_id, **_read(JOB_FIELDS, _pairs(fields)))


def read_job_list(
    job_id: str, listed: Sequence[bytes | None], names: Sequence[str] = LIST_FIELDS
) -> Job | None:
    """Read the values of these fields (HMGET), or return None where there is no record."""
    if all(value is None for value in listed):
        return None
    return Job(id=job_id, **_read(JOB_FIELDS, zip(names, listed, strict=True)))


def read_child(child_id: str, fields: Fields, output_key: str | None = None) -> Child:
    """Read a child's hash (HGETALL)."""
    return Child(id=child_id, output_key=output_key, **_read(CHILD_FIELDS, _pairs(fields)))
