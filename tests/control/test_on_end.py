"""The command of the configuration that runs whenever a job has ended, whoever ends it."""

import json
import os
import shlex
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gnjobs.control.kill import kill_job
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.hooks import run_on_end
from gnjobs.store import JobStore
from tests.support.agents import agent_at_work
from tests.support.os_accounts import needs_accounts
from tests.support.servers import Server
from tests.support.supervised import KEYS, SupervisedJob, supervised
from tests.support.waiting import wait_for


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command of these tests writes what it is given: a file a call, whatever account writes it."""
    with tempfile.TemporaryDirectory() as name:
        yield prepare(Path(name), monkeypatch)


def prepare(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory.chmod(0o777)
    script = directory / "on-end"
    script.write_text('#!/bin/sh\ncat > "$1/$$.part" && mv "$1/$$.part" "$1/$$.json"\n')
    script.chmod(0o755)
    monkeypatch.setenv("GNJOBS_ON_END", shlex.join([str(script), str(directory)]))
    return directory


def read_one(directory: Path) -> dict[str, Any]:
    """What the command was given, the one time that it ran."""
    (found,) = wait_for(lambda: list(directory.glob("*.json")))
    return json.loads(found.read_text())


def test_a_supervisor_runs_it_once_with_the_job_as_json(server: Server, told: Path) -> None:
    with supervised(server, ["sh", "-c", "exit 3"], user_id="jsmith", label="QC") as job:
        given = read_one(told)
        assert (given["id"], given["status"], given["exit_code"]) == (job.id, "error", 3)
        assert (given["user"], given["label"], given["type"]) == ("jsmith", "QC", None)
        job.processes[0].wait(60)
    assert len(list(told.glob("*.json"))) == 1


def test_it_is_no_process_of_the_job_that_a_kill_would_end(
    server: Server, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = told / "environment"
    script = 'env > "$1.part"; mv "$1.part" "$1"'
    monkeypatch.setenv("GNJOBS_ON_END", shlex.join(["sh", "-c", script, "sh", str(seen)]))
    with supervised(server, ["true"]) as job:
        wait_for(seen.exists)
        names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
        assert "GNJOBS_REDIS_URL" in names
        assert not names & {"GNJOBS_JOB_ID", "GNJOBS_MARK", "GNJOBS_CHILD_ID"}
        job.processes[0].wait(60)


def test_a_kill_before_the_start_runs_it(server: Server, store: JobStore, told: Path) -> None:
    job = store.create(["true"], label="never")
    if os.geteuid() == 0:  # whose account the job would have had is not known, and never is it run as root
        list(kill_job(store, job.id, actor=Actor.admin("tux")))
        texts = wait_for(lambda: [event.text for event in store.events() if event.kind == "hook"])
        assert texts[-1] == "on-end failed: the job's account is not known, and nothing is run as root for it"
        assert not list(told.glob("*.json"))
    else:
        list(kill_job(store, job.id, actor=Actor.admin("tux")))
        assert (read_one(told)["id"], read_one(told)["status"]) == (job.id, "killed")


def test_an_agent_never_runs_it_as_root_whatever_the_record_says(
    server: Server, store: JobStore, told: Path
) -> None:
    with supervised(server, ["sleep", "600"]) as job, agent_at_work(store):
        end_without_a_word(job, store)
        job.wait_for("lost")
        if os.geteuid() == 0:
            assert wait_for(
                lambda: [event for event in store.events() if event.kind == "hook" and event.job == job.id]
            )
            assert not list(told.glob("*.json"))
        else:
            assert read_one(told)["status"] == "lost"


def end_without_a_word(job: SupervisedJob, store: JobStore) -> None:
    """Kill the supervisor, then the command, so that nobody reports the end."""
    job.wait_for("running")
    pid = wait_for(lambda: job.read().pid)
    supervisor = job.processes[0]
    supervisor.send_signal(signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait()
    psutil.Process(pid).kill()
    store.client.hset(KEYS.job(job.id), "heartbeat", store.now() - 100)


@needs_accounts
def test_root_runs_it_as_the_job_s_account(store: JobStore, told: Path) -> None:
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), mapping={"account": "nobody", "status": "lost"})
    run_on_end(store, Job(id=job.id), as_ourselves=False)
    (found,) = wait_for(lambda: list(told.glob("*.json")))
    assert found.stat().st_uid != 0
    assert stat.S_ISREG(found.stat().st_mode)


def test_one_that_prints_without_end_is_ended_and_fills_no_memory(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.create(["true"])
    monkeypatch.setenv("GNJOBS_ON_END", "cat /dev/zero")
    before = psutil.Process().memory_info().rss
    run_on_end(store, job, as_ourselves=True)
    texts = wait_for(lambda: [event.text for event in store.events() if event.job == job.id])
    assert texts == ["on-end failed: it printed more than 16 MB"]
    assert psutil.Process().memory_info().rss - before < 10_000_000


def test_what_fails_is_told_in_the_log(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = store.create(["true"])
    monkeypatch.setenv("GNJOBS_ON_END", shlex.join(["sh", "-c", "echo no mail server >&2; exit 7"]))
    run_on_end(store, job, as_ourselves=True)
    hooks = wait_for(lambda: [event for event in store.events() if event.kind == "hook"])
    assert [event.text for event in hooks if event.job == job.id] == [
        "on-end failed: exit code 7: no mail server"
    ]
