"""Run, watch and kill background jobs tracked in Redis.

The public names are loaded when they are first used, so that a program pays only for the parts that it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnjobs.adapters import OutputFile, OutputHandler
    from gnjobs.child_output import ChildOutput
    from gnjobs.children import ChildFailure, ChildResult, ThisChild
    from gnjobs.connections import connect
    from gnjobs.context import CurrentJob, current_job
    from gnjobs.health import Health
    from gnjobs.keys import Keys
    from gnjobs.kills import KillStep, kill_job
    from gnjobs.launch import launch
    from gnjobs.lines import Line
    from gnjobs.output_reader import OutputReader
    from gnjobs.output_writer import OutputWriter
    from gnjobs.processing import Processor, Report, register
    from gnjobs.records import Child, Job
    from gnjobs.safetext import safe_line, safe_text
    from gnjobs.store import JobStore

_HOMES = {
    "OutputFile": "adapters",
    "OutputHandler": "adapters",
    "ChildOutput": "child_output",
    "ChildFailure": "children",
    "ChildResult": "children",
    "ThisChild": "children",
    "connect": "connections",
    "CurrentJob": "context",
    "current_job": "context",
    "Health": "health",
    "Keys": "keys",
    "KillStep": "kills",
    "kill_job": "kills",
    "launch": "launch",
    "Line": "lines",
    "OutputReader": "output_reader",
    "OutputWriter": "output_writer",
    "Processor": "processing",
    "Report": "processing",
    "register": "processing",
    "Child": "records",
    "Job": "records",
    "safe_line": "safetext",
    "safe_text": "safetext",
    "JobStore": "store",
}

__all__ = [  # noqa: PLE0604 - the names are those of the table
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"gnjobs.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
