"""Creating, listing, finding and removing jobs."""

import shlex

import pytest
import redis

from gnjobs.errors import AmbiguousId, InvalidName, JobExists, NoSuchChild, NoSuchJob, NotAllowed, NotFinished
from gnjobs.records.actor import Actor
from gnjobs.records.fields import Job
from gnjobs.records.keys import CHILD_FIELD, Keys
from gnjobs.records.lifecycle import rerun_line
from gnjobs.store import JobStore
from tests.support.hostile import TEXTS

TUX = Actor.admin("tux")


@pytest.fixture
def store(fake: redis.Redis) -> JobStore:
    return JobStore(fake, Keys(), "redis://fake")


def test_what_is_created_is_found_in_every_index(store: JobStore) -> None:
    job = store.create(["echo", "a b"], job_type="qc", user_id="jsmith", label="mine", keep=10)
    assert (job.status, job.command, job.type, job.user) == ("pending", "echo 'a b'", "qc", "jsmith")
    for page in (store.page(), store.page(user="jsmith"), store.page(unfinished=True)):
        assert [listed.id for listed in page.jobs] == [job.id]
    assert store.page(user="agunn").jobs == []
    assert store.users()[0][:2] == ("jsmith", {"pending": 1})
    assert store.client.ttl(store.keys.job(job.id)) > 29 * 86400


def test_pages_lose_and_repeat_nothing_even_of_one_moment(store: JobStore) -> None:
    ids = [store.create(["true"], job_id=f"job-{number:02}").id for number in range(25)]
    store.client.zadd(store.keys.jobs, dict.fromkeys(ids, 5.0))
    seen, before = [], None
    while True:
        page = store.page(before=before, count=7)
        seen += [job.id for job in page.jobs]
        before = page.next
        if before is None:
            break
    assert sorted(seen) == ids
    assert len(seen) == len(set(seen))


def test_index_entries_without_a_record_or_with_a_bad_name_are_skipped(store: JobStore) -> None:
    job = store.create(["true"])
    store.client.zadd(store.keys.jobs, {"gone": 1.0, "a:b*": 2.0, b"\xff": 3.0})
    assert [listed.id for listed in store.page().jobs] == [job.id]
    store.create(["true"])
    assert store.client.zscore(store.keys.jobs, "gone") is None


def test_ids_are_checked_and_taken_once(store: JobStore) -> None:
    store.create(["true"], job_id="taken")
    with pytest.raises(JobExists):
        store.create(["true"], job_id="taken")
    for bad in ("a:b", "output", "*", ""):
        with pytest.raises(InvalidName):
            store.create(["true"], job_id=bad)
    with pytest.raises(InvalidName):
        store.create(["true"], user_id="a:b")


def test_beginnings_of_ids(store: JobStore) -> None:
    store.create(["true"], job_id="twin-one")
    store.create(["true"], job_id="twin-two")
    store.client.hset(store.keys.job("unindexed-job"), "status", "running")
    assert store.resolve("twin-o") == "twin-one"
    assert store.resolve("unindexed") == "unindexed-job"
    with pytest.raises(AmbiguousId, match="twin-one, twin-two"):
        store.resolve("twin")
    with pytest.raises(NoSuchJob):
        store.resolve("nobody")
    with pytest.raises(InvalidName):
        store.resolve("twi")


def test_entries_without_a_record_cost_a_short_id_few_round_trips(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(["true"], job_id="crowded-job")
    store.client.zadd(store.keys.jobs, {f"crowded-{number}": 1e12 for number in range(2000)})
    asked: list[str] = []
    monkeypatch.setattr(store.client, "exists", asked.append)
    assert store.resolve("crowded-") == "crowded-job"
    assert len(asked) == 1  # the beginning itself


def test_no_record_stands_for_the_shortened_id_of_another(store: JobStore) -> None:
    """A job's code may make one for the eight characters that everything shows."""
    job = store.create(["true"])
    short = job.id[:8]
    store.client.hset(store.keys.job(short), "status", "killed")
    with pytest.raises(
        AmbiguousId, match=f"{short} is ambiguous: {short}, {job.id} \\({short}/ is the first alone"
    ):
        store.resolve(short)
    assert (store.resolve(job.id), store.resolve(job.id[:9]), store.resolve(f"{short}/")) == (
        job.id,
        job.id,
        short,
    )
    with pytest.raises(NoSuchJob):
        store.resolve(f"{job.id[:9]}/")
    store.client.delete(store.keys.job(job.id), store.keys.jobs)
    assert store.resolve(short) == short


def test_a_key_of_another_type_is_a_job_of_which_nothing_is_known(store: JobStore) -> None:
    store.client.set(store.keys.job("odd"), "text")
    assert store.get("odd").status is None
    (listed,) = store.many(["odd"])
    assert listed is not None
    assert listed.status is None


def test_a_childs_output_is_opened_only_inside_its_job(store: JobStore) -> None:
    job = store.create(["true"])
    store.client.hset(store.keys.job(job.id), f"{CHILD_FIELD}spy", "other:jobs:secret:output")
    with pytest.raises(NoSuchChild, match="outside"):
        store.output(job.id, "spy")
    with pytest.raises(NoSuchChild):
        store.output(job.id, "nobody")


def test_a_child_outside_its_job_hides_no_other_output(store: JobStore) -> None:
    job = store.create(["true"])
    keys = store.keys
    for child, key in (("a-spy", "other:jobs:secret:output"), ("itself", keys.job(job.id))):
        store.client.hset(keys.job(job.id), f"{CHILD_FIELD}{child}", key)
    store.client.hset(keys.job(job.id), f"{CHILD_FIELD}own", keys.child_output(job.id, "own"))
    found = store.all_lines(job.id)
    assert [next(found)[0], next(found)[0]] == [None, "own"]
    with pytest.raises(NoSuchChild, match="a-spy"):
        next(found)


def test_removing_takes_everything_of_an_ended_job_and_nothing_else(store: JobStore) -> None:
    job, other = store.create(["true"], user_id="jsmith"), store.create(["true"], user_id="jsmith")
    store.client.hset(store.keys.child(job.id, "c"), "status", "success")
    store.client.set(f"{store.keys.job(job.id)}:pheno:errors:a b", "x")
    with pytest.raises(NotFinished):
        store.remove(job.id, TUX)
    store.client.hset(store.keys.job(job.id), "status", "error")
    with pytest.raises(NotAllowed):
        store.remove(job.id, Actor("guest", "viewer"))
    store.remove(job.id, TUX)
    assert not list(store.client.scan_iter(f"{store.keys.job(job.id)}*"))
    assert [listed.id for listed in store.page(user="jsmith").jobs] == [other.id]
    assert [event.kind for event in store.events()] == ["refused", "removed"]


@pytest.mark.parametrize(
    "text", [t for t in TEXTS.values() if "\x00" not in t and len(t) < 999] + ["\x1b ", "a' \x1b'"]
)
def test_the_line_that_runs_it_again_is_harmless_and_names_the_same_words(store: JobStore, text: str) -> None:
    line = rerun_line(Job(id="j", command=shlex.join(["echo", text]), label=text))
    assert not [c for c in line if ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000]
    if "$'" not in line:
        assert shlex.split(line)[-1] == text
    else:
        assert line.startswith("bash -c ")
