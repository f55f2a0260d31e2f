"""The indexes of jobs: filled by creators, read page by page from the newest on, tidied, and counted by user."""

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import redis

from gnjobs.records import values
from gnjobs.records.bounded import TooLarge, read_hashes
from gnjobs.records.connection import (
    passing_over_other_types,
    read_or_none,
    readable,
    replies_of,
    server_time,
)
from gnjobs.records.fields import Job
from gnjobs.records.keys import MONTH, OWN_STATUS, Keys, ids_among, is_id, is_user
from gnjobs.records.pipeline import Pipeline, scan_ahead
from gnjobs.records.statuses import FINAL_STATUSES, SUCCESS

MOST_KEYS_SCANNED: Final = 10_000_000
_SCANNED_AT_ONCE: Final = 1000
_READ_AT_ONCE: Final = 500
_PIECES: Final = 10

Member = TypeVar("Member")


class Entry(NamedTuple):
    """One job id in an index, with its creation time (unix seconds)."""

    job_id: str
    created: float


class Cursor(NamedTuple):
    """How far an index was read; `passed` counts the entries of that score, so that they are not read again."""

    created: float
    job_id: str
    passed: int = 0

    @classmethod
    def behind(cls, entries: Sequence[Entry], before: "Cursor | None") -> "Cursor":
        """The cursor after these entries, the first of which follows the cursor `before`."""
        last = entries[-1]
        passed = sum(entry.created == last.created for entry in entries)
        if before is not None and before.created == last.created:
            passed += before.passed
        return cls(last.created, last.job_id, passed)

    def is_behind(self, entry: Entry) -> bool:
        """Whether the entry was passed."""
        return (entry.created, entry.job_id) >= (self.created, self.job_id)


class Page(NamedTuple):
    """Some jobs, newest first, and the cursor of the page after them (None: there is none)."""

    jobs: list[Job]
    next: Cursor | None


def add_to_indexes(pipe: Any, keys: Keys, job: Job) -> None:
    """Add a job to every index that lists it; `pipe` may be a pipeline or a client."""
    created = job.created or 0.0
    pipe.zadd(keys.jobs, {job.id: created})
    if not job.is_final:
        pipe.zadd(keys.unfinished, {job.id: created})
    if job.user is not None and is_user(job.user):
        pipe.zadd(keys.users, {job.user: created}, gt=True)
        pipe.zadd(keys.user_jobs(job.user), {job.id: created})


def remove_from_indexes(pipe: Any, keys: Keys, job: Job) -> None:
    """Remove a job from every index that may list it; `pipe` may be a pipeline or a client."""
    pipe.zrem(keys.jobs, job.id)
    pipe.zrem(keys.unfinished, job.id)
    if job.user is not None and is_user(job.user):
        pipe.zrem(keys.user_jobs(job.user), job.id)


def read_index(client: redis.Redis, index: str, before: Cursor | None, count: int) -> list[Entry]:
    """Read the entries of an index that come before a cursor, newest first; members that are no ids are left out.

    Entries of the same score are ordered by id, so that a cursor never loses or repeats one. A key that is no sorted
    set has no entries.
    """
    highest: float | str = "+inf" if before is None else before.created
    found: list[Entry] = []
    offset = 0 if before is None else _passed(client, index, before, count)
    while len(found) < count:
        chunk = members_by_score(client, index, highest, offset, count)
        entries = _entries(chunk)
        found += entries if before is None else [entry for entry in entries if not before.is_behind(entry)]
        if len(chunk) < count:
            break
        offset += len(chunk)
    return found[:count]


def _passed(client: redis.Redis, index: str, before: Cursor, count: int) -> int:
    """How many entries of a cursor's score need not be read again, where they are many and none was removed since."""
    if before.passed <= count:
        return 0
    last = _entries(members_by_score(client, index, before.created, before.passed - 1, 1))
    return before.passed - 1 if last and before.is_behind(last[0]) else 0


def _entries(members: Sequence[tuple[bytes, float]]) -> list[Entry]:
    job_ids = ids_among([member for member, _ in members])
    if len(job_ids) == len(members):
        return list(map(Entry._make, zip(job_ids, map(itemgetter(1), members), strict=True)))
    named = ((values.text(member) or "", score) for member, score in members)
    return [Entry(job_id, score) for job_id, score in named if is_id(job_id)]


def members_by_rank(client: redis.Redis, index: str, start: int, count: int) -> list[bytes]:
    """Some members of an index, the newest being the first; one that is too large is empty."""

    def read(first: int, some: int) -> list[bytes]:
        return client.zrevrange(index, first, first + some - 1)  # type: ignore[return-value]

    return _in_pieces(read, start, count, b"")


def members_by_score(
    client: redis.Redis, index: str, highest: float | str, offset: int, count: int
) -> list[tuple[bytes, float]]:
    """Some members up to a score, the highest first; one that is too large is empty, a key of another type has none."""

    def read(first: int, some: int) -> list[tuple[bytes, float]]:
        found = read_or_none(client.zrevrangebyscore, index, highest, "-inf", first, some, withscores=True)
        return found or []

    return _in_pieces(read, offset, count, (b"", float("nan")))


def _in_pieces(
    read: Callable[[int, int], list[Member]], start: int, count: int, hole: Member
) -> list[Member]:
    """Read some members, in smaller pieces where they are too large together; one that is alone is a `hole`."""
    try:
        return read(start, count)
    except TooLarge:
        if count == 1:
            return [hole]
    size = -(-count // _PIECES)
    starts = range(start, start + count, size)
    pieces = (_in_pieces(read, first, min(size, start + count - first), hole) for first in starts)
    return [member for piece in pieces for member in piece]


def read_page(
    client: redis.Redis,
    index: str,
    fetch: Callable[[list[str]], list[Job | None]],
    *,
    before: Cursor | None = None,
    count: int = 50,
    is_listed: Callable[[Job], bool] = lambda _: True,
) -> Page:
    """Read a page of an index; entries without a record, and jobs that are not to be listed, are passed over."""
    jobs: list[Job] = []
    chunk = count
    while True:
        entries = read_index(client, index, before, chunk)
        found = fetch([entry.job_id for entry in entries])
        for number, job in enumerate(found, 1):
            if job is not None and is_listed(job):
                jobs.append(job)
            if len(jobs) == count:
                return Page(jobs, Cursor.behind(entries[:number], before))
        if len(entries) < chunk:
            return Page(jobs, None)
        before = Cursor.behind(entries, before)
        chunk = min(2 * chunk, max(count, _READ_AT_ONCE))


def ids_beginning(client: redis.Redis, keys: Keys, beginning: str) -> Iterator[str]:
    """Find the ids with this beginning: all that are indexed, then others among the first `MOST_KEYS_SCANNED` keys."""
    indexed = _indexed_beginning(client, keys, beginning)
    yield from dict.fromkeys((*indexed, *_unindexed_beginning(client, keys, beginning)))


def _indexed_beginning(client: redis.Redis, keys: Keys, beginning: str) -> Iterator[str]:
    with passing_over_other_types():
        for member, _ in client.zscan_iter(keys.jobs, match=f"{beginning}*", count=_SCANNED_AT_ONCE):
            job_id = values.text(member) or ""
            if is_id(job_id):
                yield job_id


def _unindexed_beginning(client: redis.Redis, keys: Keys, beginning: str) -> Iterator[str]:
    for names in scan_steps(client, f"{keys.jobs_namespace}{beginning}*"):
        yield from keys.records(names)


def unindexed_ids(
    client: redis.Redis, keys: Keys, looked: Callable[[int], None] = lambda _: None
) -> Iterator[list[str]]:
    """Find the jobs that no index lists, in steps among the first `MOST_KEYS_SCANNED` keys; each once.

    `looked` is told after each step about how many keys were looked at.
    """
    seen: set[str] = set()
    for step, names in enumerate(scan_steps(client, keys.scan_pattern()), 1):
        looked(step * _SCANNED_AT_ONCE)
        # Those are few: the server knows all others, while a set of a million would take more than they do.
        ids = [job_id for job_id in without_index(client, keys, keys.records(names)) if job_id not in seen]
        seen.update(ids)
        yield ids


def without_index(client: redis.Redis, keys: Keys, job_ids: Sequence[str]) -> list[str]:
    """Those of these jobs that are not in the index of all jobs; a key that is no sorted set lists none."""
    scores = Pipeline(client, ["ZSCORE", keys.jobs]).read(job_ids)
    if all(isinstance(score, bytes) for score in scores):
        return []
    return [job_id for job_id, score in zip(job_ids, scores, strict=True) if readable(score) is None]


def scan_steps(client: redis.Redis, pattern: str) -> Iterator[list[bytes]]:
    """The keys that match of the first `MOST_KEYS_SCANNED`, in small steps of SCAN that keep nobody else waiting."""
    return islice(scan_ahead(client, pattern, _SCANNED_AT_ONCE), MOST_KEYS_SCANNED // _SCANNED_AT_ONCE)


LOOKED_AT: Final = 200
FEWEST: Final = 3
_FIELDS: Final = ("job-type", "status", "started", "finished")


def usual_run(client: redis.Redis, keys: Keys, job_type: str | None) -> float | None:
    """The median of the seconds that successful jobs of a type took, among the newest 200 jobs; None below three."""
    from statistics import median  # late, since lists need not wait for it

    if job_type is None:
        return None
    names = [keys.job(entry.job_id) for entry in read_index(client, keys.jobs, None, LOOKED_AT)]
    replies = map(readable, read_hashes(client, names, _FIELDS))
    runs = [run for reply in replies if reply and (run := _run(job_type, *reply)) is not None]
    return median(runs) if len(runs) >= FEWEST else None


def _run(
    wanted: str, job_type: bytes | None, status: bytes | None, started: bytes | None, finished: bytes | None
) -> float | None:
    if values.text(job_type) != wanted or values.text(status) != SUCCESS:
        return None
    began, ended = values.seconds(started), values.seconds(finished)
    return None if began is None or ended is None or ended < began else ended - began


MOST_COUNTED: Final = 1000
MOST_USERS: Final = 10_000
UNKNOWN: Final = "unknown"


class UserSummary(NamedTuple):
    """A user, how many of her newest 1000 jobs have which status, and when the newest was created (unix seconds)."""

    user: str
    counts: dict[str, int]
    newest: float | None


def count_users(client: redis.Redis, keys: Keys) -> list[UserSummary]:
    """Count the newest 1000 jobs of each of 10 000 users who have any, the user with the newest job first."""
    found = members_by_score(client, keys.users, "+inf", 0, MOST_USERS)
    named = [(values.text(member) or "", values.seconds(str(score))) for member, score in found]
    counted = (
        UserSummary(user, _count(client, keys, user), newest) for user, newest in named if is_user(user)
    )
    return [summary for summary in counted if summary.counts]


def _count(client: redis.Redis, keys: Keys, user: str) -> dict[str, int]:
    pipe = client.pipeline(transaction=False)
    for entry in read_index(client, keys.user_jobs(user), None, MOST_COUNTED):
        pipe.exists(keys.job(entry.job_id))
        pipe.hmget(keys.job(entry.job_id), (OWN_STATUS, "status"))
    replies = replies_of(pipe)
    listed = zip(replies[::2], replies[1::2], strict=True)
    words = (next(filter(None, found or ()), None) for exists, found in listed if exists)
    return dict(Counter(values.text(status) or UNKNOWN for status in words))


_OLDEST: Final = 50
_RANDOM: Final = 50
_FINAL: Final = frozenset(status.encode() for status in FINAL_STATUSES)


def tidy(client: redis.Redis, keys: Keys, user: str | None = None) -> None:
    """Look at some entries of each index, and of one user's, and remove those whose record is gone.

    Some are the oldest, some taken at random, so that old jobs that are kept for long hide nothing.
    """
    _tidy_index(client, keys, keys.jobs)
    _tidy_index(client, keys, keys.unfinished, also=_FINAL)
    users = [user] if user is not None and is_user(user) else []
    for each in dict.fromkeys([*users, *_some_users(client, keys)]):
        _tidy_index(client, keys, keys.user_jobs(each))
    with contextlib.suppress(TooLarge):
        _tidy_users(client, keys)


def _some_users(client: redis.Redis, keys: Keys) -> list[str]:
    found = [values.text(member) or "" for member in _some(client, keys.users, oldest=1, random=1)]
    return [user for user in found if is_user(user)]


def _some(
    client: redis.Redis, index: str, *, oldest: int = _OLDEST, random: int = _RANDOM
) -> Collection[bytes]:
    """Some members, none where one of them is too large: the other indexes are tidied all the same."""
    pipe = client.pipeline(transaction=False)
    pipe.zrange(index, 0, oldest - 1)
    pipe.zrandmember(index, random)
    with contextlib.suppress(TooLarge):
        return dict.fromkeys(member for reply in replies_of(pipe) for member in reply or ())
    return ()


def _tidy_index(client: redis.Redis, keys: Keys, index: str, also: frozenset[bytes] = frozenset()) -> None:
    """Remove entries that name no record, or one whose status is among `also`."""
    members = _some(client, index)
    named = {member: job_id for member in members if is_id(job_id := values.text(member) or "")}
    pipe = client.pipeline(transaction=False)
    for job_id in named.values():
        pipe.exists(keys.job(job_id))
        pipe.hget(keys.job(job_id), "status")
    replies = replies_of(pipe)
    kept = {
        member
        for member, exists, status in zip(named, replies[::2], replies[1::2], strict=True)
        if exists and status not in also
    }
    gone = [member for member in members if member not in kept]
    if gone:
        client.zrem(index, *gone)


def _tidy_users(client: redis.Redis, keys: Keys) -> None:
    """Remove users who created nothing for a month and have no index of jobs any more."""
    now = server_time(client)
    found = read_or_none(client.zrangebyscore, keys.users, "-inf", now - MONTH, 0, _OLDEST) or []
    named = {member: user for member in found if is_user(user := values.text(member) or "")}
    pipe = client.pipeline(transaction=False)
    for user in named.values():
        pipe.exists(keys.user_jobs(user))
    has_jobs = dict(zip(named, pipe.execute(), strict=True))
    gone = [member for member in found if not has_jobs.get(member)]
    if gone:
        client.zrem(keys.users, *gone)
