"""The store of jobs: creating, listing, reading and removing them, over one Redis and one prefix."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from gnjobs.errors import InvalidName, NoSuchChild, NotAllowed, NotFinished
from gnjobs.records import events, lifecycle
from gnjobs.records.events import Events
from gnjobs.records.fields import Job
from gnjobs.records.keys import check_id, check_user, new_job_id
from gnjobs.records.layouts import OWN_KEY, Layout
from gnjobs.records.lifecycle import Word
from gnjobs.records.reading import Records

if TYPE_CHECKING:
    from gnjobs.health.verdict import Limits
    from gnjobs.outputs.lines import Hole, Line
    from gnjobs.outputs.reader import OutputReader
    from gnjobs.processes.seen import ProcessSnapshot
    from gnjobs.processing.processor import Processing
    from gnjobs.processing.view import JobStatus, JobView
    from gnjobs.records.actor import Actor
    from gnjobs.supervisor.launch import Via


class JobStore(Records):
    """All jobs under one prefix: everything that `Records` reads, and creating, processing and removing them."""

    def create(
        self,
        command: Iterable[Word],
        *,
        job_type: str = "generic",
        user_id: str | None = None,
        label: str | None = None,
        job_id: str | None = None,
        keep: float | None = None,
        stuck_after: float | None = None,
        cwd: str | None = None,
        parent_job: str | None = None,
        fields: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Job:
        """Create a pending job; `keep` and `stuck_after` in seconds.

        `fields` are kept in the record beside gnjobs' own. `env` adds to the environment of the command; it stands in
        the record, so it is no place for secrets. Raises `JobExists`, `InvalidName` for an id or a prefix under which
        another program's jobs stand, `InvalidJob` for a command, a length of time, a field or a variable.
        """
        if self.keys.layout.key != OWN_KEY:
            raise InvalidName(
                f"jobs under {self.keys.prefix} are laid out by another program; choose another prefix"
            )
        chosen = check_id(job_id, "job id") if job_id is not None else new_job_id()
        stored_fields: dict[str, object] = {
            **lifecycle.check_fields(fields or {}),
            "jobid": chosen,
            "command": lifecycle.command_line(command),
            "percent": 0,
            "job-type": job_type,
            "user-id": None if user_id is None else check_user(user_id),
            "label": label,
            "created": f"{self.now():.6f}",
            "cwd": cwd,
            "env": lifecycle.environment_text(env),
            "stuck-after": lifecycle.check_length(stuck_after, "stuck-after"),
            "keep": lifecycle.check_length(keep, "keep"),
            "parent-job": None if parent_job is None else check_id(parent_job, "job id"),
        }
        stored = lifecycle.store_record(self.client, self.keys, chosen, stored_fields, keep)
        return self._indexed(stored)  # not as it reads by now: what is launched is what was asked for

    def adopt(self, job_id: str) -> Job:
        """Put an existing record, whoever made it, into the indexes, and make it expire late enough."""
        lifecycle.add_created(self.client, self.keys, job_id, self.get(job_id).created or self.now())
        job = self._indexed(self.get(job_id))
        if not job.is_final:
            lifecycle.renew(self.client, self.keys, job)
        return job

    def _indexed(self, job: Job) -> Job:
        from gnjobs.supervisor.launch import remember_origin

        remember_origin(job, self.url, self.keys.prefix)
        lifecycle.index(self.client, self.keys, job)
        return job

    def output(self, job_id: str, child_id: str | None = None, *, whole: bool = False) -> "OutputReader":
        """Open an output of a job, or of one of its children if its key lies inside the job; raises `NoSuchChild`.

        Lines of over 1 MiB in a text that another program stored are cut unless they are to be `whole`.
        """
        from gnjobs.outputs.reader import open_output

        return open_output(self, job_id, child_id, whole=whole)

    def processes(self, job_id: str) -> "ProcessSnapshot | None":
        """Read the job's processes as its supervisor last saw them."""
        from gnjobs.processes.stored import read_processes

        return read_processes(self.client, self.keys, job_id)

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

    def remove(self, job_id: str, actor: "Actor", *, created: float | None = None) -> None:
        """Remove a job that has ended, with everything below it; `created` as for `get`.

        Raises `NotFinished`, `NotAllowed`, `NoSuchJob`.
        """
        job = self.get(job_id, created)
        try:
            actor.check("remove", job)
        except NotAllowed as refusal:
            events.record_refusal(self.client, self.keys, "removal", job, refusal, by=actor.name)
            raise
        if not job.is_final:
            raise NotFinished(
                f"job {job_id} is {job.status or 'unknown'}: only jobs that have ended are removed"
            )
        lifecycle.remove_job(self.client, self.keys, job)
        events.record_event(self.client, self.keys, "removed", job, text="removed", by=actor.name)

    def rerun_line(self, job_id: str) -> str:
        """The shell line that runs the job again, for a person to run where it belongs; nothing runs it here."""
        return lifecycle.rerun_line(self.get(job_id), self.keys.prefix)

    @property
    def events(self) -> Events:
        """What happened: `events(since)` reads it, oldest first, from a time on; `events.follow()` as it happens."""
        return Events(self.client, self.keys, self.url)

    def all_lines(self, job_id: str) -> "Iterator[tuple[str | None, Iterator[Line | Hole]]]":
        """Every output of a job, by the name of its part: the job's own, which has none, then the children's.

        Where one lies outside the job, `NoSuchChild` is raised behind all others: it must not hide them.
        """
        yield None, self.output(job_id).iterate()
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


_JOBS = ":jobs"


def launch_stored_job(
    redis_url: str,
    prefix: str,
    job_id: str | UUID,
    via: "Via" = "detach",
    *,
    writer_url: str | None = None,
    layout: Layout | None = None,
) -> Job:
    """Run a waiting job that another program stored, in place of that program's own worker.

    Supervisor and job are given `writer_url`, without it the application's own; from an agent they get the `url` of its
    `agent-starts`. The record that is there gets its indexes, and the supervisor runs its command. Those who read it go
    on finding the words and fields that the prefix's description names; before the end is told, the fields for its
    output hold the last 32 MiB of each stream. Raises `NoSuchJob`, `InvalidName`, and `LaunchError` where it does not
    begin.
    """
    from gnjobs.supervisor.launch import launch

    store = JobStore.from_url(redis_url, prefix, layout=layout)
    lifecycle.take_over(store.client, store.keys, store.get(str(job_id)))
    job = store.adopt(str(job_id))
    given = None if via == "agent" else writer_url  # a writer may not ask one
    launch(job, via, JobStore.from_url(given or redis_url, prefix, layout=layout))
    return job


def launch_uploader_job(
    redis_url: str,
    jobs_prefix: str,
    job_id: str | UUID,
    via: "Via" = "detach",
    *,
    writer_url: str | None = None,
) -> Job:
    """Run a job that gn-uploader stored, in place of `python -m scripts.worker <redis-url> <prefix> <job-id>`.

    As `launch_stored_job`; the prefix is the whole one of its jobs, such as `gn-uploader:jobs`.
    """
    if not jobs_prefix.endswith(_JOBS):
        raise InvalidName(f"{jobs_prefix!r:.160} is not the prefix of jobs: it ends in {_JOBS}")
    return launch_stored_job(redis_url, jobs_prefix.removesuffix(_JOBS), job_id, via, writer_url=writer_url)
