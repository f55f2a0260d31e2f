"""How children of a job end: each end is noticed and stored, and the others go on or are stopped."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker, spawn
from pathlib import Path

import pytest
import redis

from gnjobs import (
    ChildResult,
    CurrentJob,
    JobStore,
)
from gnjobs.records.environment import ENV_LASTING
from gnjobs.records.fields import TOKEN_FIELD
from tests.support import child_functions as functions
from tests.support.child_outcomes import failure, stored
from tests.support.servers import Server
from tests.support.waiting import wait_for


def test_every_end_is_noticed_and_the_others_go_on(job: CurrentJob, store: JobStore) -> None:
    items = ["raise", "segfault", "exit", "sys.exit", "sys.exit well", "fine"]
    raised, crashed, exited, left, left_well, fine = job.run_children(functions.end_as_told, items)
    assert "ValueError: cell 7 is no cell" in failure(raised).error
    assert failure(crashed).signal == signal.SIGSEGV
    assert "ended by signal 11 (Segmentation fault)" in failure(crashed).error
    assert failure(exited).exit_code == 7
    assert failure(left).exit_code == 3
    assert isinstance(left_well, ChildResult)
    assert isinstance(fine, ChildResult)
    assert fine.value == "fine"
    found = stored(store, job)
    assert [child.status for child in found.values()].count("error") == 4
    assert found["segfault"].signal == signal.SIGSEGV
    assert found["exit"].exit_code == 7
    assert "Traceback" in (found["raise"].error or "")


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_what_was_killed_while_it_waited_is_not_started(job: CurrentJob, store: JobStore, kind: str) -> None:
    items, labels = ["b", "nobody", "nobody"], ["a", "b", "c"]
    outcomes = job.run_children(functions.kill_another, items, labels=labels, max_workers=1, kind=kind)
    assert [isinstance(each, ChildResult) for each in outcomes] == [True, False, True]
    assert failure(outcomes[1]).error == "killed before it began"
    killed = stored(store, job)["b"]
    assert (killed.status, killed.started) == ("killed", None)
    assert store.get(job.id).message == "2 of 3 children done, 1 failed"


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_what_is_no_text_is_a_failure_as_any_other(job: CurrentJob, store: JobStore, kind: str) -> None:
    raised, fine = job.run_children(functions.end_as_told, ["raise half a character", "fine"], kind=kind)
    assert "is no cell" in failure(raised).error
    assert isinstance(fine, ChildResult)
    found = stored(store, job)
    assert found.pop("fine").status == "success"
    assert [child.status for child in found.values()] == ["error"]


def test_a_key_of_another_type_costs_no_other_child_its_outcome(
    job: CurrentJob, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate = job.allocate_children

    def spoil(labels: list[str], **options: bool) -> list[str]:
        keys = allocate(labels, **options)
        job.client.delete(job.keys.child(job.id, "segfault"))
        job.client.set(job.keys.child(job.id, "segfault"), "somebody else's")
        return keys

    monkeypatch.setattr(job, "allocate_children", spoil)
    crashed, exited = job.run_children(functions.end_as_told, ["segfault", "exit"])
    assert failure(crashed).signal == signal.SIGSEGV
    assert failure(exited).exit_code == 7
    assert stored(store, job)["exit"].status == "error"


def test_in_threads_exceptions_and_exits_are_outcomes(job: CurrentJob, store: JobStore) -> None:
    items = ["raise", "sys.exit", "sys.exit well", "fine"]
    raised, left, left_well, fine = job.run_children(functions.end_as_told, items, kind="thread")
    assert "ValueError" in failure(raised).error
    assert "SystemExit" in failure(left).error
    assert isinstance(left_well, ChildResult)
    assert isinstance(fine, ChildResult)
    assert (
        sorted(str(child.status) for child in stored(store, job).values()) == ["error"] * 2 + ["success"] * 2
    )


def test_a_dead_child_is_noticed_though_what_it_forked_lives_on(job: CurrentJob, tmp_path: Path) -> None:
    said = tmp_path / "pid"
    try:
        (outcome,) = job.run_children(functions.fork_and_crash, [str(said)])
        assert failure(outcome).signal == signal.SIGKILL
        os.kill(int(said.read_text()), 0)
    finally:
        os.kill(int(said.read_text()), signal.SIGKILL)


def test_on_failure_stop_ends_those_at_work_and_starts_no_more(
    job: CurrentJob, store: JobStore, tmp_path: Path
) -> None:
    at_work = str(tmp_path / "at work")
    items = [("fail", at_work), ("wait", at_work), ("wait", at_work)]
    outcomes = job.run_children(
        functions.fail_or_wait, items, max_workers=2, labels=["f", "w", "n"], on_failure="stop"
    )
    failed, stopped, not_started = map(failure, outcomes)
    assert "the first one failed" in failed.error
    assert stopped.error == "stopped: f failed"
    assert not_started.error == "not started: f failed"
    statuses = {child_id: child.status for child_id, child in stored(store, job).items()}
    assert statuses == {"f": "error", "w": "killed", "n": "killed"}


def forget_end(client: redis.Redis, key: str) -> None:
    client.hset(key, "status", "running")
    client.hdel(key, TOKEN_FIELD, "signal")


def forget_child(client: redis.Redis, key: str) -> None:
    client.delete(key)


@pytest.mark.sampled
@pytest.mark.parametrize("forget", [forget_end, forget_child])
def test_an_end_that_a_server_forgot_is_written_again(
    job: CurrentJob,
    store: JobStore,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[redis.Redis, str], None],
) -> None:
    monkeypatch.setenv(ENV_LASTING, "1.0")

    def forget_once() -> None:
        key = job.keys.child(job.id, "segfault")
        with server.client() as client:
            wait_for(lambda: client.hget(key, "status") == b"error")
            forget(client, key)

    forgetting = threading.Thread(target=forget_once)
    forgetting.start()
    job.run_children(functions.end_as_told, ["segfault"])
    forgetting.join()
    found = stored(store, job)["segfault"]
    assert (found.status, found.signal, found.label) == ("error", signal.SIGSEGV, "segfault")


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_of_thousands_that_are_not_started_each_says_so(job: CurrentJob, store: JobStore, kind: str) -> None:
    items = ["raise"] + ["fine"] * 2000
    outcomes = job.run_children(functions.end_as_told, items, max_workers=1, kind=kind, on_failure="stop")
    assert [failure(outcome).error for outcome in outcomes[1:]] == ["not started: raise failed"] * 2000
    statuses = [child.status for child in store.all_children(job.id)]
    assert (statuses.count("error"), statuses.count("killed")) == (1, 2000)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises `KeyboardInterrupt`, also where it was ignored when Python started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_job_ends_its_children_and_says_so_of_each(
    job: CurrentJob, store: JobStore, interruptible: None
) -> None:
    def interrupt() -> None:
        wait_for(lambda: [child.status for child in stored(store, job).values()].count("running") == 2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        job.run_children(functions.wait_for_ever, ["a", "b", "c"], max_workers=2)
    found = stored(store, job)
    assert {child_id: (child.status, child.error, child.signal) for child_id, child in found.items()} == {
        "a": ("killed", "stopped by KeyboardInterrupt", signal.SIGTERM),
        "b": ("killed", "stopped by KeyboardInterrupt", signal.SIGTERM),
        "c": ("killed", "not started: KeyboardInterrupt", None),
    }
    for child in (found["a"], found["b"]):
        assert child.pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)


def test_an_item_that_cannot_be_made_again_fails_its_own_child_only(job: CurrentJob) -> None:
    broken, fine = job.run_children(functions.square, [functions.BrokenItem(), 3], labels=["a", "b"])
    assert "invalid literal" in failure(broken).error
    assert isinstance(fine, ChildResult)


@pytest.fixture
def no_python() -> Iterator[None]:
    """Children are started by a program that ends at once."""
    # The first process that is spawned starts the tracker too, which is to be a real one.
    resource_tracker.ensure_running()
    python = spawn.get_executable()
    spawn.set_executable("/bin/true")
    yield
    spawn.set_executable(python)


@pytest.mark.usefixtures("no_python")
def test_a_child_that_dies_before_it_has_its_item_does_not_keep_its_job_waiting(job: CurrentJob) -> None:
    failed = failure(job.run_children(functions.square, ["x" * 1_000_000])[0])
    assert failed.error == "ended with exit code 0 without a result"
