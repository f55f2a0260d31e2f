"""Making a job ours before anything of it is started."""

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from gnjobs.records import Job
from gnjobs.scripts import Value
from gnjobs.statuses import FINAL_STATUSES
from gnjobs.supervision.record_link import RecordLink
from gnjobs.supervision.wakeups import Wakeups

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
    """Claim the job, waiting for as long as Redis is away; raises `GivenUp` where it can't be ours."""
    pause = 0.05
    while True:
        try:
            return _claim_once(link, fields)
        except RedisError as problem:
            if isinstance(problem, AuthenticationError) or _is_lasting(problem):
                raise GivenUp(f"Redis refuses this supervisor: {problem}", NO_CONNECTION) from problem
            if wakeups.wait(pause):
                raise GivenUp("stopped before the job began", NOT_OURS) from None
            pause = min(pause * 2, _LONGEST_PAUSE)


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
