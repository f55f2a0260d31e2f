"""Making a job ours before anything of it is started."""

import signal
import uuid

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from gnjobs.processes.host import login_name
from gnjobs.records.events import record_event
from gnjobs.records.fields import Job
from gnjobs.records.scripts import Value, transition
from gnjobs.records.statuses import FINAL_STATUSES, KILLED, PENDING
from gnjobs.supervisor.outcome import StopRequest
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.wakeups import Wakeups

NO_SUCH_JOB = 3
NO_CONNECTION = 5
NOT_OURS = 1
_LONGEST_PAUSE = 2.0


class GivenUp(Exception):
    """There is nothing to supervise here: one line that says why, and an exit code."""

    def __init__(self, line: str, exit_code: int) -> None:
        super().__init__(line)
        self.exit_code = exit_code


def claim(link: RecordLink, wakeups: Wakeups, fields: dict[str, Value]) -> Job:
    """Claim the job, waiting for as long as Redis is away; raises `GivenUp` where it can't be ours.

    A signal to stop that comes before ends the job as killed; a second one leaves it as it is.
    """
    pause = 0.0
    told: list[signal.Signals] = []
    token = uuid.uuid4().hex
    while True:
        told += [event for event in wakeups.wait(pause) if event != signal.SIGCHLD]
        if len(told) > 1:
            raise GivenUp("stopped before the job began, and before that was reported", NOT_OURS)
        try:
            if told and not link.steps:
                _kill_unclaimed(link, told[0], token)
            job = _claim_once(link, fields)  # once tried, it may have been made though its reply was lost
            for number in told:
                wakeups.post(number)
            return job
        except RedisError as problem:
            if isinstance(problem, AuthenticationError) or _is_lasting(problem):
                raise GivenUp(f"Redis refuses this supervisor: {problem}", NO_CONNECTION) from problem
            pause = min(pause * 2 or 0.05, _LONGEST_PAUSE)


def _is_lasting(problem: RedisError) -> bool:
    """Whether an answer would be the same later: no permission, another type; not: read only, out of memory."""
    return isinstance(problem, ResponseError) and str(problem).startswith(("NOPERM", "WRONGTYPE", "ERR"))


def _claim_once(link: RecordLink, fields: dict[str, Value]) -> Job:
    job = link.read()
    if job is None:
        raise GivenUp(f"there is no job {link.job_id}", NO_SUCH_JOB)
    fields["started"] = fields["heartbeat"] = round(link.now(), 3)
    outcome, status = link.claim(fields)
    if outcome == "done":
        return job
    if status in FINAL_STATUSES:
        raise GivenUp(f"job {link.job_id} has ended already: {status}", NOT_OURS)
    by = f" by pid {job.supervisor_pid} on {job.host}" if job.supervisor_pid and job.host else ""
    raise GivenUp(f"job {link.job_id} is supervised already{by}: {status or 'gone'}", NOT_OURS)


def _kill_unclaimed(link: RecordLink, number: signal.Signals, token: str) -> None:
    """End a job that nobody has claimed, ourselves included: what was not started is surely gone."""
    job = link.read()
    stop = StopRequest(login_name(), f"its supervisor got {number.name}", round(link.now(), 3))
    fields = {**stop.fields, "stop-requested": stop.at, "finished": stop.at}
    outcome, status = transition(link.client, link.key, {PENDING}, KILLED, token, fields)
    if outcome == "done":
        link.client.zrem(link.keys.unfinished, link.job_id)
        text = "killed: it had not been started"
        if job is not None:
            record_event(link.client, link.keys, "killed", job, text=text, by=stop.by, reason=stop.reason)
    raise GivenUp(f"stopped before the job began; its status is {status or 'gone'}", 128 + number)
