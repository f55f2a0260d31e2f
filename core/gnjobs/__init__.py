"""Run, watch and kill background jobs tracked in Redis.

The public names are loaded when they are first used, so that a program pays only for the parts that it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnjobs.control.kill import kill_job as kill_job
    from gnjobs.health.verdict import Health as Health
    from gnjobs.outputs.adapters import OutputFile as OutputFile
    from gnjobs.outputs.adapters import OutputHandler as OutputHandler
    from gnjobs.outputs.lines import Hole as Hole
    from gnjobs.outputs.lines import Line as Line
    from gnjobs.outputs.reader import OutputReader as OutputReader
    from gnjobs.outputs.writer import OutputWriter as OutputWriter
    from gnjobs.processing.processor import Processor as Processor
    from gnjobs.processing.processor import Source as Source
    from gnjobs.processing.registry import register as register
    from gnjobs.processing.report import Metric as Metric
    from gnjobs.processing.report import Report as Report
    from gnjobs.processing.report import ReportTable as ReportTable
    from gnjobs.records.connection import connect as connect
    from gnjobs.records.fields import Child as Child
    from gnjobs.records.fields import Job as Job
    from gnjobs.records.keys import Keys as Keys
    from gnjobs.records.requests import KillStep as KillStep
    from gnjobs.runtime.child import ChildOutput as ChildOutput
    from gnjobs.runtime.children import ChildFailure as ChildFailure
    from gnjobs.runtime.children import ChildResult as ChildResult
    from gnjobs.runtime.job import CurrentJob as CurrentJob
    from gnjobs.runtime.job import current_job as current_job
    from gnjobs.runtime.this_child import ThisChild as ThisChild
    from gnjobs.store import JobStore as JobStore
    from gnjobs.supervisor.launch import launch as launch
    from gnjobs.text import safe_line as safe_line
    from gnjobs.text import safe_text as safe_text

_HOMES = {
    "OutputFile": "outputs.adapters",
    "OutputHandler": "outputs.adapters",
    "ChildOutput": "runtime.child",
    "ChildFailure": "runtime.children",
    "ChildResult": "runtime.children",
    "connect": "records.connection",
    "CurrentJob": "runtime.job",
    "current_job": "runtime.job",
    "Health": "health.verdict",
    "Keys": "records.keys",
    "kill_job": "control.kill",
    "launch": "supervisor.launch",
    "Hole": "outputs.lines",
    "Line": "outputs.lines",
    "OutputReader": "outputs.reader",
    "OutputWriter": "outputs.writer",
    "Processor": "processing.processor",
    "Source": "processing.processor",
    "Metric": "processing.report",
    "Report": "processing.report",
    "ReportTable": "processing.report",
    "register": "processing.registry",
    "Child": "records.fields",
    "Job": "records.fields",
    "KillStep": "records.requests",
    "safe_line": "text",
    "safe_text": "text",
    "JobStore": "store",
    "ThisChild": "runtime.this_child",
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
    return sorted([*_HOMES, *(name for name in globals() if name.startswith("__"))])
