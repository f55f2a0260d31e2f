"""Children of a job: marked, in sessions of their own, bounded in number, and what they say and return is stored."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gnjobs import ChildFailure, ChildResult, CurrentJob, JobStore, Line, ThisChild, current_job
from gnjobs.errors import NoSuchJob, NotInJob
from gnjobs.outputs.faults import line_sentence
from gnjobs.records.environment import (
    ENV_LASTING,
    ENV_LINES_FD,
    ENV_LINES_PIPE,
    lines_descriptor,
    pipe_identity,
)
from gnjobs.runtime import progress
from gnjobs.runtime.process import ChildProcess
from tests.support import child_functions as functions
from tests.support.child_outcomes import stored
from tests.support.servers import Server
from tests.support.waiting import wait_for


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_results_come_in_order_and_children_are_stored(job: CurrentJob, store: JobStore, kind: str) -> None:
    outcomes = job.run_children(functions.square, [3, 1, 2], labels=["c", "a", "b"], kind=kind)
    assert outcomes == [ChildResult("c", "c", 9), ChildResult("a", "a", 1), ChildResult("b", "b", 4)]
    found = stored(store, job)
    assert {child.status for child in found.values()} == {"success"}
    assert (found["c"].done, found["c"].total, found["c"].unit) == (3, 10, "rows")
    assert [getattr(line, "text", "") for line in store.output(job.id, "c").read(1, 9)] == ["squaring 3"]
    assert store.get(job.id).percent == 100
    assert store.get(job.id).message == "3 of 3 children done"


def test_each_process_is_marked_and_leads_a_session(job: CurrentJob, server: Server) -> None:
    outcomes = job.run_children(functions.say_marks, ["x", "y"])
    for outcome, name in zip(outcomes, "xy", strict=True):
        assert isinstance(outcome, ChildResult)
        said = outcome.value
        assert said["session"] == said["pid"] != os.getpid()
        assert said["parent"] == os.getpid()
        assert f"GNJOBS_JOB_ID={job.id}" in said["marks"]
        assert f"GNJOBS_CHILD_ID={name}" in said["marks"]
        assert f"GNJOBS_REDIS_URL={server.url}" in said["marks"]
    assert "GNJOBS_CHILD_ID" not in os.environ


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_no_more_than_max_workers_are_at_work(job: CurrentJob, tmp_path: Path, kind: str) -> None:
    outcomes = job.run_children(functions.hold_a_place, [str(tmp_path)] * 2, max_workers=1, kind=kind)
    assert [getattr(outcome, "value", None) for outcome in outcomes] == [1, 1]


@pytest.mark.parametrize("given", ["function", "item"])
def test_what_cannot_be_pickled_is_refused_with_the_ways_out(
    job: CurrentJob, store: JobStore, given: str
) -> None:
    def local(item: object, child: ThisChild) -> None:
        return

    with pytest.raises(TypeError, match=r"function of a module.*kind=\"thread\""):
        job.run_children(local if given == "function" else functions.square, [threading.Lock()])
    assert stored(store, job) == {}


def test_called_twice_the_children_have_keys_of_their_own(job: CurrentJob, store: JobStore) -> None:
    first = job.run_children(functions.square, [2], labels=["pheno.tsv"], kind="thread")
    second = job.run_children(functions.square, [3], labels=["pheno.tsv"], kind="thread")
    assert first[0].child_id != second[0].child_id
    assert set(stored(store, job)) == {first[0].child_id, second[0].child_id}


def test_children_may_have_children(job: CurrentJob, store: JobStore) -> None:
    outcomes = job.run_children(functions.have_children, [1, 5], labels=["a", "b"])
    assert [getattr(outcome, "value", None) for outcome in outcomes] == [[1, 4], [25, 36]]
    found = stored(store, job)
    assert len(found) == 6
    assert {child.status for child in found.values()} == {"success"}
    assert store.get(job.id).message == "2 of 2 children done"


def test_the_job_says_how_far_its_children_are_while_they_work(
    job: CurrentJob, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LOOK_EVERY", 0.05)

    def work(item: str, child: ThisChild) -> None:
        if item == "fails":
            raise ValueError("at once")
        child.progress(5, 10)
        wait_for(lambda: (store.get(job.id).percent, store.get(job.id).message) == expected)

    expected = (25.0, "0 of 2 children done, 1 failed")
    good, bad = job.run_children(work, ["works", "fails"], kind="thread", max_workers=2)
    assert isinstance(good, ChildResult)
    assert isinstance(bad, ChildFailure)
    assert (store.get(job.id).percent, store.get(job.id).message) == (50, "1 of 2 children done, 1 failed")


def test_what_a_child_says_by_its_job_is_stored_as_its_own(job: CurrentJob, store: JobStore) -> None:
    job.run_children(functions.speak_as_the_job, [7], labels=["a"])
    lines = store.output(job.id, "a").read(1, 9)
    assert [getattr(line, "kind", "") for line in lines] == ["fault", "log"]
    assert stored(store, job)["a"].faults == 1


def test_what_a_child_prints_and_logs_can_be_captured(job: CurrentJob, store: JobStore) -> None:
    job.run_children(functions.print_and_log, [7], labels=["a"])
    lines = [line for line in store.output(job.id, "a").read(1, 9) if isinstance(line, Line)]
    assert [(line.kind, line_sentence(line)) for line in lines] == [
        ("out", "printed 7"),
        ("err", "to stderr"),
        ("log", "INFO gn.qc: logged 7"),
    ]


def test_only_the_pipe_that_was_inherited_is_written_to() -> None:
    read_end, write_end = os.pipe()
    marks = {ENV_LINES_FD: str(write_end), ENV_LINES_PIPE: pipe_identity(write_end)}
    assert lines_descriptor(marks) == write_end
    os.close(write_end)
    assert lines_descriptor(marks) is None
    other_read, other_write = os.pipe()
    os.dup2(other_write, write_end)
    assert lines_descriptor(marks) is None
    for descriptor in {read_end, write_end, other_read, other_write}:
        os.close(descriptor)
    assert lines_descriptor({}) is None


def test_another_thread_says_what_it_finds_also_while_a_child_is_started(
    job: CurrentJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    monkeypatch.setenv(ENV_LINES_FD, str(write_end))
    monkeypatch.setenv(ENV_LINES_PIPE, pipe_identity(write_end))

    def start(*arguments: Any) -> Any:
        with ThreadPoolExecutor() as pool:
            pool.submit(job.fault, {"row": 7}).result()
        return started(*arguments)

    started = ChildProcess._start
    monkeypatch.setattr(ChildProcess, "_start", staticmethod(start))
    job.run_children(functions.square, [7])
    assert os.read(read_end, 100) == b'fault {"row":7}\n'
    for descriptor in (read_end, write_end):
        os.close(descriptor)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "fibre"},
        {"on_failure": "panic"},
        {"max_workers": 0},
        {"max_workers": -1},
        {"output_limit": -1},
    ],
)
def test_options_that_mean_nothing_are_refused(
    job: CurrentJob, store: JobStore, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="|".join(options)):
        job.run_children(functions.square, [1], **options)
    assert stored(store, job) == {}


def test_results_that_cannot_be_sent_are_told_as_text_and_large_ones_come_whole(job: CurrentJob) -> None:
    (outcome,) = job.run_children(functions.return_a_lock, [1])
    assert isinstance(outcome, ChildResult)
    assert "cannot pickle" in outcome.value
    (large,) = job.run_children(functions.give_much, [3_000_000])
    assert isinstance(large, ChildResult)
    assert len(large.value) == 3_000_000


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_the_job_may_limit_the_outputs_of_its_children(job: CurrentJob, kind: str) -> None:
    job.run_children(functions.write_much, [400], labels=["a"], output_limit=1_000_000, kind=kind)
    job.run_children(functions.write_much, [400], labels=["b"], output_limit=0, kind=kind)
    sizes = []
    for child_id in "ab":
        entries = job.client.xrange(job.keys.child_output(job.id, child_id))
        sizes.append(sum(len(fields[b"data"]) for _, fields in entries))
    assert 500_000 < sizes[0] <= 1_100_000
    assert sizes[1] > 4_000_000 - 1


def test_no_items_no_children(job: CurrentJob, store: JobStore) -> None:
    assert job.run_children(functions.square, []) == []
    assert stored(store, job) == {}


def test_a_label_for_each_item_is_needed(job: CurrentJob) -> None:
    with pytest.raises(ValueError, match="1 labels for 2 items"):
        job.run_children(functions.square, [1, 2], labels=["a"])


def test_outside_of_a_job_and_after_its_record_is_gone(
    job: CurrentJob, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.client().flushall()
    with pytest.raises(NoSuchJob, match="is gone"):
        job.run_children(functions.square, [1])
    monkeypatch.delenv("GNJOBS_JOB_ID")
    with pytest.raises(NotInJob, match="belongs to no job"):
        current_job(dry_run=False)


def test_few_thread_children_at_a_time_see_that_their_ends_last(
    job: CurrentJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV_LASTING, "0.5")
    monkeypatch.setattr("gnjobs.runtime.children._LASTING_THREADS_AT_ONCE", 3)
    earlier = sum(thread.name.startswith("output ") for thread in threading.enumerate())  # of other tests
    outcomes = job.run_children(functions.count_states, range(20), max_workers=2, kind="thread")
    counts = [outcome.value for outcome in outcomes if isinstance(outcome, ChildResult)]
    assert len(counts) == 20
    # Those at work, those that last, and those that are waited for.
    assert max(counts) - earlier <= 2 + 3 + 2
