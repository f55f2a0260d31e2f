"""Processors of others in a process of their own: nothing that they do keeps anybody else from going on."""

import os
from collections.abc import Sequence

import pytest

from gnjobs.outputs.lines import Hole, Line
from gnjobs.processing import registry
from gnjobs.processing.isolated import IsolatedProcessor
from gnjobs.processing.processor import Source
from gnjobs.processing.registry import start_processing
from gnjobs.processing.report import Report
from gnjobs.processing.running import RunningProcessor
from gnjobs.records.fields import Child, Job

LINE = Line(1, 0.0, "out", "a line")


class Crashing:
    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        os._exit(3)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report("never made")


class Counting:
    def __init__(self) -> None:
        self.lines = 0

    def feed(self, source: Source, lines: Sequence[Line | Hole]) -> None:
        print("printed where nobody may see it")
        self.lines += len(lines)

    def report(self, job: Job, children: Sequence[Child]) -> Report:
        return Report(f"{self.lines} lines of {job.id} for process {os.getppid()}")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Counting, "2 lines of j for process PID"),
        (Crashing, "its processor ended its process (3)"),
    ],
)
def test_a_type_of_somebody_elses_can_be_processed_apart(
    monkeypatch: pytest.MonkeyPatch, make: type, says: str
) -> None:
    monkeypatch.setitem(registry._registered, "theirs", make)
    processing = start_processing(Job(id="j", type="theirs"), None, isolated=True)
    assert isinstance(processing, IsolatedProcessor)
    processing.feed(Source("job", "j"), [LINE, LINE])
    said = processing.report(Job(id="j"), ())
    processing.close()
    assert says.replace("PID", str(os.getpid())) in (said.headline, *said.notes)


def test_an_installed_types_name_is_all_that_another_process_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_installed", lambda: {"installed": None})
    assert registry.foreign_make("installed") == "installed"
    assert [registry.foreign_make(name) for name in ("qc", "generic", None, "unknown")] == [None] * 4


def test_what_can_not_be_given_to_another_process_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(Counting):
        """One that no other process can import."""

    monkeypatch.setitem(registry._registered, "local", Local)
    assert isinstance(start_processing(Job(id="j", type="local"), None, isolated=True), RunningProcessor)
    assert isinstance(start_processing(Job(id="j", type="qc"), None, isolated=True), RunningProcessor)
