"""What a record names as its job of Slurm's is cancelled only where Slurm says that it is this one, and whose."""

import os
from pathlib import Path

import pytest

from gnjobs.control.kill import kill_job
from gnjobs.control.slurm import SlurmRounds, cancel_and_wait
from gnjobs.processes.host import host_name, login_name
from gnjobs.processes.slurm import SlurmError
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.store import JobStore
from gnjobs.supervisor.slurm import submit_supervisor
from tests.support.fake_slurm import FakeSlurm
from tests.support.servers import Server
from tests.support.supervised import KEYS


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    slurm = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", slurm.path)
    return slurm


def submitted(store: JobStore, *options: str) -> Job:
    """A job of alice's that runs on a node, and whose supervisor does not answer."""
    job = store.create(["true"], user_id="alice")
    assert submit_supervisor(store, job, ["true"], dict(os.environ), options) == "17"
    lost = {"status": "running", "host": "n1", "supervisor-pid": 5, "supervisor-started": 5}
    store.client.hset(store.keys.job(job.id), mapping=lost)
    return store.get(job.id)


@pytest.mark.parametrize("owner", [None, "alice"])
def test_a_job_is_cancelled_by_its_mark_beside_the_users_own_comment(
    queue: FakeSlurm, store: JobStore, owner: str | None
) -> None:
    job = submitted(store, "--comment=project 7")
    assert queue.read("17", "comment").endswith(" project 7")
    assert cancel_and_wait(store, job, owner).verified
    assert queue.read("17", "state") == "CANCELLED"


def test_neither_another_prefix_nor_another_owner_reaches_it(
    queue: FakeSlurm, store: JobStore, server: Server
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
    assert queue.read("17", "state") == "RUNNING"


@pytest.mark.parametrize("number", ["017", "17.0"])
def test_a_number_that_is_spelt_otherwise_is_nobodys(queue: FakeSlurm, store: JobStore, number: str) -> None:
    job = submitted(store)
    store.client.hset(store.keys.job(job.id), "slurm-job", number)
    with pytest.raises(SlurmError, match="knows nothing"):
        cancel_and_wait(store, store.get(job.id))
    assert queue.read("17", "state") == "RUNNING"


@pytest.mark.parametrize("forged", ["account", "comment", None])
def test_a_job_without_a_number_is_none_of_a_stranger_who_takes_its_name(
    queue: FakeSlurm, store: JobStore, forged: str | None
) -> None:
    job = submitted(store)
    waits = {"status": "pending", "account": login_name(), "launched": 1, "launch-host": host_name()}
    store.client.hset(KEYS.job(job.id), mapping=waits)
    store.client.hdel(KEYS.job(job.id), "slurm-job")
    if forged is not None:
        queue.write("17", **{forged: "mallory"})
    SlurmRounds(store).go([store.get(job.id)], store.now())
    assert store.get(job.id).slurm_job == (None if forged else "17")
