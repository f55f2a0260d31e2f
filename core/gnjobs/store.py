"""The store of jobs: creating, listing, reading and removing them, over one Redis and one prefix."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from gnjobs import events, foreign, indexes, removal, values
from gnjobs.connections import connect
from gnjobs.errors import AmbiguousId, InvalidName, JobExists, NoSuchChild, NoSuchJob, NotFinished
from gnjobs.indexes import Cursor
from gnjobs.keys import CHILD_FIELD, DEFAULT_PREFIX, Keys, check_id, is_id, new_job_id
from gnjobs.origins import remember_origin
from gnjobs.records import LIST_FIELDS, Child, Job, read_child, read_job, read_job_list
from gnjobs.statuses import PENDING

if TYPE_CHECKING:
    from gnjobs.events import Event
    from gnjobs.health import Limits
    from gnjobs.lines import Hole, Line
    from gnjobs.output_reader import OutputReader
    from gnjobs.processes import ProcessSnapshot
    from gnjobs.processing import Processing
    from gnjobs.roles import Actor
    from gnjobs.views import JobStatus, JobView

MONTH = 30 * 86400
SHORTEST_BEGINNING = 4
_CHUNK = 500
_COUNTED_JOBS = 1000


class Page(NamedTuple):
    """Some jobs, newest first, and the cursor of the page after them (None: there is none)."""

    jobs: list[Job]
    next: Cursor | None


class UserSummary(NamedTuple):
    """A user, how many of her newest jobs have which status, and when the newest was created (unix seconds)."""

    user: str
    counts: dict[str, int]
    newest: float | None


class JobStore:
    """All jobs under one prefix. Errors of the connection are redis-py's and pass through."""

    def __init__(self, client: redis.Redis, keys: Keys, url: str) -> None:
        self.client = client
        self.keys = keys
        self.url = url

    @classmethod
    def from_url(cls, url: str, prefix: str = DEFAULT_PREFIX) -> "JobStore":
        """Make a store for a `redis://`, `rediss://` or `unix://` URL; connects when it is first used."""
        return cls(connect(url), Keys(prefix), url)

    def now(self) -> float:
        """The server's time in unix seconds."""
        seconds, microseconds = self.client.time()
        return float(seconds) + float(microseconds) / 1_000_000

    def create(
        self,
        command: Sequence[str],
        *,
        job_type: str = "generic",
        user_id: str | None = None,
        label: str | None = None,
        job_id: str | None = None,
        keep: float | None = None,
        stuck_after: float | None = None,
        cwd: str | None = None,
        parent_job: str | None = None,
    ) -> Job:
        """Create a pending job; `keep` and `stuck_after` in seconds. Raises `JobExists` and `InvalidName`."""
        if isinstance(command, str) or not command:
            raise InvalidName("a command is a list of words, the first the program")
        chosen = check_id(job_id, "job id") if job_id is not None else new_job_id()
        if user_id is not None:
            check_id(user_id, "user id")
        fields = {
            "jobid": chosen,
            "command": shlex.join(command),
            "percent": 0,
            "job-type": job_type,
            "user-id": user_id,
            "label": label,
            "created": f"{self.now():.6f}",
            "cwd": cwd,
            "stuck-after": stuck_after,
            "keep": keep,
            "parent-job": parent_job,
        }
        self._store_new(chosen, {name: _stored(value) for name, value in fields.items() if value is not None})
        return self.adopt(chosen)

    def _store_new(self, job_id: str, fields: dict[str, bytes]) -> None:
        key = self.keys.job(job_id)
        if not self.client.hsetnx(key, "status", PENDING):
            raise JobExists(f"there is already a job {job_id}")
        self.client.hset(key, mapping=fields)  # type: ignore[arg-type]

    def adopt(self, job_id: str) -> Job:
        """Put an existing record, whoever made it, into the indexes, and make it expire late enough."""
        key = self.keys.job(job_id)
        if self.client.exists(key):
            self.client.hsetnx(key, "created", f"{self.now():.6f}")
        job = self.get(job_id)
        remember_origin(job_id, self.url, self.keys.prefix)
        self.client.expire(key, int(max(job.keep or 0, MONTH)))
        pipe = self.client.pipeline(transaction=False)
        indexes.add_to_indexes(pipe, self.keys, job)
        pipe.execute()
        indexes.tidy(self.client, self.keys, job.user if job.user and is_id(job.user) else None)
        return job

    def get(self, job_id: str) -> Job:
        """Read a whole record; raises `NoSuchJob`. A key that is no hash is a job of which nothing is known."""
        try:
            fields: Any = self.client.hgetall(self.keys.job(job_id))
        except redis.ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return Job(id=job_id)
        if not fields:
            raise NoSuchJob(f"there is no job {job_id}")
        return read_job(job_id, fields)

    def many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read the list fields of many records in one pipeline; None where there is no record."""
        pipe = self.client.pipeline(transaction=False)
        for job_id in job_ids:
            pipe.hmget(self.keys.job(job_id), LIST_FIELDS)
        replies = pipe.execute(raise_on_error=False)
        return [self._listed(job_id, reply) for job_id, reply in zip(job_ids, replies, strict=True)]

    @staticmethod
    def _listed(job_id: str, reply: Any) -> Job | None:
        if not isinstance(reply, Exception):
            return read_job_list(job_id, reply)
        if isinstance(reply, redis.ResponseError) and str(reply).startswith("WRONGTYPE"):
            return Job(id=job_id)
        raise reply

    def page(
        self,
        *,
        user: str | None = None,
        unfinished: bool = False,
        before: Cursor | None = None,
        count: int = 50,
    ) -> Page:
        """Read jobs newest first: all, one user's, or the unfinished. Entries whose record is gone are skipped."""
        index = self.keys.unfinished if unfinished else self.keys.jobs
        index = self.keys.user_jobs(user) if user is not None else index
        jobs: list[Job] = []
        while len(jobs) < count:
            entries = indexes.read_index(self.client, index, before, count)
            found = self.many([entry.job_id for entry in entries])
            jobs += [job for job in found if job is not None and not (unfinished and job.is_final)]
            if len(entries) < count:
                return Page(jobs, None)
            before = (entries[-1].created, entries[-1].job_id)
        return Page(jobs, before)

    def resolve(self, beginning: str) -> str:
        """Find the one id that begins so; raises `NoSuchJob`, `AmbiguousId`, `InvalidName`."""
        if is_id(beginning) and self.client.exists(self.keys.job(beginning)):
            return beginning
        check_id(beginning, "id")
        if len(beginning) < SHORTEST_BEGINNING:
            raise InvalidName(
                f"{beginning} is too short: give at least {SHORTEST_BEGINNING} characters of an id"
            )
        found = sorted(indexes.ids_beginning(self.client, self.keys, beginning))
        existing = [job_id for job_id in found if self.client.exists(self.keys.job(job_id))]
        if not existing:
            raise NoSuchJob(f"no job's id begins with {beginning}")
        if len(existing) > 1:
            raise AmbiguousId(beginning, existing)
        return existing[0]

    def children(self, job_id: str) -> Iterator[Child]:
        """Read a job's children in chunks, as they were recorded; one whose hash is gone has no status."""
        chunk: dict[str, str] = {}
        scanned: Any = self.client.hscan_iter(self.keys.job(job_id), match=f"{CHILD_FIELD}*", count=_CHUNK)
        for field, output_key in scanned:
            child_id = (values.text(field) or "").removeprefix(CHILD_FIELD)
            if is_id(child_id):
                chunk[child_id] = values.text(output_key) or ""
            if len(chunk) >= _CHUNK:
                yield from self._read_children(job_id, chunk)
                chunk = {}
        yield from self._read_children(job_id, chunk)

    def _read_children(self, job_id: str, output_keys: dict[str, str]) -> Iterator[Child]:
        pipe = self.client.pipeline(transaction=False)
        for child_id in output_keys:
            pipe.hgetall(self.keys.child(job_id, child_id))
        replies = pipe.execute(raise_on_error=False)
        for (child_id, output_key), fields in zip(output_keys.items(), replies, strict=True):
            yield read_child(child_id, fields if isinstance(fields, dict) else {}, output_key)

    def all_children(self, job_id: str) -> list[Child]:
        """Read all children of a job; of one that somebody else wrote, what its workers left below its key."""
        children = sorted(self.children(job_id), key=lambda child: child.id)
        if not children and foreign.is_foreign(job := self.get(job_id)):
            return list(foreign.read_children(self.client, self.keys, job))
        return children

    def child(self, job_id: str, child_id: str) -> Child:
        """Read one child; raises `NoSuchChild`."""
        if not is_id(child_id):
            return self._foreign_child(job_id, child_id)
        output_key = self.client.hget(self.keys.job(job_id), f"{CHILD_FIELD}{child_id}")
        if output_key is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        return next(self._read_children(job_id, {child_id: values.text(output_key) or ""}))

    def _foreign_child(self, job_id: str, child_id: str) -> Child:
        part = foreign.part_of(child_id)
        if part is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        return Child(id=child_id, output_key=self.keys.foreign(job_id, part))

    def output(self, job_id: str, child_id: str | None = None) -> "OutputReader":
        """Open an output of a job, or of one of its children if its key lies inside the job; raises `NoSuchChild`."""
        from gnjobs.output_reader import OutputReader

        if child_id is None:
            key = self.keys.output(job_id)
            if not self.client.exists(key) and self.client.hexists(self.keys.job(job_id), "stdout"):
                return OutputReader(self.client, self.keys.job(job_id), "stdout")
            return OutputReader(self.client, key)
        if child_id == foreign.STDERR_CHILD:
            return OutputReader(self.client, self.keys.job(job_id), "stderr")
        key = self.child(job_id, child_id).output_key or ""
        if not self.keys.owns(job_id, key):
            raise NoSuchChild(f"the output of child {child_id} lies outside its job, so it is not opened")
        return OutputReader(self.client, key)

    def processes(self, job_id: str) -> "ProcessSnapshot | None":
        """Read the job's processes as its supervisor last saw them."""
        from gnjobs.processes import read_snapshot

        return read_snapshot(self._get_text(self.keys.processes(job_id)))

    def _get_text(self, key: str) -> bytes | None:
        try:
            return self.client.get(key)  # type: ignore[return-value]
        except redis.ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return None

    def users(self) -> list[UserSummary]:
        """All users, the one with the newest job first, with counts over the newest 1000 jobs of each."""
        found: Any = self.client.zrevrange(self.keys.users, 0, -1, withscores=True)
        named = [(values.text(member) or "", score) for member, score in found]
        return [self._summary(user, score) for user, score in named if is_id(user)]

    def _summary(self, user: str, newest: float) -> UserSummary:
        counts: dict[str, int] = {}
        for job in self.page(user=user, count=_COUNTED_JOBS).jobs:
            status = job.status or "unknown"
            counts[status] = counts.get(status, 0) + 1
        return UserSummary(user, counts, newest)

    def status(
        self, job_id: str, processor: "Processing | None" = None, limits: "Limits | None" = None
    ) -> "JobStatus":
        """Read a job with its children, health and the report of its type's (or the given) processor."""
        return self.view(job_id, processor, limits).status()

    def view(
        self, job_id: str, processor: "Processing | None" = None, limits: "Limits | None" = None
    ) -> "JobView":
        """A view that remembers: asked for its status again, it processes only new lines."""
        from gnjobs.views import JobView

        return JobView(self, job_id, processor, limits)

    def remove(self, job_id: str, actor: "Actor") -> None:
        """Remove a job that has ended, with everything below it; raises `NotFinished`, `NotAllowed`, `NoSuchJob`."""
        job = self.get(job_id)
        actor.check("remove", job)
        if not job.is_final:
            raise NotFinished(
                f"job {job_id} is {job.status or 'unknown'}: only jobs that have ended are removed"
            )
        removal.remove_job(self.client, self.keys, job)
        events.record_event(self.client, self.keys, "removed", job, text="removed", by=actor.name)

    def rerun_line(self, job_id: str) -> str:
        """The shell line that runs the job again, for a person to run where it belongs; nothing runs it here."""
        from gnjobs.rerun import rerun_line

        return rerun_line(self.get(job_id))

    def events(self, since: float | None = None) -> "Iterator[Event]":
        """Read what happened, oldest first, from a time on (unix seconds)."""
        return events.read_events(self.client, self.keys, since)

    def last_events(self, count: int) -> "list[Event]":
        """The newest events, oldest of them first."""
        return events.read_last_events(self.client, self.keys, count)

    def all_lines(self, job_id: str) -> "Iterator[tuple[str, Iterator[Line | Hole]]]":
        """Every output of a job, by the name of its part: the job's own, then the children's."""
        yield job_id, self.output(job_id).iterate()
        for child in self.all_children(job_id):
            yield child.label or child.id, self.output(job_id, child.id).iterate()


def _stored(value: object) -> bytes:
    return str(value).encode("utf-8", "surrogateescape")
