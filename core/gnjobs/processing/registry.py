"""Which processor a job's type selects: the built-in ones, registered ones, and those of installed packages.

A new built-in processor is a module beside this one with a class that names its types in `JOB_TYPES`. A name found in
Redis never leads to an import.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any

from gnjobs import processing
from gnjobs.processing.generic import GenericProcessor
from gnjobs.processing.isolated import IsolatedProcessor
from gnjobs.processing.processor import FunctionProcessor, Processing, Processor
from gnjobs.processing.running import RunningProcessor
from gnjobs.records.fields import Job

GROUP = "gnjobs.processors"

_registered: dict[str, Callable[[], Processor]] = {}


def register(job_type: str, make: Callable[[], Processor]) -> None:
    """Let jobs of this type be processed by what `make` makes; the last registration counts."""
    _registered[job_type] = make


@cache
def _built_in() -> Mapping[str, type[Any]]:
    """The classes of this room that name types, by the first that each names: the one to register another under."""
    modules = [
        import_module(f"{processing.__name__}.{found.name}") for found in iter_modules(processing.__path__)
    ]
    classes = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    return {each.JOB_TYPES[0]: each for each in classes if hasattr(each, "JOB_TYPES")}


@cache
def _names() -> Mapping[str, str]:
    return {name: first for first, each in _built_in().items() for name in each.JOB_TYPES}


@cache
def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _name_of(job_type: str | None) -> str:
    return _names().get(job_type or "", job_type or "generic")


def _made_by(name: str) -> Callable[[], Processor] | None:
    return _registered.get(name) or _built_in().get(name)


def processor_for(job_type: str | None) -> Processor:
    """Make the processor of a type; an unknown type gets the generic one.

    Installed packages are looked through once; only code that one of them announces is ever loaded.
    """
    name = _name_of(job_type)
    if _made_by(name) is None and name in _installed():
        register(name, _installed()[name].load())
    return (_made_by(name) or GenericProcessor)()


def _is_ours(job_type: str | None) -> bool:
    """Whether a built-in processor answers for a type, known without loading any other."""
    name = _name_of(job_type)
    make = _made_by(name)
    return name not in _installed() if make is None else make is _built_in().get(name)


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
    return _made_by(_name_of(job_type)) or partial(processor_for, job_type)
