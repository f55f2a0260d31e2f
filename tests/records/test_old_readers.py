"""Jobs of other programs that a supervisor of ours runs: those who read them go on finding what they know."""

import sys
from pathlib import Path

import pytest

from gnjobs.control.kill import kill_job
from gnjobs.errors import LaunchError
from gnjobs.records.actor import Actor
from gnjobs.records.keys import Keys
from gnjobs.store import JobStore, launch_stored_job, launch_uploader_job
from gnjobs.supervisor.finish import _Kept
from gnjobs.supervisor.launch import launch
from gnjobs.watch.reading import make_sources
from tests.support import genenetwork_double as double
from tests.support.servers import Server
from tests.support.supervised import python
from tests.support.uploader_double.web import HOME, JOBS_PREFIX, create_job, create_qc, start_worker
from tests.support.waiting import wait_for

TUX = Actor.admin("tux")
LINES = 12_000
BOTH = f"import sys; print('x' * 3_000_000); [print(n, file=sys.stderr) for n in range({LINES})]"


def stored(server: Server, key: str) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in server.client().hgetall(key).items()}


def test_a_page_of_gn2_sees_the_whole_output_when_it_sees_the_end(server: Server) -> None:
    job_id = double.gn2_job(server.client(), [sys.executable, "-c", BOTH])
    launch_stored_job(server.url, "gn2", job_id)
    key = f"gn2:jobs:{job_id}"
    record = wait_for(lambda: double.gn2_completed(found := stored(server, key)) and found, 30)
    assert record["completion-status"] == "success"
    assert record["stdout"] == "x" * 3_000_000 + "\n"
    assert record["stderr"].split("\n") == [*map(str, range(LINES)), ""]
    job = JobStore.from_url(server.url, "gn2").get(job_id)
    assert (job.status, job.raw["status"], job.exit_code) == ("success", "completed", 0)


@pytest.mark.parametrize("ending", ["failed", "killed"])
def test_who_waits_for_gn2s_words_learns_of_every_end(server: Server, ending: str) -> None:
    code = "raise SystemExit(3)" if ending == "failed" else "import time; time.sleep(1000)"
    job_id = double.gn2_job(server.client(), [sys.executable, "-c", code])
    launch_stored_job(server.url, "gn2", job_id)
    key, store = f"gn2:jobs:{job_id}", JobStore.from_url(server.url, "gn2")
    if ending == "killed":
        wait_for(lambda: stored(server, key)["status"] == "running", 20)
        assert list(kill_job(store, job_id, actor=TUX, grace=0.0))[-1].verified
    assert wait_for(lambda: double.gn2_completed(stored(server, key)), 20) == "error"
    assert store.get(job_id).status == ("error" if ending == "failed" else "killed")
    assert [job.status for job in store.page().jobs] == [store.get(job_id).status]


def test_a_command_of_gn3_is_run_in_its_workers_place(server: Server) -> None:
    job_id = double.gn3_command(server.client(), "echo hello | tr a-z A-Z", "jane@uthsc.edu")
    launch_stored_job(server.url, "cmd", job_id)
    key = f"cmd::{job_id}"
    record = wait_for(lambda: (found := stored(server, key))["status"] == "success" and found, 20)
    assert (record["result"], record["stderr"], record["email"]) == ("HELLO\n", "", "jane@uthsc.edu")
    store = JobStore.from_url(server.url, "cmd")
    assert [job.id for job in store.page(user="jane@uthsc.edu").jobs] == [job_id]


def test_a_launch_that_cannot_begin_raises(server: Server) -> None:
    client = server.client()
    begun = double.gn2_job(client, ["true"], status="running")
    with pytest.raises(LaunchError, match="is running: only one that waits"):
        launch_stored_job(server.url, "gn2", begun)
    odd = create_job(client, ["true"], "demo", status="blorp")
    with pytest.raises(LaunchError, match="is blorp"):
        launch_uploader_job(server.url, JOBS_PREFIX, odd)
    as_json = double.json_job(client, "GN3::JOBS")
    with pytest.raises(LaunchError, match="expect JSON in every field"):
        launch_stored_job(server.url, "GN3::JOBS", as_json)
    assert stored(server, f"GN3::JOBS::{as_json}").keys() == {"command", "job_id", "created", "status"}


def test_where_a_mirrored_stream_is_cut_it_says_so() -> None:
    kept = _Kept(6)
    for number in range(5):
        kept.add(str(number))
    assert kept.text() == b"[2 lines before this are left out]\n2\n3\n4\n"


CHILD = """
import sys, redis
from gnjobs import ChildOutput, current_job
keys = current_job().allocate_children(["recorded.tsv"])
with ChildOutput(keys[0]) as child:
    for n in range(2): child.fault({"file": "recorded.tsv", "row": n + 1, "value": "x"})
url, key = sys.argv[1], f"{sys.argv[2]}:{current_job().id}:geno:errors:old.tsv"
for n in range(3): redis.Redis.from_url(url).rpush(key, '{"message": "odd"}')
"""


def faults_everywhere(server: Server, job_id: str) -> set[int | None]:
    """What lists and the job's own page say; None where a list says that nobody counted them."""
    store = JobStore.from_url(server.url)
    (source,) = make_sources(server.client(), ["gn-uploader"])
    rows = [*source.read([job_id]).rows, *source.read_mostly_finished([job_id]).rows]
    assert all(row.is_uncounted or row.faults is not None for row in rows)
    status = store.status(job_id)
    assert status.job.faults == sum(child.faults or 0 for child in status.children)
    (listed,) = store.many([job_id])
    assert listed is not None
    assert listed.is_uncounted == (listed.faults is None)
    return {listed.faults, status.job.faults, *(row.faults for row in rows)}


def write_files(tmp_path: Path) -> list[Path]:
    for name, cells in {"pheno.tsv": "x\ty", "geno.tsv": "a\tb"}.items():
        (tmp_path / name).write_text(f"id\tB1\tB2\nr1\t{cells}\nr2\t1\t2\n")
    (tmp_path / "more.tsv").write_text("id\tB1\nr1\tz\n")
    return [tmp_path / name for name in ("pheno.tsv", "geno.tsv", "more.tsv")]


def test_five_faults_are_five_at_every_step_of_the_way(server: Server, tmp_path: Path) -> None:
    client, files = server.client(), write_files(tmp_path)
    first = create_qc(client, server.url, files)
    assert start_worker(server.url, first, tmp_path / "log").wait(60) == 0
    assert faults_everywhere(server, first) == {None, 5}
    second = create_qc(client, server.url, files)
    command = JobStore.from_url(server.url).get(second).command
    client.hset(Keys().job(second), "command", f"env PYTHONPATH={HOME} {command}")
    halfway = create_job(client, python(CHILD, server.url, JOBS_PREFIX), "qc-rqtl2-bundle")
    for job_id in (second, halfway):
        launch_uploader_job(server.url, JOBS_PREFIX, job_id)
    store = JobStore.from_url(server.url)
    third = store.create(python(CHILD, server.url, JOBS_PREFIX), job_type="qc-rqtl2-bundle", user_id="jane")
    launch(third, store=store)
    for job_id in (second, halfway, third.id):
        wait_for(lambda job_id=job_id: store.get(job_id).is_final, 40)
        assert (store.get(job_id).status, faults_everywhere(server, job_id)) == ("success", {5})
