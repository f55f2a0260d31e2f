"""The JSON that `--json` prints: one object a line, with the names that the design promises."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from gnjobs.health.verdict import Health
    from gnjobs.processing.view import JobStatus
    from gnjobs.records.fields import Child, Job

_JOB_NAMES = (
    "id",
    "type",
    "user",
    "label",
    "command",
    "status",
    "health",
    "percent",
    "faults",
    "created",
    "started",
    "finished",
    "heartbeat",
    "host",
    "account",
    "pid",
    "exit_code",
    "signal",
    "error",
    "message",
    "children",
)
_CHILD_NAMES = (
    "id",
    "label",
    "status",
    "percent",
    "faults",
    "message",
    "pid",
    "exit_code",
    "signal",
    "output_key",
    "lines",
)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object on one line; pure ASCII, so that it is valid and harmless whatever was stored."""
    print(json.dumps(value, separators=(", ", ": "), allow_nan=False), flush=True)


def job_object(job: "Job", health: "Health") -> dict[str, Any]:
    """The object of a job in a list."""
    known = {name: health.verdict if name == "health" else getattr(job, name) for name in _JOB_NAMES}
    return known | {"children": job.children or 0}


def child_object(child: "Child", lines: int | None) -> dict[str, Any]:
    """The object of one child; `lines` counts its output's lines."""
    return {name: lines if name == "lines" else getattr(child, name) for name in _CHILD_NAMES}


def status_object(status: "JobStatus", child_lines: Sequence[int | None]) -> dict[str, Any]:
    """The object of `show`: a job with its children, evidence and report."""
    children = [child_object(child, count) for child, count in zip(status.children, child_lines, strict=True)]
    return job_object(status.job, status.health) | {
        "children": children,
        "evidence": list(status.health.evidence),
        "report": msgspec.to_builtins(status.report),
    }
