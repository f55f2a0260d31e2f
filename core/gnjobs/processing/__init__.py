"""Processing by type: the code that makes sense of a job's outputs, selected when its status is asked for."""

from gnjobs.processing.isolated import IsolatedProcessor
from gnjobs.processing.processor import FunctionProcessor, Processing, Processor, Source
from gnjobs.processing.registry import processor_for, register
from gnjobs.processing.report import Metric, Report, ReportTable
from gnjobs.processing.running import Portion, RunningProcessor
from gnjobs.processing.starting import start_processing

__all__ = [
    "FunctionProcessor",
    "IsolatedProcessor",
    "Metric",
    "Portion",
    "Processing",
    "Processor",
    "Report",
    "ReportTable",
    "RunningProcessor",
    "Source",
    "processor_for",
    "register",
    "start_processing",
]
