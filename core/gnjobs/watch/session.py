"""One connected stretch of watching: subscribe, then load, then follow, until the connection breaks or we stop."""

import time
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import redis

from gnjobs.processes.presence import look_well
from gnjobs.processes.stored import read_processes
from gnjobs.records import values
from gnjobs.records.feed import ChangeFeed, TrackingRefused
from gnjobs.records.keys import is_id
from gnjobs.records.servers import MEMORY_FULL, REFUSES, UNSAVED
from gnjobs.watch.loader import Loader
from gnjobs.watch.reading import READ_AT_ONCE, ReadRows, WatchedPrefix
from gnjobs.watch.requests import Deliver, Look, WatchRequests
from gnjobs.watch.rows import Change, FeedKind, FeedState

GATHER_SECONDS = 0.1
IDLE = 3600.0
# Longer than a beat: where jobs are at work, this silence means that they can't write.
SUSPECT_AFTER = 7.0
REFUSALS_EVERY = 2.5

Touched = frozenset[tuple[str, str | None]]


class WatchSession:
    """Everything is read in one thread, one thing after the other, so that nothing old is told after something new."""

    def __init__(
        self,
        client: redis.Redis,
        sources: list[WatchedPrefix],
        requests: WatchRequests,
        deliver: Deliver,
        look: Look | None = None,
    ) -> None:
        self._client = client
        self._sources = sources
        self._requests = requests
        self._deliver = deliver
        self._look = look
        self._feed: ChangeFeed | None = None
        self._poll: Poll | None = None
        self._steps: Iterator[Change] | None = None
        self._loader: Loader | None = None
        self._sweeping = False
        # A dict for its order: what changed first is read first.
        self._changed: dict[tuple[int, str], None] = {}
        self._touched: set[tuple[str, str | None]] = set()
        self._events = False
        self._fetch_at = 0.0
        self._refusals = WriteRefusals(client)
        self._refusal = ""
        self._load_refusal = ""
        self._suspect_at = float("inf")

    def open(self, *, again: bool) -> None:
        """Subscribe first, so that no change falls between, then begin to load; `again`: after a loss."""
        keys = [source.keys for source in self._sources]
        self._forget()
        feed = ChangeFeed(
            self._client, [name for each in keys for name in (each.jobs_namespace, each.events)]
        )
        try:
            feed.open()
            self._feed = feed
        except TrackingRefused as refusal:
            self._poll = Poll(self._sources, why=str(refusal))
        # A server that still reads its data from disk lets us subscribe, but can't say what there is.
        for source in self._sources:
            source.check_readable()
        self._refusal = self._refusals.look()
        self._suspect_at = time.monotonic() + REFUSALS_EVERY
        self._tell_state()
        self._load(sweep=again)

    def _forget(self) -> None:
        for source in self._sources:
            source.uncounted.forget()

    def close(self) -> None:
        """Close the connections."""
        if self._feed is not None:
            self._feed.close()

    def run(self) -> None:
        """Follow changes until asked to stop; errors of the connection pass through."""
        while not self._requests.stopping:
            self._listen(self._until_due())
            self._requests.quieten()
            if self._requests.take_refresh():
                self._load(sweep=True)
            if time.monotonic() >= self._fetch_at:
                self._fetch()
            self._look_once()
            self._load_step()
            self._poll_once()
            self._look_for_refusals()

    def _tell_state(self) -> None:
        polled = "" if self._poll is None else self._poll.why
        why = "; ".join(filter(None, (polled, self._refusal, self._load_refusal)))
        kind: FeedKind = "live" if self._poll is None else "polling"
        self._deliver(Change(state=FeedState(kind, why, time.time(), bool(self._refusal))))

    def _look_for_refusals(self) -> None:
        """Ask whether writes are refused, once after each silence, and again and again while they are."""
        if time.monotonic() < self._suspect_at:
            return
        before, self._refusal = self._refusal, self._refusals.look()
        self._suspect_at = time.monotonic() + (
            REFUSALS_EVERY if self._refusal or self._poll else float("inf")
        )
        if self._refusal != before:
            self._tell_state()

    def _load(self, *, sweep: bool) -> None:
        self._loader = Loader(
            self._sources, hears=self._feed is not None, pause=self._requests.wait_while_held
        )
        self._steps = self._loader.steps()
        self._sweeping = sweep
        self._deliver(Change(sweep="begin" if sweep else "", progress=0.0))

    def _load_step(self) -> None:
        if self._steps is None or self._loader is None:
            return
        change = next(self._steps, None)
        if change is None:
            self._steps = None
            if self._loader.refusal:
                self._load_refusal = self._loader.refusal
                self._tell_state()
            if self._poll is not None:
                self._poll.loaded()
            self._deliver(Change(sweep="end" if self._sweeping else "", progress=1.0))
        elif change != Change():
            self._deliver(change)

    def _until_due(self) -> float:
        """Seconds until something else has to be done."""
        if self._steps is not None or self._requests.has_unlooked:
            return 0.0
        due = IDLE if self._poll is None else self._poll.due_in()
        if self._changed or self._touched or self._events:
            due = min(due, self._fetch_at - time.monotonic())
        return max(0.0, min(due, self._suspect_at - time.monotonic()))

    def _listen(self, timeout: float) -> None:
        if self._feed is None:
            self._requests.wait(timeout)
            return
        for name in self._feed.read(timeout, self._requests.wake):
            self._suspect_at = time.monotonic() + (GATHER_SECONDS if self._refusal else SUSPECT_AFTER)
            if name is None:
                self._forget()
                self._load(sweep=True)
            else:
                self._note(name)

    def _note(self, name: bytes) -> None:
        for number, source in enumerate(self._sources):
            if (uncounted := source.uncounted.note(name)) is not None:
                self._changed[number, uncounted] = None
            changed = source.keys.changed(name)
            if changed is None:
                self._events = self._events or name == source.events
                continue
            job_id, child_id = changed
            if child_id is None:
                self._changed[number, job_id] = None
            if self._requests.open and (key := source.key(job_id)) in self._requests.open:
                self._touched.add((key, child_id))

    def _fetch(self) -> None:
        """Read what changed: the first change at once, what follows within the gathering time in one go."""
        if not (self._changed or self._touched or self._events):
            return
        self._fetch_at = time.monotonic() + GATHER_SECONDS
        found = ReadRows([], [])
        for number, source in enumerate(self._sources):
            read = source.read([job_id for at, job_id in self._changed if at == number])
            found = ReadRows(found.rows + read.rows, found.gone + read.gone)
        if self._loader is not None:
            self._loader.drop((*(row.key for row in found.rows), *found.gone))
        touched, events = frozenset(self._touched), self._events
        self._changed, self._touched, self._events = {}, set(), False
        self._tell(found, touched, events=events)

    def _tell(self, found: ReadRows, touched: Touched, *, events: bool) -> None:
        """Deliver rows in batches small enough not to block a screen's thread."""
        for start in range(READ_AT_ONCE, len(found.rows), READ_AT_ONCE):
            self._deliver(Change(rows=tuple(found.rows[start : start + READ_AT_ONCE])))
        first = tuple(found.rows[:READ_AT_ONCE])
        self._deliver(Change(rows=first, removed=tuple(found.gone), touched=touched, events=events))

    def _look_once(self) -> None:
        wanted = self._requests.take_unlooked() if self._look is not None else None
        if wanted is not None and self._look is not None:
            key, job = wanted
            source = next(each for each in self._sources if each.id_of(key) is not None)
            stored = partial(read_processes, source.client, source.keys, job.id)
            self._deliver(Change(presences={key: look_well(job, self._look, stored)}))

    def _poll_once(self) -> None:
        if self._poll is None or self._steps is not None or self._poll.due_in() > 0:
            return
        if self._poll.reload_is_due:
            self._load(sweep=True)
        else:
            found = self._poll.read(self._requests.visible | self._requests.open)
            self._tell(found, frozenset((key, None) for key in self._requests.open), events=True)


POLL_EVERY = 2.0
RELOAD_EVERY = 60.0
# About this share of the time goes into reading at most, yet a server that answers no more is to be noticed in 12 s.
BUSY_SHARE = 0.1
LONGEST_POLL = 9.5
NEWEST = 50
MOST_UNFINISHED = 10_000


class Poll:
    """Rereads at an interval, which grows when reading takes long; `why` says what makes it necessary."""

    def __init__(self, sources: list[WatchedPrefix], why: str) -> None:
        self.why = why
        self._sources = sources
        self._due = self._load_began = time.monotonic()
        self._reload_due = float("inf")

    def due_in(self) -> float:
        """Seconds until the next look."""
        return self._due - time.monotonic()

    @property
    def reload_is_due(self) -> bool:
        """Whether it is time to load everything, which alone finds what was removed or is in no index."""
        if time.monotonic() < self._reload_due:
            return False
        self._load_began = time.monotonic()
        return True

    def loaded(self) -> None:
        """Everything has been loaded: the next load is due later, the longer it took the later."""
        now = time.monotonic()
        self._reload_due = now + max(RELOAD_EVERY, (now - self._load_began) / BUSY_SHARE)

    def read(self, wanted: Collection[str]) -> ReadRows:
        """Read the unfinished, the newest and the wanted rows (keys of the catalogue)."""
        began = time.monotonic()
        read = [source.read(self._ids(source, wanted)) for source in self._sources]
        now = time.monotonic()
        self._due = now + min(LONGEST_POLL, max(POLL_EVERY, (now - began) / BUSY_SHARE))
        return ReadRows(
            [row for found in read for row in found.rows], [key for found in read for key in found.gone]
        )

    def _ids(self, source: WatchedPrefix, wanted: Collection[str]) -> list[str]:
        pipe = source.client.pipeline(transaction=False)
        pipe.zrevrange(source.keys.unfinished, 0, MOST_UNFINISHED - 1)
        pipe.zrevrange(source.keys.jobs, 0, NEWEST - 1)
        replies: list[Any] = pipe.execute(raise_on_error=False)
        listed = [
            values.text(member) or "" for reply in replies if isinstance(reply, list) for member in reply
        ]
        named = [job_id for key in wanted if (job_id := source.id_of(key)) is not None]
        return [job_id for job_id in dict.fromkeys(listed + named) if is_id(job_id)]


class WriteRefusals:
    """Looks at a server's own account of itself; the counts of its refusals tell whether they go on."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._counts: dict[str, int] | None = None
        self._is_forbidden = False

    def look(self) -> str:
        """Why the server refuses writes, in one line; empty where it does not, or may not be asked."""
        if self._is_forbidden:
            return ""
        try:
            info: Mapping[str, Any] = self._client.info()
        except redis.ResponseError:
            self._is_forbidden = True
            return ""
        counts = {kind: _count(info, kind) for kind in ("OOM", "MISCONF")}
        before = self._counts or counts
        self._counts = counts
        return _why(info, {kind for kind, count in counts.items() if count > before[kind]})


def _count(info: Mapping[str, Any], kind: str) -> int:
    found = info.get(f"errorstat_{kind}")
    return int(found["count"]) if isinstance(found, dict) and "count" in found else 0


def _why(info: Mapping[str, Any], rising: set[str]) -> str:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    can_evict = info.get("maxmemory_policy", "noeviction") != "noeviction"
    if "OOM" in rising or (0 < most < used and not can_evict):
        return MEMORY_FULL
    if info.get("aof_enabled") and info.get("aof_last_write_status") == "err":
        return f"{REFUSES}: its journal can't be written, is the disk full? (MISCONF)"
    if "MISCONF" in rising:
        return UNSAVED
    return ""
