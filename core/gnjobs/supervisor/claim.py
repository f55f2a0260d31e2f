"""Claiming the job that the environment names, and supervising it."""

import os
import signal
import time
import uuid

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from gnjobs.health.assess import BEAT_SECONDS, BeatClock, beat_overdue_after
from gnjobs.processes.host import boot_id, host_name, own_account, pid_namespace
from gnjobs.processes.proc import process_start
from gnjobs.records import values
from gnjobs.records.backoff import Backoff
from gnjobs.records.ends import JobEnd, StopRequest, end_job, requeue_job
from gnjobs.records.environment import ENV_JOB, ENV_SLURM_RESTARTS, digest_of_mark
from gnjobs.records.fields import Job
from gnjobs.records.keys import Keys
from gnjobs.records.scripts import Value
from gnjobs.records.statuses import ERROR, FINAL_STATUSES, KILLED, PENDING, RUNNING, STOPPING
from gnjobs.supervisor.loop import Supervision
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.setup import (
    STOP_SIGNALS,
    ReportPipe,
    Settings,
    digest_of,
    hear_stop_signals,
    read_settings,
)
from gnjobs.supervisor.wakeups import Wakeups
from gnjobs.text import complain

_ROUNDED_SECONDS = 0.1  # by so much more is heard than what was asked since the claim
_LOOK_SECONDS = 1.0
_WRONG_USE = 2
NO_SUCH_JOB = 3
NO_CONNECTION = 5
NOT_OURS = 1


class GivenUp(Exception):
    """There is nothing to supervise here: one line that says why, and an exit code."""

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code


def claim(link: RecordLink, wakeups: Wakeups, fields: dict[str, Value], asked: str = "") -> Job:
    """Claim the job, waiting for as long as Redis is away; raises `GivenUp` where it can't be ours.

    One whose digest is not the one that the launcher `asked` for is closed as failed: somebody has changed it.

    A signal to stop that comes before ends the job as killed; a second one leaves it as it is.
    """
    backoff, pause = Backoff(), 0.0
    earlier = EarlierRun(fields.get("slurm-job"))
    told: list[signal.Signals] = []
    token = uuid.uuid4().hex
    while True:
        told += [event for event in wakeups.wait(pause) if event != signal.SIGCHLD]
        if len(told) > 1:
            raise GivenUp("stopped before the job began, and before that was reported", NOT_OURS)
        try:
            if told and not link.statement.steps:
                _kill_unclaimed(link, told[0], token)
            if earlier.is_waited_for(link):
                pause = _LOOK_SECONDS
                continue
            # Once tried, it may have been made though its reply was lost.
            job = _claim_once(link, fields, asked, token)
            for number in told:
                wakeups.post(number)
            return job
        except RedisError as problem:
            if isinstance(problem, AuthenticationError) or _is_lasting(problem):
                raise GivenUp(f"Redis refuses this supervisor: {problem}", NO_CONNECTION) from problem
            pause = backoff.failed()


class EarlierRun:
    """The run of a job that Slurm has started again, whose supervisor may not have been able to end it.

    While that beats, it has the job; when its beats are overdue, the job is let wait again, for us to claim it.
    """

    def __init__(self, slurm_job: Value | None) -> None:
        self._slurm_job = slurm_job
        self._is_again = slurm_job is not None and bool(values.integer(os.environ.get(ENV_SLURM_RESTARTS)))
        self._beats = BeatClock(time.monotonic)
        self._beat: float | None = None

    def is_waited_for(self, link: RecordLink) -> bool:
        """Whether to look again later."""
        job = link.read() if self._is_again and not link.statement.steps else None
        if job is None or job.slurm_job != self._slurm_job or job.status not in (RUNNING, STOPPING):
            return False
        self._beat = self._beat or job.heartbeat
        age = self._beats.age(job, link.now())
        if job.heartbeat != self._beat:
            return False  # it lives: the claim is refused, and says whose the job is
        if age is not None and age <= beat_overdue_after(job):
            return True
        requeue_job(link.records, job, "its node failed")
        return False


def _is_lasting(problem: RedisError) -> bool:
    """Whether an answer would be the same later: no permission, another type; not: read only, out of memory."""
    return isinstance(problem, ResponseError) and str(problem).startswith(("NOPERM", "WRONGTYPE", "ERR"))


def _claim_once(link: RecordLink, fields: dict[str, Value], asked: str, token: str) -> Job:
    job = link.read()
    if job is None:
        raise GivenUp(f"there is no job {link.job_id}", NO_SUCH_JOB)
    if asked and digest_of(job) != asked:
        raise _failed(
            link, job, "its record was changed after it was launched, so it was not started", PENDING, token
        )
    fields["started"] = fields["heartbeat"] = round(link.now(), 3)
    outcome, status = link.claim(fields)
    if outcome == "done":
        return job
    if status in FINAL_STATUSES:
        raise GivenUp(f"job {link.job_id} has ended already: {status}", NOT_OURS)
    by = f" by pid {job.supervisor_pid} on {job.host}" if job.supervisor_pid and job.host else ""
    raise GivenUp(f"job {link.job_id} is supervised already{by}: {status or 'gone'}", NOT_OURS)


def _failed(link: RecordLink, job: Job, error: str, status: str, token: str) -> GivenUp:
    """Close a job of this status whose command was not started; returns what there is to say."""
    end = JobEnd(ERROR, {"finished": round(link.now(), 3), "error": error}, f"failed: {error}")
    end_job(link.records, job, end, allowed={status}, token=token, is_own=True)
    return GivenUp(f"job {link.job_id}: {error}", NOT_OURS)


def _kill_unclaimed(link: RecordLink, number: signal.Signals, token: str) -> None:
    """End a job that nobody has claimed, ourselves included: what was not started is surely gone."""
    job = link.read()
    stop = StopRequest(own_account(), f"its supervisor got {number.name}", round(link.now(), 3))
    fields = {**stop.job_fields, "finished": stop.at}
    status = ""
    if job is not None:
        end = JobEnd(KILLED, fields, "killed; it had not been started", stop.by, stop.reason)
        _, status = end_job(link.records, job, end, allowed={PENDING}, token=token, is_own=True)
    raise GivenUp(f"stopped before the job began; its status is {status or 'gone'}", 128 + number)


def supervise_from_environment(reports: ReportPipe) -> int:
    """Supervise the job that the environment names; returns an exit code, after one line where it gave up."""
    wakeups = Wakeups()
    wakeups.hear_signals((signal.SIGCHLD, *STOP_SIGNALS))
    hear_stop_signals()
    try:
        settings, link = _open()
        fields = {**identity(), "mark": digest_of_mark(settings.mark)}
        fields |= {"slurm-job": settings.slurm_job} if settings.slurm_job else {}
        job = claim(link, wakeups, fields, settings.asked)
        since = float(fields["started"]) - _ROUNDED_SECONDS
        supervision = _begin(link, job, settings, wakeups, reports, since)
    except GivenUp as given_up:
        complain(str(given_up))
        reports.ended(given_up.exit_code)
        return given_up.exit_code
    return supervision.run()


def _begin(
    link: RecordLink, job: Job, settings: Settings, wakeups: Wakeups, reports: ReportPipe, since: float
) -> Supervision:
    try:
        supervision = Supervision(link, job, settings, wakeups, reports, since)
        supervision.begin()
    except (OSError, RuntimeError) as problem:  # no room for a descriptor or a thread
        error = f"its supervisor could not begin: {problem}"
        raise _failed(link, job, error, RUNNING, uuid.uuid4().hex) from problem
    return supervision


def _open() -> tuple[Settings, RecordLink]:
    try:
        settings = read_settings(os.environ)
        return settings, RecordLink(settings.url, Keys(settings.prefix), settings.job_id, settings.created)
    except KeyError:
        raise GivenUp(f"set {ENV_JOB} to the id of the job to run", _WRONG_USE) from None
    except ValueError as problem:  # a URL or a name that can't be used
        raise GivenUp(str(problem), _WRONG_USE) from None


def identity() -> dict[str, Value]:
    """The fields of a record that say who supervises the job, so that no reused pid is mistaken for it."""
    known: dict[str, Value | None] = {
        "host": host_name(),
        "account": own_account(),
        "supervisor-pid": os.getpid(),
        "supervisor-started": process_start(os.getpid()),
        "boot-id": boot_id(),
        "pid-namespace": pid_namespace(),
        "heartbeat-every": BEAT_SECONDS,
    }
    return {name: value for name, value in known.items() if value is not None}
