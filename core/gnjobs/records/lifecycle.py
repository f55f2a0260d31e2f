"""Making jobs: the record first, then the indexes, so that a cut in the middle leaves something that is understood."""

import math
import os
import shlex
import uuid
from collections.abc import Iterable, Mapping

import redis

from gnjobs.errors import InvalidJob, InvalidName, JobExists
from gnjobs.outputs.lines import encode_text
from gnjobs.records.connection import is_wrong_type
from gnjobs.records.fields import Job
from gnjobs.records.indexes import add_to_indexes
from gnjobs.records.keys import Keys
from gnjobs.records.lifetimes import MONTH
from gnjobs.records.scripts import Value, add_fields, create_record
from gnjobs.records.statuses import PENDING
from gnjobs.records.tidying import tidy
from gnjobs.text import LONGEST

Word = str | bytes | os.PathLike[str]


def command_line(command: Iterable[Word]) -> str:
    """Quote a command's words for a shell, as records hold them; raises `InvalidJob`."""
    words = [] if isinstance(command, str | bytes) else [os.fsdecode(word) for word in command]
    if not words or not words[0]:
        raise InvalidJob("a command is a list of words, the first the program")
    if any("\0" in word for word in words):
        raise InvalidJob("no word of a command can hold a NUL character")
    return shlex.join(words)


def check_length(seconds: float | None, what: str) -> float | None:
    """Return a length of time unchanged; raises `InvalidJob` for one that is none, or over a hundred years."""
    if seconds is not None and not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
        raise InvalidJob(f"{what} must be more than 0 seconds and at most 100 years, not {seconds!r}")
    return seconds


def store_record(
    client: redis.Redis, keys: Keys, job_id: str, fields: Mapping[str, object], keep: float | None
) -> None:
    """Store a new pending record, which expires; raises `JobExists`."""
    stored: dict[str, Value] = {
        name: encode_text(str(value)) for name, value in fields.items() if value is not None
    }
    token = uuid.uuid4().hex
    if not create_record(client, keys.job(job_id), token, _lifetime(keep), stored | {"status": PENDING}):
        raise JobExists(f"there is already a job {job_id}")


def add_created(client: redis.Redis, keys: Keys, job_id: str, now: float) -> None:
    """Date a record that somebody else made, once, unless it is gone or no record at all."""
    try:
        add_fields(client, keys.job(job_id), {"created": f"{now:.6f}"})
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
        raise InvalidName(f"the key of {job_id} holds something else than a job") from error


def index(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Put a job into the indexes, and remove some of what is gone from them."""
    pipe = client.pipeline(transaction=False)
    add_to_indexes(pipe, keys, job)
    pipe.execute()
    tidy(client, keys, job.user)


def renew(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Let an unfinished job's record live for as long as one must."""
    client.expire(keys.job(job.id), _lifetime(job.keep))


def _lifetime(keep: float | None) -> int:
    return math.ceil(min(max(keep or 0.0, MONTH), LONGEST))
