"""What a record names as its job of Slurm's is cancelled only where Slurm says that it is this one, and whose."""

import os
from pathlib import Path

import pytest

from gnjobs.control import slurm_kill
from gnjobs.control.kill import kill_job
from gnjobs.control.slurm_kill import SlurmKill
from gnjobs.control.slurm_rounds import SlurmRounds
from gnjobs.processes.host import host_name, own_account
from gnjobs.processes.slurm import SlurmError
from gnjobs.records.actor import Actor
from gnjobs.records.backoff import Backoff
from gnjobs.records.fields import Job
from gnjobs.store import JobStore
from gnjobs.supervisor.slurm import note_queue, slurm_mark, submit_supervisor
from tests.support.fake_slurm import FakeSlurm
from tests.support.servers import Server
from tests.support.supervised import KEYS

ADMIN = Actor.admin("tux")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    slurm = FakeSlurm(tmp_path)
    monkeypatch.setenv("PATH", slurm.path)
    monkeypatch.setattr(slurm_kill, "_LEAVING_SECONDS", 0.0)
    monkeypatch.setattr(slurm_kill, "_silence", Backoff(60.0, 60.0))
    monkeypatch.setattr("gnjobs.control.kill.LONGEST_RUN", 0.0)
    return slurm


def submitted(store: JobStore, *options: str) -> Job:
    """A job of alice's that runs on a node, and whose supervisor does not answer."""
    job = store.create(["true"], user_id="alice")
    assert submit_supervisor(store, job, ["true"], dict(os.environ), options) == "17"
    lost = {"status": "running", "host": "n1", "supervisor-pid": 5, "supervisor-started": 5}
    store.client.hset(store.keys.job(job.id), mapping=lost)
    return store.get(job.id)


@pytest.mark.parametrize("shown", ["its number", "its account", "that it runs", "that it runs, at most"])
def test_what_others_have_wait_under_its_name_comes_after_the_job_itself(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    """They may be more than can be cancelled in time."""
    job = submitted(store)
    for number in ("11", "12"):
        queue.write(
            number, name=queue.read("17", "name"), comment=queue.read("17", "comment"), state="PENDING"
        )
        queue.write(number, account="jane")
    if shown != "its number":
        store.client.hset(KEYS.job(job.id), "slurm-job", "99")
    store.client.hset(KEYS.job(job.id), "account", own_account() if shown == "its account" else "elsewhere")
    if shown == "that it runs, at most":
        store.client.hset(KEYS.job(job.id), mapping={"slurm-job": "11", "account": "jane"})
    monkeypatch.setattr(slurm_kill, "_AT_ONCE", 1)
    monkeypatch.setattr(slurm_kill, "CANCEL_SECONDS", 0.0)
    assert not SlurmKill(store, store.get(job.id)).cancel_and_wait().verified
    assert [queue.read(number, "state") for number in ("11", "12", "17")] == [
        "PENDING",
        "PENDING",
        "CANCELLED",
    ]


@pytest.mark.parametrize("said", ["Socket timed out on send/recv operation", "Access denied"])
def test_no_kill_of_a_job_in_slurm_is_verified_where_slurm_can_not_tell(
    queue: FakeSlurm, store: JobStore, tmp_path: Path, said: str
) -> None:
    job = submitted(store)
    store.client.hset(KEYS.job(job.id), "status", "killed")
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho >&2 'slurm_load_jobs error: {said}'; exit 1\n")
    last = list(kill_job(store, job.id, actor=ADMIN, supervisor_timeout=0.1))[-1]
    assert (last.kind, last.verified) == ("left", False)
    assert f"yet whether Slurm runs it is not known: squeue: slurm_load_jobs error: {said}" in last.text


@pytest.mark.parametrize("owner", [None, "alice"])
def test_a_job_is_cancelled_by_its_mark_beside_the_users_own_comment(
    queue: FakeSlurm, store: JobStore, owner: str | None
) -> None:
    job = submitted(store, "--comment=project 7")
    assert queue.read("17", "comment").endswith(" project 7")
    assert SlurmKill(store, job, owner).cancel_and_wait().verified
    assert queue.read("17", "state") == "CANCELLED"


@pytest.mark.parametrize("created", ["1700000000.000001", None])
def test_what_was_submitted_for_a_later_job_of_the_id_is_left_alone(
    queue: FakeSlurm, store: JobStore, created: str | None
) -> None:
    """It has its record before it is in Slurm; of a job that was removed, what is left there is cancelled."""
    job = submitted(store)
    store.client.delete(KEYS.job(job.id))
    if created is None:
        assert SlurmKill(store, job).cancel_and_wait().verified
    else:
        store.client.hset(KEYS.job(job.id), "created", created)
        with pytest.raises(SlurmError, match="another job has the id"):
            SlurmKill(store, job).cancel_and_wait()
    assert queue.read("17", "state") == ("RUNNING" if created else "CANCELLED")


def test_what_slurm_says_of_a_job_is_said_of_no_later_one_of_its_id(store: JobStore) -> None:
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), "created", "1700000000.000001")
    note_queue(store, {store.run_of(job): {"queue-reason": "Resources"}})
    assert store.get(job.id).queue_reason is None


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
        SlurmKill(JobStore.from_url(server.url, "other"), job).cancel_and_wait()
    assert queue.read("17", "state") == "RUNNING"


def elsewhere(store: JobStore, monkeypatch: pytest.MonkeyPatch, host: str, server: str) -> JobStore:
    """The same jobs, as a host sees them that calls their server so."""
    monkeypatch.setattr("socket.gethostname", lambda: host)
    return JobStore(store.client, store.keys, f"redis://{server}:6379/0")


@pytest.mark.parametrize("name", ["DB1", "localhost"])
def test_a_kill_on_another_host_knows_the_mark_that_the_server_s_own_host_made(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    job = submitted(elsewhere(store, monkeypatch, "db1", name))
    store.client.hset(KEYS.job(job.id), "status", "killed")
    store.client.hdel(KEYS.job(job.id), "slurm-job")
    list(kill_job(elsewhere(store, monkeypatch, "login", "localhost"), job.id, actor=ADMIN))
    assert queue.read("17", "state") == "RUNNING"  # that is another server
    last = list(kill_job(elsewhere(store, monkeypatch, "login", "db1"), job.id, actor=ADMIN))[-1]
    assert last.verified
    assert queue.read("17", "state") == "CANCELLED"


def test_a_comment_that_does_not_say_whose_localhost_it_means_is_nobody_s(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = elsewhere(store, monkeypatch, "db1", "db1")
    job = submitted(own)
    queue.write("17", comment=slurm_mark(job.id, f"localhost:6379/0 {own.keys.prefix}"))
    with pytest.raises(SlurmError, match="this server and prefix"):
        SlurmKill(own, job).cancel_and_wait()
    assert queue.read("17", "state") == "RUNNING"


def decoy(queue: FakeSlurm, store: JobStore, number: str = "18", state: str = "RUNNING") -> Job:
    """A job that runs, and whose code has submitted another one under its name, which its record calls its number."""
    job = submitted(store)
    queue.write(number, name=queue.read("17", "name"), comment=queue.read("17", "comment"), state=state)
    queue.write(number, account="jane")
    store.client.hset(KEYS.job(job.id), "slurm-job", number)
    return store.get(job.id)


@pytest.mark.parametrize("number", ["017", "17.0", "", "99", "4294967295"])
def test_what_has_its_name_and_mark_is_ended_whatever_number_its_record_has(
    queue: FakeSlurm, store: JobStore, number: str
) -> None:
    job = submitted(store)
    store.client.hset(KEYS.job(job.id), "slurm-job", number)
    assert SlurmKill(store, store.get(job.id)).cancel_and_wait().verified
    assert queue.read("17", "state") == "CANCELLED"


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "COMPLETED"])
def test_a_decoy_is_ended_with_the_job_and_not_in_its_place(
    queue: FakeSlurm, store: JobStore, state: str
) -> None:
    job = decoy(queue, store, state=state)
    steps = list(kill_job(store, job.id, actor=ADMIN, supervisor_timeout=0.1))
    assert steps[-1].verified, steps
    assert queue.read("17", "state") == "CANCELLED"
    assert queue.read("18", "state") == ("COMPLETED" if state == "COMPLETED" else "CANCELLED")


def test_another_ones_number_keeps_a_kill_from_being_verified_and_is_left_alone(
    queue: FakeSlurm, store: JobStore
) -> None:
    job = decoy(queue, store)
    queue.write("18", name="somebody's")
    steps = list(kill_job(store, job.id, actor=ADMIN, supervisor_timeout=0.1))
    assert not steps[-1].verified, steps
    assert [queue.read(number, "state") for number in ("17", "18")] == ["CANCELLED", "RUNNING"]


@pytest.mark.parametrize("status", ["killed", "pending", "running"])
@pytest.mark.parametrize("number", ["18", None])
def test_no_record_has_a_kill_verified_while_slurm_may_not_end_the_job(
    queue: FakeSlurm, store: JobStore, status: str, number: str | None
) -> None:
    """Neither one that names a decoy, nor one that says nothing of Slurm."""
    job = decoy(queue, store)
    key = KEYS.job(job.id)
    store.client.hset(key, "status", status)
    if number is None:
        store.client.hdel(key, "slurm-job", "queue-reason", "supervisor-pid")
    queue.write("17", **{"not-yours": ""})
    last = list(kill_job(store, job.id, actor=ADMIN, supervisor_timeout=0.1))[-1]
    assert (last.final, last.verified) == (True, False), last
    if status != "running":
        assert f"Slurm's job 17 of {own_account()} is RUNNING" in last.text
        assert "permission denied" in last.text


@pytest.mark.parametrize("comment", ["mine", None])
def test_what_somebody_else_holds_under_its_name_keeps_no_waiting_job_in_the_queue(
    queue: FakeSlurm, store: JobStore, comment: str | None
) -> None:
    """Nor does a copy of its comment, which is named."""
    job = submitted(store)
    store.client.hset(KEYS.job(job.id), "status", "pending")
    store.client.hdel(KEYS.job(job.id), "slurm-job", "supervisor-pid")
    queue.write("17", state="PENDING")
    strangers = {"name": queue.read("17", "name"), "comment": comment or queue.read("17", "comment")}
    queue.write("16", state="PENDING", account="alice", **strangers, **{"not-yours": ""})
    last = list(kill_job(store, job.id, actor=ADMIN))[-1]
    assert [queue.read(number, "state") for number in ("16", "17")] == ["PENDING", "CANCELLED"]
    assert store.get(job.id).status == "killed"
    assert last.verified == (comment is not None)
    assert ("Slurm's job 16 of alice is PENDING" in last.text) == (comment is None)


def test_what_is_said_to_have_ended_is_ended_in_slurm(queue: FakeSlurm, store: JobStore) -> None:
    job = submitted(store)
    store.client.hset(KEYS.job(job.id), "status", "killed")
    store.client.hdel(KEYS.job(job.id), "slurm-job", "queue-reason")
    steps = list(kill_job(store, job.id, actor=ADMIN))
    assert steps[-1].verified, steps
    assert queue.read("17", "state") == "CANCELLED"


def test_a_job_of_the_same_id_elsewhere_goes_on(queue: FakeSlurm, store: JobStore) -> None:
    """Two prefixes, or two servers, may each have a job in Slurm that is called so."""
    job = submitted(store)
    queue.write(
        "18", name=queue.read("17", "name"), comment="gnjobs:another", state="RUNNING", account="jane"
    )
    steps = list(kill_job(store, job.id, actor=ADMIN, supervisor_timeout=0.1))
    assert steps[-1].verified, steps
    assert [queue.read(number, "state") for number in ("17", "18")] == ["CANCELLED", "RUNNING"]


def test_what_has_its_number_and_no_mark_is_named_and_left_alone(queue: FakeSlurm, store: JobStore) -> None:
    job = submitted(store)
    store.client.hset(KEYS.job(job.id), "status", "killed")
    queue.write("17", comment="mine")
    last = list(kill_job(store, job.id, actor=ADMIN))[-1]
    assert not last.verified
    assert "Slurm's job 17" in last.text
    assert queue.read("17", "state") == "RUNNING"


def test_a_slurm_that_does_not_answer_verifies_nothing_and_a_host_without_it_denies_nothing(
    queue: FakeSlurm, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(store)
    store.client.hset(KEYS.job(job.id), "status", "killed")
    monkeypatch.setattr("gnjobs.processes.slurm._SECONDS", 0.1)
    (tmp_path / "squeue").write_text("#!/bin/sh\nexec sleep 5\n")
    last = list(kill_job(store, job.id, actor=ADMIN))[-1]
    assert not last.verified
    assert "Slurm gave no answer" in last.text
    monkeypatch.setenv("PATH", "/nowhere")
    assert list(kill_job(store, job.id, actor=ADMIN))[-1].verified


@pytest.mark.parametrize("forged", ["account", "comment", None])
def test_a_job_without_a_number_is_none_of_a_stranger_who_takes_its_name(
    queue: FakeSlurm, store: JobStore, forged: str | None
) -> None:
    job = submitted(store)
    waits = {"status": "pending", "account": own_account(), "launched": 1, "launch-host": host_name()}
    store.client.hset(KEYS.job(job.id), mapping=waits)
    store.client.hdel(KEYS.job(job.id), "slurm-job")
    if forged is not None:
        queue.write("17", **{forged: "mallory"})
    SlurmRounds(store).go([store.get(job.id)], store.now())
    assert store.get(job.id).slurm_job == (None if forged else "17")


def test_a_slurm_that_gave_no_answer_does_not_hold_up_each_of_many_kills(
    queue: FakeSlurm, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_kill, "_DOUBTFUL_SECONDS", 0.5)
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\nexec sleep 5\n")
    for _ in range(3):
        job = store.create(["true"])
        assert list(kill_job(store, job.id, actor=ADMIN))[-1].verified
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.parametrize(("private", "is_verified"), [("none", True), ("usage,jobs", False), ("all", False)])
def test_where_slurm_hides_others_jobs_it_verifies_nothing_by_showing_none(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch, private: str, is_verified: bool
) -> None:
    job = submitted(store)
    queue.write("17", name="hidden", comment="", state="RUNNING")
    store.client.hset(KEYS.job(job.id), mapping={"status": "killed", "slurm-job": "18"})
    queue.configure(private)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    last = list(kill_job(store, job.id, actor=ADMIN))[-1]
    assert last.verified is is_verified, last
    assert ("shows" in last.text) is not is_verified


@pytest.mark.parametrize("is_namesake", [False, True])
def test_where_slurm_hides_others_jobs_one_of_the_asker_s_own_shows_nothing_of_this_one(
    queue: FakeSlurm, store: JobStore, monkeypatch: pytest.MonkeyPatch, is_namesake: bool
) -> None:
    """Whoever writes the record may put its number there, and an earlier job may have had the id."""
    job = submitted(store)
    names = {word: queue.read("17", word) for word in ("name", "comment")}
    queue.write("17", name="hidden", comment="")
    queue.write("18", name="another", comment="", state="COMPLETED", account="tux")
    number = "18"
    if is_namesake:
        queue.write("18", **names)
        number = "19"
    store.client.hset(KEYS.job(job.id), mapping={"status": "killed", "slurm-job": number})
    queue.configure("jobs")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    last = list(kill_job(store, job.id, actor=ADMIN))[-1]
    assert not last.verified, last
    assert "shows" in last.text
