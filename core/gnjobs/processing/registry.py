"""Which processor a job's type selects: the table of the built-in ones, registered ones, and installed packages.

A new built-in processor is a module beside this one and a line in the table here. A name found in Redis never leads
to an import.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from gnjobs.processing.generic import GenericProcessor
from gnjobs.processing.insert import InsertProcessor
from gnjobs.processing.isolated import IsolatedProcessor
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


def _is_ours(job_type: str | None) -> bool:
    """Whether a built-in processor answers for a type, known without loading any other."""
    name = _name_of(job_type)
    make = _registered.get(name)
    return name not in _installed() if make is None else make is _BUILT_IN.get(name)


def start_processing(
    job: Job, processor: Processing | None, *, isolated: bool = False
) -> RunningProcessor | IsolatedProcessor:
    """Begin to process a job by what was passed (a processor, its class, a function of the lines), or by its type.

    `isolated` runs the processor of a type that is not built in in a process of its own, where its time is limited.
    """
    if processor is None:
        if isolated and not _is_ours(job.type):
            return IsolatedProcessor(_maker(job.type))
        return RunningProcessor(partial(processor_for, job.type))
    if isinstance(processor, type):
        return RunningProcessor(processor)
    if isinstance(processor, Processor):
        return RunningProcessor(lambda: processor)
    function: Any = processor
    return RunningProcessor(lambda: FunctionProcessor(function))


def _maker(job_type: str | None) -> Callable[[], Processor]:
    """What makes a processor in another process: what was registered here, or an installed one by its name."""
    return _registered.get(_name_of(job_type)) or partial(processor_for, job_type)
