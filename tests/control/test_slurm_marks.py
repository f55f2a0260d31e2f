"""What a record names as its job of Slurm's is cancelled only where Slurm says that it is this one, and whose."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from gnjobs.control.kill import kill_job
from gnjobs.control.slurm import SlurmRounds, cancel_and_wait
from gnjobs.processes.host import host_name, login_name
from gnjobs.processes.slurm import SlurmError
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.scripts import Value
from gnjobs.store import JobStore
from gnjobs.supervisor.slurm import submit_supervisor
from tests.support.servers import Server
from tests.support.slurm import SEPARATED
from tests.support.supervised import KEYS


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with commands of a Slurm of one job, number 17, whose `state`, `name` and `comment` are files."""
    scripts = {
        "sbatch": """for word; do case $word in
            --job-name=*) echo "${word#*=}" >name;; --comment=*) echo "${word#*=}" >comment;;
            esac; done; echo RUNNING >state; echo 17""",
        "squeue": f"""echo "17§$(cat state)§§n1§1:00§1G§1§0§N/A§0§$(cat name)§$(cat comment)§$(cat account)§" | {{
            {SEPARATED}; }}""",
        "scancel": "echo CANCELLED >state",
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\ncd {tmp_path}\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "account").write_text(login_name())
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def submitted(store: JobStore, *options: str) -> Job:
    """A job of alice's that runs on a node, and whose supervisor does not answer."""
    job = store.create(["true"], user_id="alice")
    assert submit_supervisor(store, job, ["true"], dict(os.environ), options) == "17"
    lost = {"status": "running", "host": "n1", "supervisor-pid": 5, "supervisor-started": 5}
    store.client.hset(store.keys.job(job.id), mapping=lost)
    return store.get(job.id)


def state(queue: Path) -> str:
    return (queue / "state").read_text().strip()


def test_a_job_that_is_removed_while_the_agent_concludes_it_keeps_it_from_no_other(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, other = store.create(["true"]), store.create(["true"])
    fields = {"slurm-job": "17", "launch-host": host_name(), "created": 1, "launched": 1}
    for job in (gone, other):
        store.client.hset(KEYS.job(job.id), mapping=fields)
    monkeypatch.setattr("gnjobs.control.slurm.look_up", lambda *_: {})
    rounds, jobs = SlurmRounds(store), [store.get(gone.id), store.get(other.id)]
    rounds._look(jobs, store.now())
    store.client.delete(KEYS.job(gone.id))
    rounds._look(jobs, store.now())
    assert store.get(other.id).status == "lost"


@pytest.mark.parametrize("owner", [None, "alice"])
def test_a_job_is_cancelled_by_its_mark_beside_the_users_own_comment(
    queue: Path, store: JobStore, owner: str | None
) -> None:
    job = submitted(store, "--comment=project 7")
    assert (queue / "comment").read_text().endswith(" project 7\n")
    assert cancel_and_wait(store, job, owner).verified
    assert state(queue) == "CANCELLED"


def test_neither_another_prefix_nor_another_owner_reaches_it(
    queue: Path, store: JobStore, server: Server
) -> None:
    job = submitted(store)
    jsmith = Actor("jsmith (jsmith)", "curator", ("jsmith",))
    record = store.client.hgetall(store.keys.job(job.id)) | {b"user-id": b"jsmith", b"launch-host": b"n0"}
    for each in (JobStore.from_url(server.url, "other"), store):
        each.client.hset(each.keys.job(job.id), mapping=record)
        steps = list(kill_job(each, job.id, actor=jsmith, as_agent=True))
        assert not steps[-1].verified, steps
        assert any("is left alone" in step.text and "for jsmith" in step.text for step in steps), steps
    with pytest.raises(SlurmError, match="this server and prefix"):  # nor an admin of the other prefix
        cancel_and_wait(JobStore.from_url(server.url, "other"), job)
    assert state(queue) == "RUNNING"


@pytest.mark.parametrize("number", ["017", "17.0"])
def test_a_number_that_is_spelt_otherwise_is_nobodys(queue: Path, store: JobStore, number: str) -> None:
    job = submitted(store)
    store.client.hset(store.keys.job(job.id), "slurm-job", number)
    with pytest.raises(SlurmError, match="knows nothing"):
        cancel_and_wait(store, store.get(job.id))
    assert state(queue) == "RUNNING"


@pytest.mark.parametrize("forged", ["account", "comment", None])
def test_a_job_without_a_number_is_none_of_a_stranger_who_takes_its_name(
    queue: Path, store: JobStore, forged: str | None
) -> None:
    job = submitted(store)
    store.client.hset(KEYS.job(job.id), mapping={"status": "pending", "account": login_name(), "launched": 1})
    store.client.hdel(KEYS.job(job.id), "slurm-job")
    if forged is not None:
        (queue / forged).write_text("mallory")
    found: dict[str, Mapping[str, Value]] = {}
    SlurmRounds(store)._by_name(store.get(job.id), store.now(), found)
    assert found == ({} if forged else {job.id: {"slurm-job": "17"}})
