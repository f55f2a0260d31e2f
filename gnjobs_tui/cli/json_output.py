"""The objects that `--json` prints, one a line; the table of fields gives their names."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gnjobs.records.fields import CHILD_FIELDS, JOB_FIELDS, Field
from gnjobs.text import mask_secrets

if TYPE_CHECKING:
    from gnjobs.health.verdict import Health
    from gnjobs.processing.view import JobStatus
    from gnjobs.records.fields import Child, Job


# The order that scripts have always seen; what the table of fields has besides comes after it.
_JOB_ORDER: Final = (
    "id type user label command status health percent faults created started finished heartbeat host account pid "
    "exit_code signal error message children"
).split()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object on one line; pure ASCII, so that it is valid and harmless whatever was stored."""
    print(json.dumps(value, separators=(", ", ": "), allow_nan=False), flush=True)


def _promised(record: "Job | Child", fields: "Mapping[str, Field]") -> dict[str, Any]:
    attributes = (field.attribute for field in fields.values() if field.stored.json)
    return {"id": record.id} | {attribute: getattr(record, attribute) for attribute in attributes}


def job_object(job: "Job", health: "Health") -> dict[str, Any]:
    """The object of a job in a list."""
    shown = {"command": job.command and mask_secrets(job.command), "children": job.children or 0}
    found = _promised(job, JOB_FIELDS) | {"health": health.verdict, **shown}
    return {name: found[name] for name in dict.fromkeys([*_JOB_ORDER, *found])}


def child_object(child: "Child", lines: int | None) -> dict[str, Any]:
    """The object of one child; `lines` counts its output's lines."""
    return _promised(child, CHILD_FIELDS) | {"output_key": child.output_key, "lines": lines}


def status_object(status: "JobStatus", child_lines: Sequence[int | None]) -> dict[str, Any]:
    """The object of `show`: a job with its children, evidence and report."""
    children = [child_object(child, count) for child, count in zip(status.children, child_lines, strict=True)]
    return job_object(status.job, status.health) | {
        "children": children,
        "evidence": list(status.health.evidence),
        "report": msgspec.to_builtins(status.report),
    }
