"""Jobs under a real Slurm: placed, waiting, killed, ended by Slurm itself, requeued; each told as what it is."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from gnjobs import JobStore, launch
from gnjobs.control import slurm_kill
from gnjobs.control.kill import kill_job
from gnjobs.errors import LaunchError
from gnjobs.health.assess import assess
from gnjobs.processes.slurm import Placed, look_up, look_up_names
from gnjobs.records.actor import Actor
from gnjobs.records.backoff import Backoff
from gnjobs.records.fields import Job
from gnjobs.records.statuses import FINAL_STATUSES
from tests.support.agents import agent_at_work
from tests.support.os_accounts import AS_NOBODY, needs_accounts
from tests.support.servers import Server
from tests.support.slurm import NODES, Cluster, needs_slurm, running_cluster
from tests.support.supervised import python
from tests.support.waiting import wait_for

pytestmark = [needs_slurm, pytest.mark.faults, pytest.mark.xdist_group("slurm")]
SLEEP = python("import time; print('ready', flush=True); time.sleep(1000)")
AS_OTHER = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
ADMIN = Actor.admin("tux")


@pytest.fixture(scope="module")
def _shared_cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(_shared_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    for name, value in _shared_cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm_kill, "_silence", Backoff())  # of a kill in a test before this one
    return _shared_cluster


def place(store: JobStore, command: list[str], *options: str) -> Job:
    job = store.create(command)
    launch(job, via="slurm", store=store, options=["--mem=200M", *options])
    return store.get(job.id)


def ended(store: JobStore, job: Job, limit: float = 60.0) -> Job:
    wait_for(lambda: store.get(job.id).status in FINAL_STATUSES, limit, "an end")
    return store.get(job.id)


def running(store: JobStore, job: Job) -> Job:
    wait_for(lambda: store.get(job.id).pid is not None, 60, "a process")
    return store.get(job.id)


def supervisor_of(job: Job) -> int:
    """Its pid as it is seen from outside of the node."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "gnjobs.supervisor" in process.cmdline() and process.environ().get("GNJOBS_JOB_ID") == job.id:
                return process.pid
    raise AssertionError("no supervisor")


def lines(store: JobStore, job: Job) -> list[str]:
    return [line.text for line in store.output(job.id).tail(100)]


def placed(job: Job) -> Placed:
    found = look_up([job.slurm_job or ""])[job.slurm_job or ""]
    assert found is not None
    return found


def sentences(store: JobStore, job: Job) -> str:
    return "; ".join(assess(store.get(job.id), now=store.now()).evidence)


def test_a_job_runs_on_a_node_and_ends_there(
    cluster: Cluster, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, socket; print(socket.gethostname(), os.environ['SLURM_JOB_ID'])"
    monkeypatch.setenv("SBATCH_ARRAY_INX", "0-2")  # would make three jobs of it
    job = place(store, python(code), "--time=10")
    assert job.slurm_job
    found = ended(store, job)
    assert found.status == "success", found.error
    assert found.host in NODES
    assert (found.slurm_job, found.memory_limit) == (job.slurm_job, 200 * 2**20)
    assert found.time_limit == 600
    assert lines(store, job) == [f"{found.host} {job.slurm_job}"]


def test_a_kill_is_verified_on_the_node(cluster: Cluster, store: JobStore) -> None:
    job = running(store, place(store, SLEEP))
    steps = list(kill_job(store, job.id, actor=ADMIN, reason="runaway"))
    assert steps[-1].verified, steps
    found = ended(store, job)
    assert (found.status, found.stop_by, found.stop_reason) == ("killed", "tux", "runaway")


def test_scancel_by_somebody_is_told_as_that(cluster: Cluster, store: JobStore) -> None:
    job = running(store, place(store, SLEEP))
    cluster.run("scancel", job.slurm_job or "")
    assert ended(store, job).status == "killed"
    assert sentences(store, job) == "ended by Slurm: cancelled in Slurm"


def test_the_time_limit_is_told_as_that(cluster: Cluster, store: JobStore) -> None:
    job = running(store, place(store, SLEEP, "--time=1:00:00"))
    cluster.run("scontrol", "update", f"JobId={job.slurm_job}", "TimeLimit=0")
    assert ended(store, job).status == "killed"
    assert sentences(store, job) == "ended by Slurm: time limit"  # now of 0 s


def test_options_that_one_job_can_not_have_are_refused(store: JobStore) -> None:
    for option in ("--array=1-3", "-a1-3", "--wrap=true", "job.sh", "--", "--arr=1"):
        job = store.create(["true"])
        with pytest.raises(LaunchError):
            launch(job, via="slurm", store=store, options=[option])
        assert store.get(job.id).status == "pending"


def test_what_slurm_refuses_ends_as_failed(cluster: Cluster, store: JobStore) -> None:
    job = store.create(["true"])
    with pytest.raises(LaunchError, match="not available"):
        launch(job, via="slurm", store=store, options=["--mem=900G"])
    found = store.get(job.id)
    assert (found.status, "not available" in (found.error or "")) == ("error", True)


def test_a_job_that_waits_says_why_and_is_killed_there(cluster: Cluster, store: JobStore) -> None:
    job = place(store, SLEEP, "--begin=now+1hour")
    with agent_at_work(store):
        wait_for(lambda: store.get(job.id).queue_reason == "BeginTime", 30, "the agent's look")
        said = sentences(store, job)
        assert f"waits in Slurm's queue as job {job.slurm_job} for " in said
        assert ": BeginTime" in said
        assert assess(store.get(job.id), now=store.now() + 100).verdict == "ok"
        assert "no agent on" in "".join(assess(store.get(job.id), now=store.now() + 1000).evidence)
    steps = list(kill_job(store, job.id, actor=ADMIN))
    assert f"Slurm's job {job.slurm_job} was cancelled" in [step.text for step in steps]
    assert (ended(store, job).status, placed(job).state) == ("killed", "CANCELLED")


def test_what_is_cancelled_while_it_waits_ends_as_that(cluster: Cluster, store: JobStore) -> None:
    job = place(store, SLEEP, "--begin=now+1hour")
    cluster.run("scancel", job.slurm_job or "")
    with agent_at_work(store):
        assert ended(store, job, 60).status == "killed"
    assert sentences(store, job) == "ended by Slurm: cancelled in Slurm"


def test_a_frozen_supervisor_is_ended_by_slurm(cluster: Cluster, store: JobStore) -> None:
    job = running(store, place(store, SLEEP))
    os.kill(supervisor_of(job), signal.SIGSTOP)
    steps = list(kill_job(store, job.id, actor=ADMIN, reason="frozen"))
    assert steps[-1].verified, steps
    found = ended(store, job)
    assert (found.status, found.stop_by, found.stop_reason) == ("killed", "tux", "frozen")


def decoy_of(cluster: Cluster, job: Job, *options: str) -> str:
    """The number of another job, which the job's own code may submit under its name and with its comment."""
    known = placed(job)
    names = [f"--job-name={known.name}", f"--comment={known.comment}"]
    words = ["--parsable", "--mem=50M", "--output=/dev/null", *names, *options, "--wrap=sleep 1000"]
    return cluster.run("sbatch", *words).strip()


@pytest.mark.parametrize("options", [(), ("--array=1-3",), ("--hold",), ("--hold", "--array=1-3")])
def test_a_decoy_is_ended_with_the_job_and_not_in_its_place(
    cluster: Cluster, store: JobStore, options: tuple[str, ...]
) -> None:
    job = running(store, place(store, SLEEP))
    os.kill(supervisor_of(job), signal.SIGSTOP)
    decoy = decoy_of(cluster, job, *options)
    store.client.hset(store.keys.job(job.id), "slurm-job", decoy)
    steps = list(kill_job(store, job.id, actor=ADMIN, reason="runaway"))
    assert steps[-1].verified, steps
    assert all(found.has_ended for found in look_up_names([placed(job).name]))
    assert placed(job).state == "CANCELLED"


def test_a_record_that_calls_its_job_ended_has_no_kill_of_it_verified(
    cluster: Cluster, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.control.kill.LONGEST_RUN", 1.0)
    job = running(store, place(store, SLEEP))
    supervisor = supervisor_of(job)
    os.kill(supervisor, signal.SIGSTOP)
    store.client.hset(store.keys.job(job.id), "status", "killed")
    store.client.hdel(store.keys.job(job.id), "slurm-job", "queue-reason", "supervisor-pid")
    # All of it is ended here, as its node is this machine, though nobody can tell by the record.
    steps = list(kill_job(store, job.id, actor=ADMIN))
    assert "runs on another machine" in steps[-1].text, steps
    assert not psutil.pid_exists(supervisor)
    assert list(kill_job(store, job.id, actor=ADMIN))[-1].verified
    assert placed(job).has_ended


@needs_accounts
def test_jobs_are_seen_by_any_account_whatever_it_sets_for_its_own_looks(cluster: Cluster) -> None:
    words = ["--parsable", "--hold", "--partition=hidden", "--job-name=gnjobs-x", "--wrap=true"]
    number = cluster.run("sbatch", *words).strip()
    code = f"from gnjobs.processes.slurm import *; print(look_up(['{number}'])['{number}'].state)"
    code += "; print(len(look_up_names(['gnjobs-x'])))"
    own = {"SQUEUE_USERS": "nobody", "SQUEUE_PARTITION": "main"}
    assert cluster.run(*AS_NOBODY, *python(code), env=own).split() == ["PENDING", "1"]
    cluster.run("scancel", number)


def test_what_slurm_requeues_is_the_same_job_again(cluster: Cluster, store: JobStore) -> None:
    """What is requeued waits two minutes by itself, unless it is released."""
    code = "import os, sys, time; print('run', os.environ.get('SLURM_RESTART_COUNT', 0), flush=True)\n"
    code += "if os.environ.get('SLURM_RESTART_COUNT') is None: time.sleep(1000)"
    job = running(store, place(store, python(code), "--requeue"))
    cluster.run("scontrol", "requeue", job.slurm_job or "")
    wait_for(lambda: store.get(job.id).status == "pending", 40, "waiting again")
    found = store.get(job.id)
    wait_for(lambda: store.get(job.id).pid is None, 10, "fields of the run to be gone")
    assert (found.requeues, store.get(job.id).started) == (1, None)
    assert "requeued" in sentences(store, job)
    wait_for(lambda: placed(job).reason == "BeginTime", 40, "Slurm's queue")
    # A node refuses what was allowed in the second in which it revoked the run before.
    cluster.run("scontrol", "update", f"JobId={job.slurm_job}", "StartTime=now+5")
    assert ended(store, job, 100).status == "success"
    assert lines(store, job) == ["run 0", "run 1"]


def test_a_node_that_dies_leaves_no_job_running(cluster: Cluster, store: JobStore) -> None:
    job = running(store, place(store, SLEEP))
    cluster.kill_node(job.host or "")
    try:
        with agent_at_work(store):
            assert ended(store, job, 120).status == "lost"
        assert sentences(store, job) == f"ended by Slurm: node failure of {job.host}"
    finally:
        cluster.start_node(job.host or "")
        wait_for(cluster.is_ready, 60, "the node again")


def test_what_exceeds_its_memory_is_told_as_that(cluster: Cluster, store: JobStore) -> None:
    """Without cgroups Slurm kills it and names no reason."""
    code = "import time; print('ready', flush=True); taken = bytearray(300 * 2**20); time.sleep(1000)"
    job = place(store, python(code))
    with agent_at_work(store):
        assert ended(store, job, 90).status == "lost"
    assert "by SIGKILL, as is a job that exceeds its memory (limit: 200M)" in sentences(store, job)


def test_the_url_is_shown_to_nobody_else(cluster: Cluster, store: JobStore, server: Server) -> None:
    """Not by Slurm's commands, not in an argument, and not in a file that another account can read."""
    with server.client() as client:
        client.acl_setuser(
            "jobs", enabled=True, passwords=["+s3cr3t"], keys=["*"], channels=["*"], commands=["+@all"]
        )
    url = server.url.replace("redis://", "redis://jobs:s3cr3t@")
    secret = JobStore.from_url(url)
    job = running(store, place(secret, SLEEP))
    shown = cluster.run("scontrol", "show", "job", "--details", job.slurm_job or "")
    shown += cluster.run("scontrol", "write", "batch_script", job.slurm_job or "", "-")
    shown += "".join(str(each.info["cmdline"]) for each in psutil.process_iter(["cmdline"]))
    assert "s3cr3t" not in shown
    holding = subprocess.run(
        ["grep", "-rl", "s3cr3t", str(cluster.place)], capture_output=True, text=True
    ).stdout
    assert holding, "Slurm keeps the environment somewhere"
    as_other = subprocess.run(
        [*AS_OTHER, "grep", "-rl", "s3cr3t", str(cluster.place)], capture_output=True, text=True
    )
    assert as_other.stdout == ""
    assert list(kill_job(store, job.id, actor=ADMIN))[-1].verified
    ended(store, job)
    with server.client() as client:
        client.acl_deluser("jobs")


PLACED = [sys.executable, "-m", "tests.end_to_end.jobs.placed"]


def test_children_run_as_steps_on_all_nodes(cluster: Cluster, store: JobStore) -> None:
    names = [f"sleeps-3-{number}" for number in range(4)]
    job = place(
        store, [*PLACED, "--cpus-per-task=4", *names, "raises", "crashes"], "-N2", "-n16", "--mem=1600M"
    )
    found = ended(store, job, 100)
    said = dict(
        line.split(" ", 1)
        for line in lines(store, job)
        if line.split(" ")[0] in [*names, "raises", "crashes"]
    )
    assert {said[name] for name in names} == set(NODES), lines(store, job)
    assert said["raises"] == "ValueError: raises cannot go on"
    assert said["crashes"].startswith("ended by signal 9")
    assert found.status == "error"
    children = store.all_children(job.id)
    assert {child.status for child in children if child.id in names} == {"success"}
    for child in children:
        if child.id != "crashes":  # which had no time to send its lines
            logged = [line.text for line in store.output(job.id, child.id).tail(200) if line.kind == "log"]
            assert len(set(logged)) == len(logged) == 100


def test_one_child_in_slurm_is_killed_alone(cluster: Cluster, store: JobStore) -> None:
    job = place(store, [*PLACED, "waits", "sleeps-6"], "-N2", "-n16", "--mem=1600M")
    wait_for(lambda: {c.message for c in store.all_children(job.id)} & set(NODES), 60, "children at work")
    wait_for(lambda: all(c.message for c in store.all_children(job.id)), 60, "both children at work")
    assert list(kill_job(store, job.id, "waits", actor=ADMIN, reason="alone"))[-1].verified
    found = ended(store, job, 60)
    assert {c.id: c.status for c in store.all_children(job.id)} == {"waits": "killed", "sleeps-6": "success"}
    assert "1 of 2 children killed by tux: alone" in (found.error or "")
