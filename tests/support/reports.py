"""What processors make of lines."""

import json

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing.processor import Source
from gnjobs.processing.registry import start_processing
from gnjobs.processing.report import Report
from gnjobs.records.fields import Child, Job

SOURCE = Source("child", "geno.tsv", "geno.tsv")


def line(number: int, text: str, kind: str = "out", at: float = 0.0) -> Line:
    return Line(number, at, kind, text)


def report(
    job_type: str, lines: list[Line | Hole], status: str = "running", children: tuple[Child, ...] = ()
) -> Report:
    job = Job(id="j", type=job_type, status=status)
    processing = start_processing(job, None)
    processing.feed([(SOURCE, lines)])
    return processing.report(job, children)


def fault_line(number: int, **fields: object) -> Line:
    return line(number, json.dumps(fields), "fault")
