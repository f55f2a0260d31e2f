"""A job's supervisor under Slurm: submitting it, what Slurm lets it have, and why Slurm ends it."""

import hashlib
import os
import shlex
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from gnjobs.errors import LaunchError
from gnjobs.processes.slurm import NoAnswer, Placed, SlurmError, look_up, submit
from gnjobs.records import values
from gnjobs.records.ends import JobEnd, end_job
from gnjobs.records.environment import ENV_IN_SLURM, ENV_SLURM_RESTARTS
from gnjobs.records.fields import Job
from gnjobs.records.reading import Records
from gnjobs.records.scripts import Run, Value, set_fields
from gnjobs.records.statuses import ERROR, PENDING
from gnjobs.records.values import encode_text
from gnjobs.text import place_of

# What would make of one job several or none, or keep us waiting.
_REFUSED: Final = ("--array", "-a", "--wrap", "--wait", "-W", "--test-only", "--export-file")
_ELSEWHERE: Final = ("--clusters", "-M")
_INSTEAD: Final = "one job is one job of Slurm's; for many tasks use run_children(..., via='slurm')"
_WITHOUT_VALUE: Final = "HhIKkOQsuVvW"  # short options, behind which sbatch reads others in the same word
_KEPT: Final = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"})
_DEFAULTS: Final = ("--no-requeue", "--output=/dev/null")
SUBMITTING: Final = "being submitted"


class SlurmEnd(NamedTuple):
    """Why Slurm ends this run of the job, in words; `requeued`: it will start the job again."""

    why: str
    requeued: bool = False


def check_options(options: Sequence[str]) -> None:
    """Refuse what is not an option of `sbatch`, or one that a single job can't have; raises `LaunchError`."""
    for option in options:
        name = option.partition("=")[0]
        if not option.startswith("-") or option in ("-", "--"):
            raise LaunchError(f"{option!r:.80} is not an option of sbatch: write --name=value in one word")
        if _may_mean(name, _REFUSED):
            raise LaunchError(f"{option:.80} can't be used: {_INSTEAD}")
        if _may_mean(name, _ELSEWHERE):
            raise LaunchError(f"{option:.80} can't be used: a job is looked for in the default cluster alone")
        if not option.startswith("--") and option[1] in _WITHOUT_VALUE and len(option) > 2:
            raise LaunchError(f"{option:.80} is several options in one word: write each by itself")


def _may_mean(name: str, options: Sequence[str]) -> bool:
    """Whether sbatch may take this for one of these options: of long ones a beginning is enough."""
    return any(option.startswith(name if name.startswith("--") else name[:2]) for option in options)


def slurm_name(job_id: str) -> str:
    """The name that a job has in Slurm, by which it is found where its id was not recorded."""
    return f"gnjobs-{job_id}"


def slurm_mark(job_id: str, place: str, owner: str | None = None) -> str:
    """What a job's comment in Slurm says of where it belongs: a digest of its id, server, prefix and owner."""
    whole = "\0".join([job_id, place, *([] if owner is None else [owner])])
    return f"gnjobs:{hashlib.sha256(whole.encode()).hexdigest()[:32]}"


def submit_supervisor(
    records: Records, job: Job, command: Sequence[str], environment: Mapping[str, str], options: Sequence[str]
) -> str:
    """Submit the job's supervisor and record its id in Slurm, which is returned; raises `LaunchError`.

    One that Slurm refuses ends as failed. No value of a variable is in an argument, and nothing secret in the script.
    """
    check_options(options)
    ours = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("SLURM_", "SBATCH_")) or name in _KEPT
    }
    place = place_of(records.url, records.keys.prefix)
    marks = [slurm_mark(job.id, place), slurm_mark(job.id, place, job.user)]
    asked = [option.partition("=")[2] for option in options if option.startswith("--comment=")]
    comment = " ".join([*marks, *asked[-1:]])
    words = [*_DEFAULTS, *options, "--export=ALL", f"--job-name={slurm_name(job.id)}", f"--comment={comment}"]
    try:
        slurm_job = submit(f"#!/bin/sh\nexec {shlex.join(command)}\n", words, {**ours, ENV_IN_SLURM: "1"})
    except NoAnswer as problem:  # it may have been taken: whoever reads the queue finds it by its name
        raise LaunchError(str(problem)) from problem
    except SlurmError as problem:
        _refuse(records, job, str(problem))
        raise LaunchError(str(problem)) from problem
    placed = _placed(slurm_job)
    reason = encode_text(placed.reason) if placed is not None else b""
    note_queue(records, {records.run_of(job): {"slurm-job": slurm_job, "queue-reason": reason}})
    return slurm_job


def _refuse(records: Records, job: Job, why: str) -> None:
    try:
        fields: dict[str, Value] = {"finished": f"{records.now():.3f}", "error": encode_text(why)}
        end_job(
            records, job, JobEnd(ERROR, fields, f"failed: {why}"), allowed={PENDING}, token=uuid.uuid4().hex
        )
    except RedisError:
        return  # whoever launched it is told all the same


def _placed(slurm_job: str) -> Placed | None:
    """What Slurm says of a job; None where it says nothing."""
    try:
        return look_up([slurm_job]).get(slurm_job)
    except SlurmError:
        return None


def note_queue(records: Records, said: Mapping[Run, Mapping[str, Value]]) -> None:
    """Write what was read of Slurm's queue into the records of waiting jobs, unless Redis is away."""
    try:
        now = round(records.now())
        pipe = records.client.pipeline(transaction=False)
        for run, fields in said.items():
            set_fields(pipe, run.record, {**fields, "queue-read": now}, run)
        pipe.execute(raise_on_error=False)
    except RedisError:
        return


def limits_of(slurm_job: str) -> dict[str, Value]:
    """The fields that say what Slurm lets this job have; empty where Slurm does not say."""
    placed = _placed(slurm_job)
    found = {} if placed is None else {"time-limit": placed.limit, "memory-limit": placed.memory}
    return {name: value for name, value in found.items() if value is not None}


def why_ended(slurm_job: str) -> SlurmEnd | None:
    """Why Slurm is ending the job that this process is; None where it is not, or gives no answer."""
    placed = _placed(slurm_job)
    return None if placed is None else _why(placed)


def _why(placed: Placed) -> SlurmEnd | None:
    if placed.restarts > (values.integer(os.environ.get(ENV_SLURM_RESTARTS)) or 0) or placed.waits:
        return SlurmEnd(placed.how_it_ends or "asked for in Slurm", requeued=True)
    if words := placed.how_it_ends:
        return SlurmEnd(words)
    # It is being ended, and Slurm names no reason of its own: somebody asked for it.
    return SlurmEnd("cancelled in Slurm") if placed.state in ("COMPLETING", "CANCELLED") else None
