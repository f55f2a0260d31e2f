"""Creating, keeping, removing and re-running jobs.

The record is written first and the indexes after it, so that a half-finished write is understood and can be repeated.
"""

import math
import os
import re
import shlex
import uuid
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

import msgspec
import redis

from gnjobs.errors import GnjobsError, InvalidJob, InvalidName, JobExists, LaunchError
from gnjobs.records import values
from gnjobs.records.connection import is_wrong_type, replies_of
from gnjobs.records.fields import JOB_FIELDS, TOKEN_FIELD, Job, read_job
from gnjobs.records.indexes import add_to_indexes, remove_from_indexes, scan_steps, tidy
from gnjobs.records.keys import (
    CHILD_FIELD,
    DEFAULT_PREFIX,
    MIRROR_FIELD,
    MONTH,
    OWN_STATUS,
    WEEK,
    WORDS_FIELD,
    Keys,
    is_user,
)
from gnjobs.records.layouts import Stream, layout_of
from gnjobs.records.reading import output_keys
from gnjobs.records.scripts import Run, add_fields, create_record, transition, unlink
from gnjobs.records.statuses import PENDING
from gnjobs.records.values import encode_text
from gnjobs.text import LONGEST, safe_text

_AT_ONCE: Final = 500  # keys


def kept_for(keep: float | None) -> int:
    """How long a job is kept after its end (seconds, rounded up)."""
    return math.ceil(min(keep, LONGEST)) if keep else WEEK


def lifetime(keep: float | None) -> int:
    """How long the keys of an unfinished job live (seconds, rounded up)."""
    return math.ceil(min(max(keep or 0.0, MONTH), LONGEST))


def expire_ended(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Let every key of a job that has ended live as long as it is kept, for one whose supervisor can't do it."""
    for chunk in output_keys(client, keys, job.id):
        expire_keys(client, keys, job.id, chunk, kept_for(job.keep))
    expire_keys(client, keys, job.id, {}, kept_for(job.keep))


def expire_keys(
    client: redis.Redis, keys: Keys, job_id: str, child_keys: Mapping[str, str], seconds: int
) -> None:
    """Let a job's own keys and those of these children (id → output key) live for so many seconds."""
    names = [keys.job(job_id), keys.output(job_id), keys.answers(job_id), keys.processes(job_id)]
    for child_id, output_key in child_keys.items():
        names.append(keys.child(job_id, child_id))
        if keys.owns(job_id, output_key):
            names.append(output_key)
    for start in range(0, len(names), _AT_ONCE):
        pipe = client.pipeline(transaction=False)
        for name in names[start : start + _AT_ONCE]:
            pipe.expire(encode_text(name), seconds)
        pipe.execute()


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
    """Return a length of time unchanged; raises `InvalidJob` unless it is above 0 and at most a hundred years."""
    if seconds is not None and not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
        raise InvalidJob(f"{what} must be more than 0 seconds and at most 100 years, not {seconds!r}")
    return seconds


_VARIABLE = re.compile(r"(?!GNJOBS_)[A-Za-z_][A-Za-z0-9_]*")
_TAKEN = frozenset({*JOB_FIELDS, "jobid", TOKEN_FIELD, MIRROR_FIELD, WORDS_FIELD, OWN_STATUS})


def check_fields(fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return fields of somebody's own unchanged; raises `InvalidJob` for a name that means something to gnjobs."""
    for name, value in fields.items():
        if name in _TAKEN or name.startswith(CHILD_FIELD) or not name or not isinstance(value, str):
            raise InvalidJob(
                f"a field of your own is text under a name that gnjobs does not use, not {name!r:.80}"
            )
    return fields


def environment_text(env: Mapping[str, str] | None) -> str | None:
    """Variables as a record holds them (JSON); raises `InvalidJob` for one that no process could have."""
    for name, value in (env or {}).items():
        if not _VARIABLE.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            raise InvalidJob(f"{name!r:.80} can't be a variable of a job")
    return msgspec.json.encode(env).decode() if env else None


def store_record(
    client: redis.Redis, keys: Keys, job_id: str, fields: dict[str, object], keep: float | None
) -> Job:
    """Store a new pending record, which expires, and return it; raises `JobExists`."""
    given = fields | {"status": PENDING}
    stored = {name: encode_text(str(value)) for name, value in given.items() if value is not None}
    token = uuid.uuid4().hex
    if not create_record(client, keys.job(job_id), token, lifetime(keep), stored):
        raise JobExists(f"there is already a job {job_id}")
    return read_job(job_id, {name.encode(): value for name, value in stored.items()})


def add_created(client: redis.Redis, keys: Keys, job_id: str, created: float) -> None:
    """Date a record that somebody else made, once, unless it is gone or is not a record."""
    try:
        add_fields(client, keys.job(job_id), {"created": f"{created:.6f}"})
    except redis.ResponseError as error:
        if not is_wrong_type(error):
            raise
        raise InvalidName(f"the key of {job_id} holds something other than a job") from error


def take_over(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Prepare another program's waiting record for a supervisor, so that its own readers go on understanding it.

    It gets our names for what stands under others, and a note of the words and fields that its readers know. Raises
    `LaunchError` where it does not wait, or its readers could no longer read it.
    """
    layout, key = keys.layout, keys.job(job.id)
    if layout.json:
        raise LaunchError(
            f"job {job.id} can't be run where it is: its readers expect JSON in every field; create a job instead"
        )
    if layout.key != layout_of(keys.prefix).key:
        raise LaunchError(f"job {job.id} can't be run where it is: no supervisor knows of {layout.key}")
    if job.status != PENDING:
        raise LaunchError(
            f"job {job.id} is {job.status or 'unknown'}: only one that waits to be started can be launched"
        )
    ours = {name: getattr(job, JOB_FIELDS[name].attribute) for name in layout.fields}
    fields = {name: encode_text(text) for name, text in ours.items() if isinstance(text, str)}
    outputs: tuple[Stream, ...] = ("stdout", "stderr")
    fields[MIRROR_FIELD] = " ".join(map(layout.output_field, outputs)).encode()
    if layout.writes:
        fields[WORDS_FIELD] = msgspec.json.encode(layout.writes)
    add_fields(client, key, fields)
    word = job.raw.get("status", PENDING)
    outcome, status = transition(client, key, {word, PENDING}, PENDING, uuid.uuid4().hex)
    if outcome != "done":
        raise LaunchError(f"job {job.id} is {status or 'gone'} by now: it was not launched")


def index(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Put a job into the indexes, and remove some of what is gone from them."""
    pipe = client.pipeline(transaction=False)
    add_to_indexes(pipe, keys, job)
    replies_of(pipe)
    tidy(client, keys, job.user)


def renew(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Let an unfinished job's record live for as long as one must."""
    client.expire(keys.job(job.id), lifetime(job.keep))


def remove_job(client: redis.Redis, keys: Keys, job: Job) -> None:
    """Remove every key of a job, in an order that leaves it listed, and this to be done again, until the last.

    Once another job has its id, which somebody else may have removed and used again, it is left alone.
    What the record does not name, as gn-uploader's children, is looked for among the first `MOST_KEYS_SCANNED` keys.
    """
    run = Run(keys.job(job.id), job.run)
    _unlink(client, run, [keys.output(job.id)])
    for chunk in output_keys(client, keys, job.id):
        standard = [keys.child_output(job.id, child_id) for child_id in chunk]
        named = [key for key in chunk.values() if keys.owns(job.id, key)]
        _unlink(client, run, {*standard, *named})
    hashes = [
        keys.child(job.id, child_id) for chunk in output_keys(client, keys, job.id) for child_id in chunk
    ]
    _unlink(client, run, hashes)
    for names in scan_steps(client, keys.scan_pattern(job.id)):
        inside = [values.text(name) or "" for name in names]
        _unlink(client, run, [name for name in inside if keys.owns(job.id, name)])
    _unlink(client, run, [keys.control(job.id), keys.answers(job.id), keys.processes(job.id)])
    if not _unlink(client, run, [run.record]):
        return
    _unlink(client, run, hashes)  # again: a child that has just ended may have restored its hash
    pipe = client.pipeline(transaction=False)
    remove_from_indexes(pipe, keys, job)
    replies_of(pipe)


def _unlink(client: redis.Redis, run: Run, names: Iterable[str]) -> bool:
    """Remove keys of a job; returns False where another has its id by now."""
    left, is_ours = iter(names), True
    while some := list(islice(left, _AT_ONCE)):
        is_ours = unlink(client, run, list(map(encode_text, some)))
    return is_ours


_ODD = re.compile(r"[^\x20-\x7e]")


def shell_word(text: str) -> str:
    r"""Quote one word; one with characters that a terminal could act on is written with escapes, `$'\x1b'`."""
    if safe_text(text) == text and "\n" not in text and "\t" not in text:
        return shlex.quote(text)
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _ODD.sub(lambda found: _escaped(found.group()), quoted) + "'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in encode_text(character))


def rerun_line(job: Job, prefix: str = DEFAULT_PREFIX) -> str:
    """Say how to run the job again with the same type, user, label and limits, in its directory.

    A user id that `gnjobs run` would refuse is left out. Raises `GnjobsError` where the record holds no command.
    """
    command = values.command_words(job.command)
    if not command:
        raise GnjobsError(f"the record of job {job.id} holds no command")
    if variables := values.json(job.env, dict[str, str]):
        command = ["env", *(f"{name}={value}" for name, value in variables.items()), *command]
    options = {
        "--prefix": None if prefix == DEFAULT_PREFIX else prefix,
        "--type": job.type,
        "--user": job.user if job.user and is_user(job.user) else None,
        "--label": job.label,
        "--keep": _seconds(job.keep),
        "--stuck-after": _seconds(job.stuck_after),
    }
    words = ["gnjobs", "run"]
    for option, value in options.items():
        words += [] if value is None else [option, shell_word(value)]
    words += ["--", *map(shell_word, command)]
    if job.cwd:
        words = ["cd", shell_word(_directory(job.cwd)), "&&", *words]
    line = " ".join(words)
    # Which dash does not know.
    needs_bash = any(word.startswith("$'") for word in words)
    return f"bash -c {shlex.quote(line)}" if needs_bash else line


def _seconds(length: float | None) -> str | None:
    return f"{length:.15g}s" if length and length <= LONGEST else None


def _directory(cwd: str) -> str:
    """Name a directory so that `cd` does not take it for an option."""
    return f"./{cwd}" if cwd.startswith("-") else cwd
