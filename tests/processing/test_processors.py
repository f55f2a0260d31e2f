"""Processors of others: plain functions, those that are registered, and those of installed packages."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from gnjobs.outputs.lines import Line
from gnjobs.processing.processor import FunctionProcessor, Source
from gnjobs.processing.registry import processor_for, register, start_processing
from gnjobs.processing.report import Report
from gnjobs.records.fields import Job
from tests.support.reports import SOURCE, line, report


def test_a_plain_function_may_return_a_headline_a_mapping_or_a_report() -> None:
    job = Job(id="j")

    def ask(function: object) -> Report:
        processing = start_processing(job, function)
        processing.feed([(SOURCE, [line(1, "a"), line(2, "b")])])
        return processing.report(job, ())

    def headline(lines: Iterable[Line]) -> str:
        return f"{len(list(lines))} lines"

    assert ask(headline).headline == "2 lines"
    assert ask(lambda lines: {"lines": len(list(lines))}).metrics[0].value == 2
    assert ask(lambda _: Report("mine")).headline == "mine"


def test_a_plain_function_is_called_again_only_for_new_lines() -> None:
    calls = []

    def count(lines: Iterable[Line]) -> str:
        calls.append(1)
        return f"{len(list(lines))} lines"

    processing = start_processing(Job(id="j"), count)
    for expected in (1, 1, 2):
        if expected > len(calls):
            processing.feed([(SOURCE, [line(expected, "x")])])
        assert processing.report(Job(id="j"), ()).headline == f"{expected} lines"
    processing.report(Job(id="j"), ())
    assert len(calls) == 2


def test_a_plain_function_is_given_no_more_than_memory_should_hold() -> None:
    processor = FunctionProcessor(lambda lines: [each.number for each in lines], largest_input=1000)
    processor.feed(SOURCE, [line(n, "x" * 50) for n in range(1, 100)])
    said = processor.report(Job(id="j"), ())
    assert said.headline == "[95, 96, 97, 98, 99]"
    assert said.notes == ("the function was given the last 5 lines, without 94 before",)


HER_PROCESSOR = """
import os

class HerProcessor:
    def feed(self, source, lines): pass
    def report(self, job, children):
        from gnjobs import Report
        return Report(f"hers, in {os.getpid()}")
"""
ASKING = """
import os
from gnjobs.processing.registry import start_processing
from gnjobs.records.fields import Job

here = str(os.getpid())
for name, isolated in (("hers", False), ("hers", True), ("broken", False), ("broken", True)):
    running = start_processing(Job(id="j", type=name), None, isolated=isolated)
    said = running.report(Job(id="j"), ())
    running.close()
    where = "here" if said.headline.endswith(here) else "elsewhere"
    print(where, *said.notes or [said.headline])
"""


def test_a_processor_of_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "her_package.py").write_text(HER_PROCESSOR)
    metadata = tmp_path / "her_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: her-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[gnjobs.processors]\nhers = her_package:HerProcessor\nbroken = not_there:Processor\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    asked = subprocess.run(
        [sys.executable, "-c", ASKING], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    hers, isolated, broken, broken_elsewhere = asked.stdout.splitlines()
    assert hers.startswith("here hers")
    assert isolated.startswith("elsewhere hers")
    assert "ModuleNotFoundError" in broken
    assert "ModuleNotFoundError" in broken_elsewhere


def test_a_registered_type_is_used_and_a_name_from_redis_imports_nothing() -> None:
    class Mine:
        def feed(self, source: Source, lines: object) -> None:
            return

        def report(self, job: Job, children: object) -> Report:
            return Report("mine")

    register("my-type", Mine)
    assert report("my-type", []).headline == "mine"
    assert type(processor_for("os.system")).__name__ == "GenericProcessor"
