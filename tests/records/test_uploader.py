"""gn-uploader's jobs, as they are today and one step further: launched, shown and killed."""

import subprocess
from pathlib import Path

import psutil
import pytest

from gnjobs.control.kill import kill_job
from gnjobs.errors import InvalidName, NoSuchJob
from gnjobs.records.actor import Actor
from gnjobs.records.keys import Keys
from gnjobs.records.statuses import FINAL_STATUSES
from gnjobs.store import JobStore, launch_uploader_job
from tests.support.servers import Server
from tests.support.uploader_double.web import JOBS_PREFIX, create_job, create_qc, start_worker
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")


def test_the_drop_in_runs_the_stored_command_and_keeps_the_old_fields(
    server: Server, store: JobStore
) -> None:
    job_id = create_job(
        server.client(), ["sh", "-c", "echo done; echo oops >&2; exit 2"], "demo", user_id="jsmith"
    )
    launch_uploader_job(server.url, JOBS_PREFIX, job_id)
    job = wait_for(
        lambda: (found := store.get(job_id)).status in FINAL_STATUSES and found.raw.get("stderr") and found
    )
    assert (job.status, job.exit_code, job.user) == ("error", 2, "jsmith")
    assert (job.raw["stdout"], job.raw["stderr"]) == ("done\n", "oops\n")
    assert [listed.id for listed in store.page(user="jsmith").jobs] == [job_id]


def test_the_drop_in_refuses_what_is_not_there(server: Server) -> None:
    with pytest.raises(NoSuchJob):
        launch_uploader_job(server.url, JOBS_PREFIX, "no-such-job")
    with pytest.raises(InvalidName):
        launch_uploader_job(server.url, "gn-uploader", "job")


def start_slow_qc(server: Server, tmp_path: Path) -> tuple[str, "subprocess.Popen[bytes]"]:
    for name in ("pheno.tsv", "geno.tsv"):
        (tmp_path / name).write_text("id\tBXD1\n" + "r\t1\n" * 10)
    job_id = create_qc(
        server.client(), server.url, [tmp_path / "pheno.tsv", tmp_path / "geno.tsv"], seconds=1000
    )
    worker = start_worker(server.url, job_id, tmp_path / "stderr.log")
    wait_for(lambda: len(psutil.Process(worker.pid).children(recursive=True)) >= 3, what="the pool to start")
    return job_id, worker


def test_its_kill_ends_worker_command_and_pool_and_writes_the_status(
    server: Server, store: JobStore, tmp_path: Path
) -> None:
    job_id, worker = start_slow_qc(server, tmp_path)
    bystander = subprocess.Popen(["sh", "-c", f"sleep 1000; : {job_id}-other scripts.worker"])
    everyone = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    try:
        steps = list(kill_job(store, job_id, actor=TUX, reason="runaway", grace=2.0))
        worker.wait(60)
        assert steps[-1].verified, steps
        assert not [p for p in everyone if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        assert bystander.poll() is None
        job = store.get(job_id)
        assert (job.status, job.stop_by, job.stop_reason) == ("killed", "tux", "runaway")
    finally:
        bystander.kill()
        bystander.wait()
        worker.kill()


def test_one_worker_of_a_pool_is_not_killed_alone(server: Server, store: JobStore, tmp_path: Path) -> None:
    job_id, worker = start_slow_qc(server, tmp_path)
    try:
        child = wait_for(lambda: next(iter(store.all_children(job_id)), None))
        (refused,) = kill_job(store, job_id, child.id, actor=TUX)
        assert (refused.kind, refused.verified) == ("refused", False)
        assert "kill the job instead" in refused.text
        assert worker.poll() is None
    finally:
        list(kill_job(store, job_id, actor=TUX, force=True))
        worker.wait(60)


def test_a_job_with_no_process_here_is_refused_and_its_record_stays(server: Server, store: JobStore) -> None:
    job_id = create_job(server.client(), ["true"], "demo")
    server.client().hset(Keys().job(job_id), "status", "running")
    (refused,) = kill_job(store, job_id, actor=TUX)
    assert refused.kind == "refused"
    assert store.get(job_id).status == "running"
