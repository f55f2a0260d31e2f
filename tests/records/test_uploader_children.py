"""gn-uploader's jobs, run by its double on a real server, read as they are."""

import json
import queue
from pathlib import Path

import pytest

from gnjobs.outputs.lines import Line
from gnjobs.records.foreign import Part, parse_part, part_key
from gnjobs.records.keys import Keys
from gnjobs.store import JobStore
from gnjobs.watch.watcher import Watcher
from tests.support.servers import Server
from tests.support.uploader_double.web import EXPIRY, create_job, create_qc, start_worker

OTHER_KEYS = 30_000
FILES = {"pheno: av 1.tsv": "1.5\tx", "geno é.tsv": "2\t3"}


@pytest.fixture
def finished(server: Server, tmp_path: Path) -> tuple[JobStore, str]:
    for name, cells in FILES.items():
        (tmp_path / name).write_text(f"id\tBXD1\tBXD2\nrow1\t{cells}\nrow2\t4\t5\n")
    job_id = create_qc(server.client(), server.url, [tmp_path / name for name in FILES], user_id="jsmith")
    assert start_worker(server.url, job_id, tmp_path / "stderr.log").wait(60) == 0
    return JobStore.from_url(server.url), job_id


def test_its_record_and_children_are_read_and_nothing_changes(
    server: Server, finished: tuple[JobStore, str]
) -> None:
    store, job_id = finished
    key = Keys().job(job_id)
    before = server.client().hgetall(key)
    job = store.get(job_id)
    assert (job.status, job.user, job.type) == ("success", "jsmith", "qc-rqtl2-bundle")
    children = {child.label: child for child in store.all_children(job_id)}
    assert set(children) == {
        "pheno: pheno: av 1.tsv",
        "pheno: pheno: av 1.tsv (log)",
        "geno: geno é.tsv",
        "geno: geno é.tsv (log)",
    }
    faulty = children["pheno: pheno: av 1.tsv"]
    assert (faulty.faults, faulty.percent, faulty.status) == (1, 100.0, "success")
    assert server.client().hgetall(key) == before
    assert EXPIRY - 100 < server.client().ttl(key) <= EXPIRY


def test_its_outputs_are_read_down_to_each_error_object(finished: tuple[JobStore, str]) -> None:
    store, job_id = finished
    lines = store.output(job_id, "pheno/errors/pheno: av 1.tsv").read(1, 10)
    assert [json.loads(line.text)["cellvalue"] for line in lines if isinstance(line, Line)] == ["x"]
    printed = store.output(job_id).read(1, 10)
    assert [line.text for line in printed if isinstance(line, Line)] == ["checking 2 files", "found 1 errors"]


def test_keys_of_files_with_any_name_are_split_and_joined() -> None:
    keys = Keys()
    for file in ("a b:c.tsv", "é\udcff", "metadata:x", ":"):
        part = Part("phenose", "errors", file)
        assert parse_part(keys, "j", part_key(keys, "j", part)) == part
    assert parse_part(keys, "j", "gn-uploader:jobs:other:geno:errors:f") is None
    assert parse_part(keys, "j", keys.child_output("j", "errors")) is None


def test_jobs_that_no_index_lists_are_found_once_among_other_keys(server: Server) -> None:
    client, store = server.client(), JobStore.from_url(server.url)
    client.mset({f"session:{number}": "x" for number in range(5000)})
    ours = store.create(["true"], user_id="jsmith").id
    theirs = {create_job(client, ["true"], "qc", user_id=user) for user in ("jsmith", "agunn", "jsmith")}
    client.rpush(f"gn-uploader:jobs:{min(theirs)}:geno:errors:f", "{}")
    found = [job.id for job in store.unindexed()]
    assert sorted(found) == sorted(theirs)
    assert ours not in found
    assert {job.user for job in store.unindexed("jsmith")} == {"jsmith"}
    client.delete(Keys().jobs)
    client.set(Keys().jobs, "of another type")
    assert {job.id for job in store.unindexed()} == theirs | {ours}


def test_the_search_is_in_small_steps_that_tell_how_far_they_are(own_server: Server) -> None:
    client, changes = own_server.client(), queue.SimpleQueue()
    client.mset({f"session:{number}": "x" for number in range(OTHER_KEYS)})
    job_id = create_job(client, ["true"], "qc")
    client.config_resetstat()
    watcher = Watcher(own_server.url, changes.put)
    watcher.start()
    try:
        told, found, progress = [], [], 0.0
        while progress < 1.0:
            change = changes.get(timeout=30)
            found += [row.id for row in change.rows]
            progress = change.progress if change.progress is not None else progress
            told.append(progress)
    finally:
        watcher.stop()
    assert found == [job_id]
    assert len({each for each in told if 0.9 < each < 1.0}) >= 5
    commands = client.info("commandstats")
    assert "cmdstat_keys" not in commands
    assert commands["cmdstat_scan"]["calls"] >= OTHER_KEYS / 2000
    assert commands["cmdstat_scan"]["calls"] <= OTHER_KEYS / 1000 * 1.5 + 1
