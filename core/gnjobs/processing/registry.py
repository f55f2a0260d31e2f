"""Processors by type of job: built in, registered, or from installed packages; never imported by a name in Redis."""

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from gnjobs.processing.generic import GenericProcessor
from gnjobs.processing.insert import InsertProcessor
from gnjobs.processing.processor import Processor
from gnjobs.processing.qc import QcProcessor

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
