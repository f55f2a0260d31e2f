"""The first step from gn-uploader's code of today: its jobs under a supervisor, with nothing else changed."""

from gnjobs.errors import InvalidName
from gnjobs.records.fields import MIRROR_FIELD, Job
from gnjobs.store import JobStore
from gnjobs.supervisor.launch import Via, launch

_JOBS = ":jobs"


def launch_uploader_job(redis_url: str, jobs_prefix: str, job_id: str, via: Via = "detach") -> Job:
    """Run a job that gn-uploader stored, in place of `python -m scripts.worker <redis-url> <prefix> <job-id>`.

    The record that is there gets its indexes, and the supervisor runs its `command`; `status` and `percent` stay
    where they were, and at the end `stdout` and `stderr` hold the last of the output for those who read them there.
    Raises `NoSuchJob`, `InvalidName`, `LaunchError`.
    """
    if not jobs_prefix.endswith(_JOBS):
        raise InvalidName(f"{jobs_prefix!r:.160} is not the prefix of jobs: it ends in {_JOBS}")
    store = JobStore.from_url(redis_url, jobs_prefix.removesuffix(_JOBS))
    job = store.adopt(job_id)
    store.client.hset(store.keys.job(job_id), MIRROR_FIELD, 1)
    launch(job, via, store)
    return job
