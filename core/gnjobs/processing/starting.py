"""Beginning to process a job: by which processor, and where that runs."""

from typing import Any

from gnjobs.processing.isolated import IsolatedProcessor, pickled_make
from gnjobs.processing.processor import FunctionProcessor, Processing, Processor
from gnjobs.processing.registry import foreign_make, processor_for
from gnjobs.processing.running import RunningProcessor
from gnjobs.records.fields import Job


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
