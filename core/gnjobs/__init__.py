"""Run, watch and kill background jobs tracked in Redis.

The public names are loaded when they are first used, so that a program pays only for the parts that it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnjobs.adapters import OutputFile as OutputFile
    from gnjobs.adapters import OutputHandler as OutputHandler
    from gnjobs.child_output import ChildOutput as ChildOutput
    from gnjobs.children import ChildFailure as ChildFailure
    from gnjobs.children import ChildResult as ChildResult
    from gnjobs.connections import connect as connect
    from gnjobs.context import CurrentJob as CurrentJob
    from gnjobs.context import current_job as current_job
    from gnjobs.health import Health as Health
    from gnjobs.keys import Keys as Keys
    from gnjobs.kills import KillStep as KillStep
    from gnjobs.kills import kill_job as kill_job
    from gnjobs.launching import launch as launch
    from gnjobs.lines import Line as Line
    from gnjobs.output_reader import OutputReader as OutputReader
    from gnjobs.output_writer import OutputWriter as OutputWriter
    from gnjobs.processing import Processor as Processor
    from gnjobs.processing import Report as Report
    from gnjobs.processing import register as register
    from gnjobs.records import Child as Child
    from gnjobs.records import Job as Job
    from gnjobs.safetext import safe_line as safe_line
    from gnjobs.safetext import safe_text as safe_text
    from gnjobs.store import JobStore as JobStore
    from gnjobs.this_child import ThisChild as ThisChild

_HOMES = {
    "OutputFile": "adapters",
    "OutputHandler": "adapters",
    "ChildOutput": "child_output",
    "ChildFailure": "children",
    "ChildResult": "children",
    "connect": "connections",
    "CurrentJob": "context",
    "current_job": "context",
    "Health": "health",
    "Keys": "keys",
    "KillStep": "kills",
    "kill_job": "kills",
    "launch": "launching",
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
    "ThisChild": "this_child",
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
