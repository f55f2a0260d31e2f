"""Records as they are made, adopted and removed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gnjobs.errors import InvalidJob, InvalidName, JobExists, NoSuchJob
from gnjobs.records import indexes, lifecycle
from gnjobs.records.actor import Actor
from gnjobs.records.bounded import LARGEST_FIELD
from gnjobs.records.keys import CHILD_FIELD, Keys
from gnjobs.records.reading import MOST_FIELDS
from gnjobs.records.scripts import add_children, create_record
from gnjobs.store import JobStore
from gnjobs.text import LONGEST
from tests.support.servers import Server

KEYS = Keys()
TUX = Actor.admin("tux")


@pytest.fixture(params=["fake", "server"])
def store(request: pytest.FixtureRequest) -> JobStore:
    found = request.getfixturevalue(request.param)
    client = found.client() if isinstance(found, Server) else found
    return JobStore(client, KEYS, "redis://somewhere")


def test_every_field_of_the_creator_is_stored(store: JobStore) -> None:
    origin = store.create(["true"])
    job = store.create(
        ["python3", Path("a b.py"), b"\xff"],
        job_type="qc", user_id="u", label="é \udcff\n", keep=60 * 86400.5, stuck_after=90, cwd="/data",
        parent_job=origin.id,
    )  # fmt: skip
    assert job.command == "python3 'a b.py' '\udcff'"
    assert (job.type, job.user, job.label, job.cwd, job.parent_job) == (
        "qc", "u", "é \udcff\n", "/data", origin.id,
    )  # fmt: skip
    assert (job.keep, job.stuck_after, job.percent, job.status) == (60 * 86400.5, 90, 0, "pending")
    assert job.raw == {"jobid": job.id}
    assert abs((job.created or 0) - store.now()) < 60
    assert 59 * 86400 < int(store.client.ttl(KEYS.job(job.id))) <= 61 * 86400


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": []},
        {"command": "a string"},
        {"command": b"bytes"},
        {"command": [""]},
        {"command": ["a\0b"]},
        {"keep": 0},
        {"keep": float("nan")},
        {"keep": float("inf")},
        {"keep": 2 * LONGEST},
        {"stuck_after": -1},
    ],
)
def test_what_makes_no_job_is_refused_in_one_line(store: JobStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as refused:
        store.create(**({"command": ["true"]} | wrong))
    assert "\n" not in str(refused.value)
    assert store.page().jobs == []


@pytest.mark.parametrize("names", [{"user_id": "a:b"}, {"parent_job": "*"}, {"job_id": "output"}])
def test_names_are_checked(store: JobStore, names: dict[str, str]) -> None:
    with pytest.raises(InvalidName):
        store.create(["true"], **names)


def test_an_id_is_taken_by_whatever_holds_its_key(store: JobStore) -> None:
    store.client.set(KEYS.job("text"), "no hash")
    store.client.hset(KEYS.job("theirs"), "status", "running")
    for taken in ("text", "theirs"):
        with pytest.raises(JobExists):
            store.create(["true"], job_id=taken)
    assert store.client.get(KEYS.job("text")) == b"no hash"
    assert store.client.hgetall(KEYS.job("theirs")) == {b"status": b"running"}


def test_a_creation_whose_reply_was_lost_is_no_second_one(store: JobStore) -> None:
    key = KEYS.job("j")
    assert create_record(store.client, key, "t1", 100, {"status": "pending"})
    store.client.hset(key, "status", "running")
    assert create_record(store.client, key, "t1", 100, {"status": "pending"})
    assert store.client.hget(key, "status") == b"running"
    assert not create_record(store.client, key, "t2", 100, {"status": "pending"})
    assert 0 < int(store.client.ttl(key)) <= 100


def test_adopting_indexes_dates_and_renews_once(store: JobStore) -> None:
    key = KEYS.job("theirs")
    store.client.hset(key, mapping={"jobid": "theirs", "status": "pending", "user_id": "jsmith"})
    store.client.expire(key, 100)
    created = store.adopt("theirs").created
    assert created is not None
    assert store.adopt("theirs").created == created
    assert [job.id for job in store.page(user="jsmith").jobs] == ["theirs"]
    assert int(store.client.ttl(key)) > 29 * 86400


def test_what_has_ended_is_adopted_as_such(store: JobStore) -> None:
    store.client.hset(KEYS.job("theirs"), "status", "success")
    store.client.expire(KEYS.job("theirs"), 100)
    store.adopt("theirs")
    assert store.page(unfinished=True).jobs == []
    assert int(store.client.ttl(KEYS.job("theirs"))) <= 100


def test_nothing_and_no_record_are_not_adopted(store: JobStore) -> None:
    with pytest.raises(NoSuchJob):
        store.adopt("nobody")
    assert not store.client.exists(KEYS.job("nobody"))
    store.client.rpush(KEYS.job("odd"), "x")
    with pytest.raises(InvalidName, match="something other"):
        store.adopt("odd")


def test_a_hostile_keep_in_a_record_is_bounded(store: JobStore) -> None:
    store.client.hset(KEYS.job("theirs"), mapping={"status": "pending", "keep": "1e18"})
    store.adopt("theirs")
    assert int(store.client.ttl(KEYS.job("theirs"))) == LONGEST


def test_large_fields_of_others_are_told_by_their_size(store: JobStore) -> None:
    large = "x" * (LARGEST_FIELD + 1)
    store.client.hset(
        KEYS.job("theirs"), mapping={"status": "running", "stdout": large, "filename": "a.zip", "e": ""}
    )
    job = store.get("theirs")
    assert job.raw == {"stdout": f"({len(large)} bytes)", "filename": "a.zip", "e": ""}
    assert job.name == "a.zip"


def test_a_record_with_very_many_fields_is_read_as_far_as_it_is_ours(store: JobStore) -> None:
    fields = {f"{CHILD_FIELD}c{number}": "x" for number in range(MOST_FIELDS)}
    store.client.hset(KEYS.job("theirs"), mapping=fields | {"status": "running", "odd": "1"})
    job = store.get("theirs")
    assert (job.status, dict(job.raw)) == ("running", {})


def test_keys_of_every_wrong_type_are_read_as_unknown(store: JobStore) -> None:
    job = store.create(["true"])
    for name in (KEYS.output(job.id), KEYS.processes(job.id), KEYS.control(job.id), KEYS.child(job.id, "c")):
        store.client.zadd(name, {"odd": 1})
    store.client.hset(KEYS.job(job.id), f"{CHILD_FIELD}c", KEYS.child_output(job.id, "c"))
    store.client.set(KEYS.child_output(job.id, "c"), "a string\n")
    store.client.rpush(KEYS.job("list"), "x")
    assert store.processes(job.id) is None
    assert [child.status for child in store.all_children(job.id)] == [None]
    assert store.output(job.id).read(1, 10) is not None
    assert store.status("list").job.status is None
    assert store.all_children("list") == []
    assert store.output("list").read(1, 10) == []


def test_thousands_of_children_are_removed_with_all_they_said(server: Server) -> None:
    store = JobStore(server.client(), KEYS, server.url)
    job, other = store.create(["true"], user_id="u"), store.create(["true"], user_id="u")
    outputs = {f"c{number}": KEYS.child_output(job.id, f"c{number}") for number in range(20_000)}
    add_children(store.client, store.run_of(job), outputs)
    pipe = store.client.pipeline(transaction=False)
    for number in range(0, 20_000, 50):
        pipe.hset(KEYS.child(job.id, f"c{number}"), "status", "success")
        pipe.xadd(KEYS.child_output(job.id, f"c{number}"), {"at": 1, "kind": "out", "data": "x"}, id="1-0")
    pipe.hset(KEYS.job(job.id), mapping={f"{CHILD_FIELD}spy": KEYS.job(other.id), "status": "success"})
    pipe.execute()
    store.remove(job.id, TUX)
    assert set(store.client.scan_iter(f"{KEYS.jobs_namespace}*", count=1000)) == {KEYS.job(other.id).encode()}
    assert [listed.id for listed in store.page(user="u").jobs] == [other.id]


def test_a_removal_that_was_cut_can_be_done_again(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), "status", "success")
    store.client.set(KEYS.output(job.id), "x")
    with monkeypatch.context() as patch:
        patch.setattr(
            "gnjobs.records.lifecycle.output_keys", lambda *_: (_ for _ in ()).throw(redis.ConnectionError())
        )
        with pytest.raises(redis.ConnectionError):
            store.remove(job.id, TUX)
    assert [listed.id for listed in store.page().jobs] == [job.id]
    store.remove(job.id, TUX)
    assert store.page().jobs == []
    assert not list(store.client.scan_iter(f"{KEYS.jobs_namespace}*"))


def test_a_child_that_says_its_end_again_while_its_job_is_removed_leaves_nothing(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = store.create(["true"])
    key = KEYS.child(job.id, "c")
    store.client.hset(KEYS.job(job.id), mapping={"status": "success", f"{CHILD_FIELD}c": "x"})
    remaining = indexes.scan_steps

    def say_again(*arguments: Any) -> Iterator[list[bytes]]:
        yield from remaining(*arguments)
        store.client.hset(key, "status", "success")

    monkeypatch.setattr(lifecycle, "scan_steps", say_again)
    store.remove(job.id, TUX)
    assert not store.client.exists(key)
