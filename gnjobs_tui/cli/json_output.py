"""The objects that `--json` prints, one a line, and the columns of `--tsv`; the table of fields gives their names."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS, Field
from gnjobs.text import masked, may_hold_secrets

if TYPE_CHECKING:
    from gnjobs.health.verdict import Health
    from gnjobs.processing.view import JobStatus
    from gnjobs.records.fields import Child, Job


class Column(NamedTuple):
    """One name in an object: what it holds, in which unit, and for a job how it is found."""

    type: str
    about: str
    unit: str = ""
    read: "Callable[[Job, Health], Any] | None" = None


def _silence(job: "Job", _: "Health") -> float | None:
    from gnjobs.health.silence import job_silence

    return job_silence(job)


# What is not, or not just, a field of the record.
_OF_JOB: Final = {
    "id": Column("text", "The job's id.", read=lambda job, _: job.id),
    "command": Column(
        "text",
        "The command line, quoted for a shell, passwords masked.",
        read=lambda job, _: job.command,
    ),
    "health": Column(
        "text", "The verdict: `ok`, `quiet`, `stuck` or `dead`.", read=lambda _, health: health.verdict
    ),
    "children": Column(
        "whole number", "How many children were allocated.", read=lambda job, _: job.children or 0
    ),
    "evidence": Column(
        "list of text",
        "The sentences that support the verdict.",
        read=lambda _, health: list(health.evidence),
    ),
    "silence": Column(
        "number", "How long job and children had been silent at the last heartbeat.", "seconds", _silence
    ),
}
_OF_CHILD: Final = {
    "id": Column("text", "The child's id."),
    "output_key": Column("text", "The key of its output in Redis."),
    "lines": Column("whole number", "How many lines its output has."),
}
# The order that scripts have always seen; what the table of fields has besides comes after it.
_JOB_ORDER: Final = (
    "id type user label command status health percent faults created started finished heartbeat host account pid "
    "exit_code signal error message children"
).split()


def _promised(fields: "Mapping[str, Field]") -> dict[str, Column]:
    return {
        field.attribute: Column(field.kind.type, field.stored.about, field.unit)
        for field in fields.values()
        if field.stored.json
    }


def _job_columns() -> dict[str, Column]:
    found = _promised(JOB_FIELDS) | _OF_JOB
    return {name: found[name] for name in dict.fromkeys([*_JOB_ORDER, *found])}


JOB_COLUMNS: Final = _job_columns()
# What `job_object` needs of a job that has ended, the sentences on how it did included; names in Redis.
ENDED_FIELDS: Final = (
    *(name for name, field in JOB_FIELDS.items() if field.stored.json),
    *("stop-by", "stop-reason", "left-running"),
)
CHILD_COLUMNS: Final = {"id": _OF_CHILD["id"]} | _promised(CHILD_FIELDS) | _OF_CHILD
# What `show` has of a job besides, and in place of the number of children.
SHOWN_COLUMNS: Final = {
    "children": Column("list of objects", "Each child, as below."),
    "report": Column("object", "What the processor of the job's type says of its outputs."),
}


_encode: Final = json.JSONEncoder(separators=(", ", ": "), allow_nan=False).encode


def print_json(value: Mapping[str, Any], *, flush: bool = True) -> None:
    """Print one object on one line, without passwords; pure ASCII, so that it is harmless whatever was stored."""
    line = _encode(value)
    print(_encode(masked(value)) if may_hold_secrets(line) else line, flush=flush)


def job_object(job: "Job", health: "Health") -> dict[str, Any]:
    """The object of a job in a list."""
    return {
        name: getattr(job, name) if column.read is None else column.read(job, health)
        for name, column in JOB_COLUMNS.items()
    }


def child_object(child: "Child", lines: int | None) -> dict[str, Any]:
    """The object of one child; `lines` counts its output's lines."""
    return {name: lines if name == "lines" else getattr(child, name) for name in CHILD_COLUMNS}


def status_object(status: "JobStatus", child_lines: Sequence[int | None]) -> dict[str, Any]:
    """The object of `show`: a job with its children and report."""
    children = [child_object(child, count) for child, count in zip(status.children, child_lines, strict=True)]
    shown = {"children": children, "report": msgspec.to_builtins(status.report)}
    return job_object(status.job, status.health) | shown
