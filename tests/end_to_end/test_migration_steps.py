"""A job with five errors at every step from gn-uploader to gnjobs: five are told, while it runs and after."""

import json
import subprocess
from pathlib import Path

import pytest

from gnjobs.records.keys import new_job_id
from gnjobs.store import JobStore, launch_uploader_job
from gnjobs.supervisor.launch import launch
from tests.support.command import environment, run
from tests.support.mirror import Mirror, mirror
from tests.support.servers import Server
from tests.support.supervised import python
from tests.support.terminal import Terminal, gnjobs
from tests.support.uploader_double.web import JOBS_PREFIX, create_job, start_worker
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults
TYPE = "qc-rqtl2-bundle"

# Each ends when it gets something from the list `go`.
PUSH = """
import redis, sys, time
from gnjobs import ChildOutput, current_job
url, key, listed, own = sys.argv[1], ":".join(sys.argv[2:4]), int(sys.argv[4]), int(sys.argv[5])
client = redis.Redis.from_url(url, protocol=2)
for n in range(listed):
    client.rpush(f"{key}:geno:errors:f: {n % 2}.tsv", '{"message": "odd"}')
if own:
    with ChildOutput(current_job().allocate_children(["own.tsv"])[0]) as child:
        for n in range(own): child.fault({"file": "own.tsv", "row": n + 1, "value": "x"})
while not client.lpop("go"): time.sleep(0.05)
"""
CHILDREN = """
import redis, sys, time
from gnjobs import current_job
def check(count, child):
    for n in range(count): child.fault({"file": "f.tsv", "row": n + 1, "value": "x"})
if __name__ == "__main__":
    with current_job() as job:
        job.run_children(check, [2, 3], labels=["a.tsv", "b.tsv"])
    client = redis.Redis.from_url(sys.argv[1], protocol=2)
    while not client.lpop("go"): time.sleep(0.05)
"""


def pushing(server: Server, job_id: str, listed: int, own: int = 0) -> list[str]:
    return python(PUSH, server.url, JOBS_PREFIX, job_id, str(listed), str(own))


def start_all(server: Server, tmp_path: Path) -> tuple[list[str], "subprocess.Popen[bytes]"]:
    """A job for each step, all of which have begun, and the worker of the first."""
    client, store = server.client(), JobStore.from_url(server.url)
    as_today = create_job(client, pushing(server, "{job_id}", 5), TYPE)
    launched = create_job(client, pushing(server, "{job_id}", 5), TYPE)
    worker = start_worker(server.url, as_today, tmp_path / "log")
    launch_uploader_job(server.url, JOBS_PREFIX, launched)
    ids = [as_today, launched]
    for listed, own in ((5, 0), (3, 2)):
        job_id = new_job_id()
        job = store.create(pushing(server, job_id, listed, own), job_id=job_id, job_type=TYPE, user_id="jane")
        launch(job, store=store)
        ids.append(job_id)
    script = tmp_path / "children.py"
    script.write_text(CHILDREN)
    job = store.create(["env", *python("")[:1], str(script), server.url], job_type=TYPE, user_id="jane")
    launch(job, store=store)
    return [*ids, job.id], worker


def all_five(server: Server, seen: Mirror, ids: list[str]) -> bool:
    """Whether the dashboard's list, `ls` and `show` tell five; where `ls` can't know it says so, and none says 0."""
    rows = [seen.row(job_id) for job_id in ids]
    listed = {job["id"]: job for job in map(json.loads, run(server.url, "ls", "--json").stdout.splitlines())}
    assert listed[ids[0]]["faults"] is None
    shown = [json.loads(run(server.url, "show", job_id, "--json").stdout)["faults"] for job_id in ids]
    found = [row.faults for row in rows if row], shown, [listed[job_id]["faults"] for job_id in ids[1:]]
    return all(faults == 5 for each in found for faults in each)


def rows_with(text: str, *words: str) -> int:
    return sum(all(word in line for word in words) for line in text.split("\n")[3:] if line[2:3] in "●▲")


def test_five_errors_are_told_as_five_at_every_step(server: Server, tmp_path: Path) -> None:
    ids, worker = start_all(server, tmp_path)
    store = JobStore.from_url(server.url)
    with mirror(server.url) as seen, Terminal(gnjobs(), 160, 40, environment(server.url)) as terminal:
        wait_for(lambda: all_five(server, seen, ids), 60, "five while they run")
        terminal.wait_for(lambda text: rows_with(text, "● running", "5 faults") == len(ids))
        assert run(server.url, "ls", "--filter", "faults=0").stdout == ""
        server.client().rpush("go", *"x" * len(ids))
        wait_for(lambda: all(store.get(job_id).status == "success" for job_id in ids), 60, "their ends")
        wait_for(lambda: all_five(server, seen, ids), 30, "five when they have ended")
        assert worker.wait(60) == 0
        terminal.wait_for(lambda text: rows_with(text, "▲ faults", "5 faults") == len(ids))
        terminal.send("\r")
        terminal.wait_for(lambda text: "5 faults" in text and "the job itself" in text)
        assert run(server.url, "ls", "--filter", "faults=0").stdout == ""
