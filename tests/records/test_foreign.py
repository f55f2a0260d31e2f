"""Jobs of GN2, GN3 and gn-auth, as their descriptions that ship read them."""

import time

import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from gnjobs.records.fields import Job
from gnjobs.records.foreign import read_record
from gnjobs.records.keys import Keys
from gnjobs.records.layouts import COMMANDS, GN2, GN3, LAYOUTS, UPLOADER, WORDS, Layout
from gnjobs.records.statuses import STATUSES
from gnjobs.records.survey import survey
from gnjobs.store import JobStore
from tests.support import genenetwork_double as double
from tests.support.mirror import loaded_mirror
from tests.support.servers import Server
from tests.support.waiting import wait_for

PREFIXES = ("gn2", "GN3::JOBS", "cmd", "GN_AUTH::JOBS")
COMMAND = ["python3", "-c", "print(1)"]


def read(server: Server, prefix: str, job_id: str) -> Job:
    return JobStore.from_url(server.url, prefix).get(job_id)


def test_a_job_of_gn2_ends_as_its_completion_says(server: Server) -> None:
    client = server.client()
    done, failed = (
        double.gn2_ended(client, 0, "{}\n"),
        double.gn2_ended(client, 1, "half\n", "boom: no such trait\n"),
    )
    assert (read(server, "gn2", done).status, read(server, "gn2", done).exit_code) == ("success", 0)
    job = read(server, "gn2", failed)
    assert (job.status, job.exit_code, job.error) == ("error", 1, "boom: no such trait\n")
    assert job.raw["status"] == "completed"
    assert job.created == pytest.approx(time.time(), abs=60)
    assert job.is_foreign
    store = JobStore.from_url(server.url, "gn2")
    (line,) = store.output(failed).read(1, 5)
    assert line == msgspec.structs.replace(line, text="half")
    assert [child.id for child in store.all_children(failed)] == ["field/stderr"]


def test_between_its_two_last_words_nothing_is_claimed(server: Server) -> None:
    job_id = double.gn2_job(server.client(), COMMAND, status="completed")
    job = read(server, "gn2", job_id)
    assert job.status == "completed"
    assert not job.is_final


def test_a_command_of_gn3_has_owner_time_and_outputs(server: Server) -> None:
    client = server.client()
    failed = {"status": "error", "result": "boom\n", "stderr": "boom\n"}
    job_id = double.gn3_command(client, "echo hello | tr a-z A-Z", "jane@uthsc.edu", **failed)
    job = read(server, "cmd", job_id)
    assert (job.status, job.user, job.error) == ("error", "jane@uthsc.edu", "boom\n")
    assert job.command == "/bin/sh -c 'echo hello | tr a-z A-Z'"
    assert job.created == pytest.approx(time.time(), abs=60)
    assert read(server, "cmd", double.gn3_command(client, COMMAND)).command == "python3 -c 'print(1)'"


@pytest.mark.parametrize("namespace", ["GN3::JOBS", "GN_AUTH::JOBS"])
def test_values_that_are_json_are_read(server: Server, namespace: str) -> None:
    said = {"status": "failed", "exception": "Traceback\nKeyError: 'x'", "user_id": "jane"}
    job = read(server, namespace, double.json_job(server.client(), namespace, **said))
    assert (job.status, job.error, job.user) == ("error", said["exception"], "jane")
    assert job.command is not None
    assert job.command.startswith("python3 -m scripts.search_phenotypes mouse liver")
    assert job.created == pytest.approx(time.time(), abs=60)


def test_all_stand_in_one_list_and_watching_writes_nothing(own_server: Server) -> None:
    client = own_server.client()
    expected = {
        double.gn2_ended(client, 0): "done",
        double.gn2_ended(client, 1): "failed",
        double.gn2_job(client, COMMAND, status="running"): "running",
        double.gn3_command(client, COMMAND, status="success"): "done",
        double.gn3_command(client, COMMAND): "waiting",
        double.json_job(client, "GN3::JOBS"): "waiting",
        double.json_job(client, "GN_AUTH::JOBS", status="completed"): "done",
        double.json_job(client, "GN_AUTH::JOBS", status="started"): "running",
    }
    client.hset("gn2:jobs:manager", "stderr", "FileNotFoundError: no such program")  # no job
    before = {key: client.dump(key) for key in client.scan_iter()}
    with loaded_mirror(own_server.url, prefixes=PREFIXES) as seen:
        rows = {row.id: row for row in seen.rows().values()}
        assert {job_id: row.state for job_id, row in rows.items()} == expected
        assert all(row.created for row in rows.values())
        changed = double.gn3_command(client, COMMAND, "jane@uthsc.edu")
        client.hset(f"cmd::{changed}", "status", "running")
        wait_for(lambda: any(row.id == changed and row.state == "running" for row in seen.rows().values()))
    assert {key: client.dump(key) for key in before} == before


def test_each_description_is_tried_on_a_server(server: Server) -> None:
    client = server.client()
    double.gn2_ended(client, 1, stderr="x")
    double.gn2_job(client, COMMAND, odd="1")
    client.hset("gn2:jobs:j:errors:x", "a", "b")
    found = survey(client, Keys("gn2"))
    assert (found.records, found.read, found.dated, found.owned) == (2, 2, 2, 0)
    assert found.words == {"completed and error": "error", "queued": "pending"}
    assert (found.fields["return-code"], found.fields["odd"]) == ("exit-code", None)
    assert found.is_understood
    double.gn2_job(client, COMMAND, status="blorp")
    again = survey(client, Keys("gn2"))
    assert again.words["blorp"] is None
    assert not again.is_understood
    assert not survey(client, Keys("nobody")).is_understood


def test_what_differs_in_very_many_ways_is_counted_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.records.survey._MOST_FORMS", 5)
    client = server.client()
    client.hset(
        "cmd::j", mapping={"status": "running", **{f"{'x' * 300}{number}": "" for number in range(50)}}
    )
    for number in range(26):
        client.set(f"cmd::j:{chr(97 + number)}:x", "")
    found = survey(client, Keys("cmd"))
    for counted in (found.fields, found.others):
        assert len(counted) <= 6
        assert max(map(len, counted)) <= 200


def test_words_of_others_are_read_in_any_case_and_a_description_may_say_otherwise() -> None:
    layout = Layout(words={"parked": "pending", "done": "lost"})
    assert [layout.meaning(word) for word in ("Queued", "STARTED", "parked", "done", "Success")] == [
        "pending",
        "running",
        "pending",
        "lost",
        "success",
    ]
    assert layout.meaning("blorp") == "blorp"
    assert set(WORDS.values()) < STATUSES


@pytest.mark.parametrize(
    "given",
    [{"key": "no-id"}, {"key": "<id>"}, {"words": {"done": "over"}}, {"writes": {"over": {}}}, {"fnord": 1}],
)
def test_a_description_that_could_never_be_read_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Layout)


VALUES = st.one_of(
    st.binary(max_size=30), st.sampled_from([b'{"__value": "x"}', b"null", b"[1]", b'["a"]', b"1e999"])
)
NAMES = sorted(
    {"status", "stderr", "heartbeat", "own-status"}
    | {name for layout in LAYOUTS.values() for pair in layout.fields.items() for name in pair}
)


@given(
    st.sampled_from(sorted(LAYOUTS)), st.dictionaries(st.sampled_from(NAMES), VALUES), st.text(max_size=40)
)
def test_reading_is_total_whatever_stands_there(prefix: str, stored: dict[str, bytes], job_id: str) -> None:
    for layout in (LAYOUTS[prefix], msgspec.structs.replace(LAYOUTS[prefix], time_zone="utc")):
        assert read_record(layout, job_id, stored).id == job_id


def test_what_gnjobs_writes_is_read_under_every_prefix() -> None:
    ours = {"status": b"killed", "created": b"1700000000", "heartbeat": b"1700000001", "command": b"true"}
    for layout in (UPLOADER, GN2, GN3, COMMANDS):
        job = read_record(layout, "j", ours)
        assert (job.status, job.created, job.command, job.is_foreign) == ("killed", 1700000000, "true", False)


def test_new_jobs_have_the_layout_of_gnjobs(server: Server) -> None:
    with pytest.raises(Exception, match="laid out by another program"):
        JobStore.from_url(server.url, "cmd").create(["true"])
    job = JobStore.from_url(server.url, "gn2").create(["true"])
    assert isinstance(server.client(), redis.Redis)
    assert read(server, "gn2", job.id).status == "pending"
    assert not read(server, "gn2", job.id).is_foreign
