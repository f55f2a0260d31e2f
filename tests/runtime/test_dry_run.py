"""A job's code without a job and without Redis: by hand it prints, and tests read what it would have stored."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnjobs import ChildFailure, ChildOutput, ChildResult, CurrentJob, ThisChild, current_job
from gnjobs.errors import NotInJob
from tests.support import child_functions as functions

SCRIPT = """
import os, sys
from gnjobs import current_job

def check(name, child):
    for row in range(1, 5001):
        child.progress(row, 5000, unit="rows")
    child.fault({"row": 3, "column": 2, "value": "", "expected": "a value"})
    with child.capture():
        print("seen\\x1b[31m")
    if name == "crash.tsv":
        os._exit(7)
    if name == "raise.tsv":
        raise ValueError("no such strain")
    return name

if __name__ == "__main__":
    with current_job() as job:
        job.message("checking")
        outcomes = job.run_children(check, sys.argv[1:], max_workers=2)
        job.record({"table": "T", "rows": 7})
    print([type(outcome).__name__ for outcome in outcomes])
"""


def by_hand(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script as its author would, where no server is."""
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    env = {name: value for name, value in os.environ.items() if not name.startswith("GNJOBS_")}
    # A URL alone makes no job.
    env["GNJOBS_REDIS_URL"] = "redis://127.0.0.1:1/0"
    return subprocess.run([sys.executable, str(script), *arguments], env=env, capture_output=True, text=True)


def test_run_by_hand_it_prints_what_it_would_have_stored(tmp_path: Path) -> None:
    done = by_hand(tmp_path, "fine.tsv", "raise.tsv", "crash.tsv")
    assert (done.returncode, done.stdout) == (0, "['ChildResult', 'ChildFailure', 'ChildFailure']\n")
    said = done.stderr.splitlines()
    assert said[:2] == [
        "gnjobs: this process belongs to no job: a dry run, of which nothing is stored",
        "job: checking",
    ]
    of_one = [line for line in said if line.startswith("fine.tsv: ")]
    # Progress that comes fast is printed now and then, and its last.
    assert of_one[0] == "fine.tsv: 0 %, 1 of 5000 rows"
    assert of_one[-4:] == [
        "fine.tsv: row 3, column 2 (B): empty cell, needs a value",
        "fine.tsv: seen␛[31m",
        "fine.tsv: 100 %, 5000 of 5000 rows",
        "fine.tsv: done, 1 fault",
    ]
    assert len(of_one) < 60
    assert "raise.tsv: ValueError: no such strain" in said
    assert "raise.tsv: failed, 1 fault" in said
    assert "crash.tsv: ended with exit code 7 without a result" in said
    assert said[-2:] == ["job: 33 %, 1 of 3 children done, 2 failed", "job: table=T rows=7"]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> CurrentJob:
    """A dry run, though the environment names a job."""
    monkeypatch.setenv("GNJOBS_JOB_ID", "a-real-one")
    monkeypatch.setenv("GNJOBS_REDIS_URL", "redis://127.0.0.1:1/0")
    return current_job(dry_run=True)


def test_a_test_reads_what_a_child_wrote(job: CurrentJob, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = job.allocate_children(["pheno.tsv", "pheno.tsv"])
    with ThisChild(first) as child:
        child.fault({"row": 1, "value": "x"})
        child.print("one\ntwo")
    assert [(line.number, line.kind, line.text) for line in child.writer.written] == [
        (1, "fault", '{"row":1,"value":"x"}'),
        (2, "out", "one"),
        (3, "out", "two"),
    ]
    with pytest.raises(ZeroDivisionError), ChildOutput(second):
        raise ZeroDivisionError
    said = capfd.readouterr().err
    assert "pheno.tsv: done, 1 fault" in said
    assert "pheno.tsv-2: failed" in said


def test_children_run_as_ever_and_may_have_children(job: CurrentJob) -> None:
    def work(item: int, child: ThisChild) -> int:
        inner = child.run_children(lambda each, _: each * 2, [item], kind="thread")
        return sum(outcome.value for outcome in inner if isinstance(outcome, ChildResult))

    outcomes = job.run_children(work, [1, 2], kind="thread", labels=["a", "b"])
    assert [outcome.value for outcome in outcomes if isinstance(outcome, ChildResult)] == [2, 4]
    stopped = job.run_children(fails, [1, 2], kind="thread", max_workers=1, on_failure="stop")
    assert [outcome.error.splitlines()[-1] for outcome in stopped if isinstance(outcome, ChildFailure)] == [
        "ValueError: 1",
        "not started: 1 failed",
    ]
    with pytest.raises(TypeError, match="must be picklable"):
        job.run_children(lambda item, child: None, [1])
    assert [outcome.value for outcome in job.run_children(functions.square, [3])] == [9]  # type: ignore[union-attr]


def fails(item: int, child: ThisChild) -> None:
    """Fail."""
    raise ValueError(item)


def test_there_is_no_connection(job: CurrentJob) -> None:
    with pytest.raises(NotInJob, match="no connection to Redis"):
        _ = job.client


@pytest.mark.parametrize("place", [{"row": 0}, {"column": -1}, {"row": 0.0}])
def test_rows_and_columns_count_from_1(job: CurrentJob, place: dict[str, float]) -> None:
    (key,) = job.allocate_children(["a"])
    for give in (job.fault, ChildOutput(key).fault):
        with pytest.raises(
            ValueError, match=f"{next(iter(place))} .* in a fault: rows and columns count from 1"
        ):
            give({"value": "x", **place})
        give({"row": 1, "column": 1, "value": "x"})
        give({"row": None, "value": "x"})
