"""Processors by type of job: built in, registered, or from installed packages; never imported by a name in Redis."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from gnjobs.processing.generic import GenericProcessor
from gnjobs.processing.insert import InsertProcessor
from gnjobs.processing.isolated import IsolatedProcessor, pickled_make
from gnjobs.processing.processor import FunctionProcessor, Processing, Processor
from gnjobs.processing.qc import QcProcessor
from gnjobs.processing.running import RunningProcessor
from gnjobs.records.fields import Job

GROUP = "gnjobs.processors"
# gn-uploader's own names of the types whose outputs the built-in processors understand.
_ALIASES = {"qc-rqtl2-bundle": "qc", "rqtl2-bundle-qc": "qc", "phenotype-qc": "qc"}

_BUILT_IN: Final[dict[str, Callable[[], Processor]]] = {
    "generic": GenericProcessor,
    "qc": QcProcessor,
    "insert": InsertProcessor,
}
_registered = dict(_BUILT_IN)


def register(job_type: str, make: Callable[[], Processor]) -> None:
    """Let jobs of this type be processed by what `make` makes; the last registration counts."""
    _registered[job_type] = make


@cache
def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _name_of(job_type: str | None) -> str:
    return _ALIASES.get(job_type or "", job_type or "generic")


def processor_for(job_type: str | None) -> Processor:
    """Make the processor of a type; an unknown type gets the generic one.

    Installed packages are looked through once; only code that one of them announces is ever loaded.
    """
    name = _name_of(job_type)
    if name not in _registered and name in _installed():
        register(name, _installed()[name].load())
    return _registered.get(name, GenericProcessor)()


def foreign_make(job_type: str | None) -> Callable[[], Processor] | str | None:
    """What makes the processor of a type where it is none of ours: what was registered, or an installed one's name."""
    name = _name_of(job_type)
    make = _registered.get(name)
    if make is None:
        return name if name in _installed() else None
    return None if make is _BUILT_IN.get(name) else make


def start_processing(
    job: Job, processor: Processing | None, *, isolated: bool = False
) -> RunningProcessor | IsolatedProcessor:
    """Begin to process a job by what was passed (a processor, its class, a function of the lines), or by its type.

    `isolated` has the processor of a type run in a process of its own, unless it is one of ours.
    """
    if processor is None:
        return _by_type(job.type, isolated)
    if isinstance(processor, type):
        return RunningProcessor(processor)
    if isinstance(processor, Processor):
        return RunningProcessor(lambda: processor)
    function: Any = processor
    return RunningProcessor(lambda: FunctionProcessor(function))


def _by_type(job_type: str | None, isolated: bool) -> RunningProcessor | IsolatedProcessor:
    theirs = foreign_make(job_type) if isolated else None
    make = theirs if theirs is None or isinstance(theirs, str) else pickled_make(theirs)
    return RunningProcessor(lambda: processor_for(job_type)) if make is None else IsolatedProcessor(make)
