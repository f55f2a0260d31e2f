"""Indexes: what pages read, what is tidied, and what hostile members do."""

from typing import Any

import pytest
import redis

from gnjobs.errors import AmbiguousId
from gnjobs.records.indexes import MONTH, Cursor, read_index, tidy, usual_run
from gnjobs.records.keys import Keys
from gnjobs.store import JobStore
from tests.support.servers import Server

KEYS = Keys()


@pytest.fixture
def store(fake: redis.Redis) -> JobStore:
    return JobStore(fake, KEYS, "redis://fake")


def add_stale(store: JobStore, index: str, count: int, first: float = 1.0) -> None:
    store.client.zadd(index, {f"gone-{number}": first + number for number in range(count)})


def test_a_page_has_no_more_jobs_than_were_asked_for_whatever_is_gone(store: JobStore) -> None:
    ids = [store.create(["true"], job_id=f"job-{number:03}").id for number in range(40)]
    store.client.zadd(KEYS.jobs, {job_id: 10.0 * place for place, job_id in enumerate(ids)})
    store.client.zadd(KEYS.jobs, {f"gone-{place}": 10.0 * place + 5 for place in range(0, 40, 2)})
    seen, before = [], None
    while True:
        page = store.page(before=before, count=7)
        assert len(page.jobs) <= 7
        seen += [job.id for job in page.jobs]
        before = page.next
        if before is None:
            break
    assert seen == ids[::-1]


@pytest.mark.faults
def test_many_entries_without_records_are_passed_over_in_large_steps(store: JobStore) -> None:
    oldest = store.create(["true"])
    add_stale(store, KEYS.jobs, 5000, first=store.now() + 1)
    reads = []

    class Counting:
        def zrevrangebyscore(self, *arguments: Any, **options: Any) -> Any:
            reads.append(arguments)
            return store.client.zrevrangebyscore(*arguments, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(store.client, name)

    counting: Any = Counting()
    assert [job.id for job in JobStore(counting, KEYS, "").page(count=10).jobs] == [oldest.id]
    assert len(reads) < 30


def test_only_unfinished_jobs_are_listed_as_such_though_the_index_still_has_others(store: JobStore) -> None:
    ended, waiting = store.create(["true"], user_id="u"), store.create(["true"], user_id="u")
    store.client.hset(KEYS.job(ended.id), "status", "success")
    for page in (store.page(unfinished=True), store.page(unfinished=True, user="u")):
        assert [job.id for job in page.jobs] == [waiting.id]


def test_indexes_of_another_type_are_empty(store: JobStore) -> None:
    for name in (KEYS.jobs, KEYS.unfinished, KEYS.users, KEYS.events):
        store.client.set(name, "no sorted set")
    assert store.page().jobs == store.page(unfinished=True).jobs == []
    assert store.users() == []
    assert list(store.events()) == store.events.last(5) == []
    assert usual_run(store.client, KEYS, "qc") is None
    tidy(store.client, KEYS, "u")


def test_scores_of_any_kind_are_paged(store: JobStore) -> None:
    scores = {"a": float("inf"), "b": float("-inf"), "c": 1e308, "d": -1.5, "e": 0.1 + 0.2}
    store.client.zadd(KEYS.jobs, scores)
    entries = read_index(store.client, KEYS.jobs, None, 2)
    assert [entry.job_id for entry in entries] == ["a", "c"]
    rest = read_index(store.client, KEYS.jobs, Cursor(entries[-1].created, "c"), 10)
    assert [entry.job_id for entry in rest] == ["e", "d", "b"]


@pytest.mark.parametrize("removed", [0, 30])
def test_many_entries_of_one_score_are_read_once_though_some_are_removed_meanwhile(
    own_server: Server, removed: int
) -> None:
    client, read = own_server.client(), list[str]()
    names = [f"job-{number:04}" for number in range(1000, 0, -1)]
    client.zadd(KEYS.jobs, dict.fromkeys(names, 1.0) | {"first": 2.0, "last": 0.5})
    before = None
    while entries := read_index(client, KEYS.jobs, before, 50):
        read += [entry.job_id for entry in entries]
        before = Cursor.behind(entries, before)
        if removed:
            client.zrem(KEYS.jobs, *read[-removed:])
    assert read == ["first", *names, "last"]
    if not removed:  # not all of them for each page
        assert client.info("commandstats")["cmdstat_zrevrangebyscore"]["calls"] < 100


def test_creators_remove_what_is_gone_a_bounded_amount_at_a_time(store: JobStore) -> None:
    for index in (KEYS.jobs, KEYS.unfinished, KEYS.user_jobs("u")):
        add_stale(store, index, 120)
    store.client.zadd(KEYS.jobs, {"a:b": 1.0, b"\xff": 2.0})
    kept = store.create(["true"], user_id="u")
    assert 0 < int(store.client.zcard(KEYS.jobs)) - 1 <= 72
    for _ in range(4):
        tidy(store.client, KEYS, "u")
    for index in (KEYS.jobs, KEYS.unfinished, KEYS.user_jobs("u")):
        assert store.client.zrange(index, 0, -1) == [kept.id.encode()]


def test_old_jobs_that_are_kept_for_long_hide_nothing_from_tidying(store: JobStore) -> None:
    for number in range(60):
        store.client.hset(KEYS.job(f"old-{number}"), "status", "success")
        store.client.zadd(KEYS.jobs, {f"old-{number}": float(number)})
    add_stale(store, KEYS.jobs, 30, first=1000.0)
    for _ in range(100):
        tidy(store.client, KEYS)
        if store.client.zcard(KEYS.jobs) == 60:
            return
    raise AssertionError("entries beyond the oldest were never looked at")


def test_what_has_ended_leaves_the_unfinished(store: JobStore) -> None:
    job = store.create(["true"])
    store.client.hset(KEYS.job(job.id), "status", "lost")
    tidy(store.client, KEYS)
    assert store.client.zscore(KEYS.unfinished, job.id) is None
    assert store.client.zscore(KEYS.jobs, job.id) is not None


def test_users_without_any_job_are_forgotten_after_a_month(store: JobStore) -> None:
    now = store.now()
    store.client.zadd(KEYS.users, {"long-gone": now - MONTH - 100, "of-today": now, "a:b": 1.0})
    store.client.zadd(KEYS.users, {"at-work": now - MONTH - 100})
    job = store.create(["true"], user_id="at-work")
    store.client.zadd(KEYS.users, {"at-work": now - MONTH - 100})
    add_stale(store, KEYS.user_jobs("long-gone"), 3)
    for _ in range(30):
        tidy(store.client, KEYS)
    assert sorted(store.client.zrange(KEYS.users, 0, -1)) == [b"at-work", b"of-today"]
    assert [(user.user, user.counts) for user in store.users()] == [("at-work", {"pending": 1})]
    assert store.page(user="at-work").jobs[0].id == job.id


def test_an_ambiguous_beginning_names_some_and_holds_all(store: JobStore) -> None:
    for number in range(30):
        store.create(["true"], job_id=f"same-{number:02}")
    store.client.zadd(KEYS.jobs, {"same-gone": 1.0})
    with pytest.raises(AmbiguousId) as refused:
        store.resolve("same")
    assert len(refused.value.candidates) == 30
    assert str(refused.value).endswith("same-09, …")
    assert store.resolve("same-29") == "same-29"


def test_users_are_counted_by_status_over_their_newest_jobs(store: JobStore) -> None:
    for number, status in enumerate(("success", "success", "error", "what?")):
        job = store.create(["true"], user_id="agunn" if number else "jsmith")
        store.client.hset(KEYS.job(job.id), "status", status)
    store.client.set(KEYS.job("odd"), "no hash")
    store.client.zadd(KEYS.user_jobs("agunn"), {"odd": 5.0, "gone": 6.0})
    counted = {user.user: user.counts for user in store.users()}
    assert counted == {
        "jsmith": {"success": 1},
        "agunn": {"success": 1, "error": 1, "what?": 1, "unknown": 1},
    }
    assert store.users()[0].user == "agunn"
    for impossible in (float("inf"), 1.83e12, -1e14):
        store.client.zadd(KEYS.users, {"agunn": impossible})
        assert {user.user: user.newest for user in store.users()}["agunn"] is None


def test_of_very_many_users_those_with_the_newest_jobs_are_counted(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnjobs.records.indexes.MOST_USERS", 3)
    for number in range(6):
        store.create(["true"], user_id=f"user{number}")
    assert [user.user for user in store.users()] == ["user5", "user4", "user3"]


def test_how_long_jobs_of_a_type_usually_run(store: JobStore) -> None:
    def ended(seconds: float, **fields: Any) -> None:
        job = store.create(["true"], job_type=fields.pop("job_type", "qc"))
        told = {"status": "success", "started": 100, "finished": 100 + seconds} | fields
        store.client.hset(KEYS.job(job.id), mapping=told)

    ended(10)
    ended(1000)
    ended(9999, status="error")
    ended(9999, job_type="insert")
    ended(-50)
    ended(0, started="soon")
    assert usual_run(store.client, KEYS, "qc") is None
    ended(20)
    assert usual_run(store.client, KEYS, "qc") == 20
    assert usual_run(store.client, KEYS, None) is None
