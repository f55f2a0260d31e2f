"""The store of jobs: creating, listing, reading and removing them, over one Redis and one prefix."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import redis

from gnjobs.errors import AmbiguousId, InvalidName, NoSuchChild, NoSuchJob, NotAllowed, NotFinished
from gnjobs.records import values
from gnjobs.records.connection import connect, readable
from gnjobs.records.fields import Child, Job
from gnjobs.records.indexes import Cursor, Page, ids_beginning, read_page, unindexed_ids
from gnjobs.records.keys import CHILD_FIELD, DEFAULT_PREFIX, Keys, check_id, is_id, new_job_id
from gnjobs.records.reading import fetch_child_hashes, fetch_children, fetch_job, fetch_listed

if TYPE_CHECKING:
    from gnjobs.health.verdict import Limits
    from gnjobs.outputs.lines import Hole, Line
    from gnjobs.outputs.reader import OutputReader
    from gnjobs.processes.find import ProcessSnapshot
    from gnjobs.processing.processor import Processing
    from gnjobs.processing.view import JobStatus, JobView
    from gnjobs.records.actor import Actor
    from gnjobs.records.events import Event
    from gnjobs.records.lifecycle import Word
    from gnjobs.records.uploader import PartFinder
    from gnjobs.records.user_counts import UserSummary

SHORTEST_BEGINNING = 4
_MOST_CANDIDATES = 1000


class JobStore:
    """All jobs under one prefix. Errors of the connection are redis-py's and pass through.

    `lifetime` is the expiry in seconds that another program gives its jobs, where it is known: see `expiry_dates`.
    """

    def __init__(self, client: redis.Redis, keys: Keys, url: str, lifetime: float | None = None) -> None:
        self.client = client
        self.keys = keys
        self.url = url
        self._lifetime = lifetime

    @classmethod
    def from_url(cls, url: str, prefix: str = DEFAULT_PREFIX, *, lifetime: float | None = None) -> "JobStore":
        """Make a store for a `redis://`, `rediss://` or `unix://` URL; connects when it is first used."""
        return cls(connect(url), Keys(prefix), url, lifetime)

    def now(self) -> float:
        """The server's time in unix seconds."""
        seconds, microseconds = self.client.time()
        return float(seconds) + float(microseconds) / 1_000_000

    def create(
        self,
        command: "Iterable[Word]",
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
        """Create a pending job; `keep` and `stuck_after` in seconds.

        Raises `JobExists`, `InvalidName` for an id, `InvalidJob` for a command or a length of time.
        """
        from gnjobs.records import lifecycle

        chosen = check_id(job_id, "job id") if job_id is not None else new_job_id()
        fields = {
            "jobid": chosen,
            "command": lifecycle.command_line(command),
            "percent": 0,
            "job-type": job_type,
            "user-id": None if user_id is None else check_id(user_id, "user id"),
            "label": label,
            "created": f"{self.now():.6f}",
            "cwd": cwd,
            "stuck-after": lifecycle.check_length(stuck_after, "stuck-after"),
            "keep": lifecycle.check_length(keep, "keep"),
            "parent-job": None if parent_job is None else check_id(parent_job, "job id"),
        }
        lifecycle.store_record(self.client, self.keys, chosen, fields, keep)
        return self._indexed(chosen)

    def adopt(self, job_id: str) -> Job:
        """Put an existing record, whoever made it, into the indexes, and make it expire late enough."""
        from gnjobs.records import lifecycle

        lifecycle.add_created(self.client, self.keys, job_id, self.now())
        job = self._indexed(job_id)
        if not job.is_final:
            lifecycle.renew(self.client, self.keys, job)
        return job

    def _indexed(self, job_id: str) -> Job:
        from gnjobs.records.lifecycle import index
        from gnjobs.supervisor.origins import remember_origin

        job = self.get(job_id)
        remember_origin(job_id, self.url, self.keys.prefix)
        index(self.client, self.keys, job)
        return job

    def get(self, job_id: str) -> Job:
        """Read a whole record; raises `NoSuchJob`. A key that is no hash is a job of which nothing is known."""
        job = fetch_job(self.client, self.keys, job_id)
        if job is None:
            raise NoSuchJob(f"there is no job {job_id}")
        return self._dated([job])[0]

    def many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read the list fields of many records in one pipeline; None where there is no record."""
        found = fetch_listed(self.client, self.keys, job_ids)
        known = {job.id: job for job in self._dated([job for job in found if job is not None])}
        return [known.get(job_id) for job_id in job_ids]

    def _dated(self, jobs: list[Job]) -> list[Job]:
        if self._lifetime is None:
            return jobs
        from gnjobs.records.expiry_dates import dated

        return dated(self.client, self.keys, jobs, self._lifetime)

    def page(
        self,
        *,
        user: str | None = None,
        unfinished: bool = False,
        before: Cursor | None = None,
        count: int = 50,
    ) -> Page:
        """Read jobs newest first: all, one user's, or the unfinished. Entries whose record is gone are skipped."""
        index = self.keys.jobs if user is None else self.keys.user_jobs(user)
        if unfinished and user is None:
            index = self.keys.unfinished

        def is_listed(job: Job) -> bool:
            return not (unfinished and job.is_final)

        return read_page(self.client, index, self.many, before=before, count=count, is_listed=is_listed)

    def unindexed(
        self, user: str | None = None, looked: Callable[[int], None] = lambda _: None
    ) -> Iterator[Job]:
        """Find the jobs that no index lists, as gn-uploader makes them, in no order, searching the whole server.

        `looked` is told now and then about how many keys were looked at.
        """
        for job_ids in unindexed_ids(self.client, self.keys, looked):
            found = self.many(job_ids) if job_ids else []
            yield from (job for job in found if job is not None and user in (None, job.user))

    def resolve(self, beginning: str) -> str:
        """Find the one id that begins so; raises `NoSuchJob`, `AmbiguousId`, `InvalidName`."""
        if is_id(beginning) and self.client.exists(self.keys.job(beginning)):
            return beginning
        check_id(beginning, "id")
        if len(beginning) < SHORTEST_BEGINNING:
            raise InvalidName(
                f"{beginning} is too short: give at least {SHORTEST_BEGINNING} characters of an id"
            )
        existing = self._existing_beginning(beginning)
        if not existing:
            raise NoSuchJob(f"no job's id begins with {beginning}")
        if len(existing) > 1:
            raise AmbiguousId(beginning, existing)
        return existing[0]

    def _existing_beginning(self, beginning: str) -> list[str]:
        existing: list[str] = []
        for job_id in ids_beginning(self.client, self.keys, beginning):
            if self.client.exists(self.keys.job(job_id)):
                existing.append(job_id)
            if len(existing) >= _MOST_CANDIDATES:
                break
        return sorted(existing)

    def children(self, job_id: str) -> Iterator[Child]:
        """Read a job's children in chunks, as they were recorded; one whose hash is gone has no status."""
        return fetch_children(self.client, self.keys, job_id)

    def all_children(self, job_id: str, finder: "PartFinder | None" = None) -> list[Child]:
        """Read all children of a job; of one that gn-uploader wrote, also what its workers left below its key.

        A `finder` that is passed again searches the server less often.
        """
        from gnjobs.records import uploader

        children = sorted(self.children(job_id), key=lambda child: child.id)
        if not children and uploader.is_foreign(job := self.get(job_id)):
            return list(uploader.read_children(self.client, self.keys, job, finder))
        return children

    def child(self, job_id: str, child_id: str) -> Child:
        """Read one child; raises `NoSuchChild`."""
        if not is_id(child_id):
            return self._foreign_child(job_id, child_id)
        found = self._read(self.client.hget, self.keys.job(job_id), f"{CHILD_FIELD}{child_id}")
        if found is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        output_key = values.text(found) or ""
        return next(fetch_child_hashes(self.client, self.keys, job_id, {child_id: output_key}))

    def _foreign_child(self, job_id: str, child_id: str) -> Child:
        from gnjobs.records import uploader

        part = uploader.part_of(child_id)
        if part is None:
            raise NoSuchChild(f"job {job_id} has no child {child_id}")
        return Child(id=child_id, output_key=self.keys.foreign(job_id, part))

    def output(self, job_id: str, child_id: str | None = None) -> "OutputReader":
        """Open an output of a job, or of one of its children if its key lies inside the job; raises `NoSuchChild`."""
        from gnjobs.outputs.reader import OutputReader
        from gnjobs.records.uploader import STDERR_CHILD

        record = self.keys.job(job_id)
        if child_id == STDERR_CHILD:
            return OutputReader(self.client, record, "stderr")
        if child_id is None:
            key = self.keys.output(job_id)
            is_field = not self.client.exists(key) and self._read(self.client.hexists, record, "stdout")
            return OutputReader(self.client, record, "stdout") if is_field else OutputReader(self.client, key)
        key = self.child(job_id, child_id).output_key or ""
        if not self.keys.owns(job_id, key):
            raise NoSuchChild(f"the output of child {child_id} lies outside its job, so it is not opened")
        return OutputReader(self.client, key)

    @staticmethod
    def _read(command: Callable[..., Any], *arguments: str) -> Any:
        """Run one read command; None where the key is of another type."""
        try:
            return command(*arguments)
        except redis.ResponseError as error:
            return readable(error)

    def processes(self, job_id: str) -> "ProcessSnapshot | None":
        """Read the job's processes as its supervisor last saw them."""
        from gnjobs.processes.find import read_snapshot

        return read_snapshot(self._read(self.client.get, self.keys.processes(job_id)))

    def users(self) -> "list[UserSummary]":
        """All users who have jobs, the one with the newest first, with counts over the newest 1000 jobs of each."""
        from gnjobs.records.user_counts import count_users

        return count_users(self.client, self.keys)

    def status(
        self, job_id: str, processor: "Processing | None" = None, limits: "Limits | None" = None
    ) -> "JobStatus":
        """Read a job with its children, health and the report of its type's (or the given) processor."""
        return self.view(job_id, processor, limits).status()

    def view(
        self,
        job_id: str,
        processor: "Processing | None" = None,
        limits: "Limits | None" = None,
        *,
        isolated: bool = False,
    ) -> "JobView":
        """A view that remembers: asked for its status again, it processes only new lines. See `JobView`."""
        from gnjobs.processing.view import JobView

        return JobView(self, job_id, processor, limits, isolated=isolated)

    def remove(self, job_id: str, actor: "Actor") -> None:
        """Remove a job that has ended, with everything below it; raises `NotFinished`, `NotAllowed`, `NoSuchJob`."""
        from gnjobs.records import events, removal

        job = self.get(job_id)
        try:
            actor.check("remove", job)
        except NotAllowed as refusal:
            events.record_refusal(self.client, self.keys, "removal", job, refusal, by=actor.name)
            raise
        if not job.is_final:
            raise NotFinished(
                f"job {job_id} is {job.status or 'unknown'}: only jobs that have ended are removed"
            )
        removal.remove_job(self.client, self.keys, job)
        events.record_event(self.client, self.keys, "removed", job, text="removed", by=actor.name)

    def rerun_line(self, job_id: str) -> str:
        """The shell line that runs the job again, for a person to run where it belongs; nothing runs it here."""
        from gnjobs.records.rerun import rerun_line

        return rerun_line(self.get(job_id), self.keys.prefix)

    def events(self, since: float | None = None) -> "Iterator[Event]":
        """Read what happened, oldest first, from a time on (unix seconds)."""
        from gnjobs.records import events

        return events.read_events(self.client, self.keys, since)

    def last_events(self, count: int) -> "list[Event]":
        """The newest events, oldest of them first."""
        from gnjobs.records import events

        return events.read_last_events(self.client, self.keys, count)

    def all_lines(self, job_id: str) -> "Iterator[tuple[str, Iterator[Line | Hole]]]":
        """Every output of a job, by the name of its part: the job's own, then the children's.

        Where one lies outside the job, `NoSuchChild` is raised behind all others: it must not hide them.
        """
        yield job_id, self.output(job_id).iterate()
        refused: NoSuchChild | None = None
        for child in self.all_children(job_id):
            try:
                reader = self.output(job_id, child.id)
            except NoSuchChild as error:
                refused = refused or error
            else:
                yield child.label or child.id, reader.iterate()
        if refused is not None:
            raise refused
