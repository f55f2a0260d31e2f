"""Jobs that other programs wrote, read as their prefix's description says; see `records.layouts`."""

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.bounded import TooLarge, cut_record
from gnjobs.records.connection import replies_of
from gnjobs.records.fields import ALIASES, JOB_FIELDS, LIST_FIELDS, TOKEN_FIELD, Child, Job, read_job
from gnjobs.records.indexes import MOST_KEYS_SCANNED, scan_steps
from gnjobs.records.keys import MIRROR_FIELD, OWN_STATUS, RESERVED_IDS, Keys
from gnjobs.records.layouts import Layout
from gnjobs.records.statuses import ERROR, FINAL_STATUSES, PENDING, STATUSES
from gnjobs.records.values import encode_text

_SHELL: Final = ("/bin/sh", "-c")
_COMMAND: Final = "command"
_STATUS: Final = "status"


def list_names(layout: Layout) -> tuple[str, ...]:
    """The fields that lists read of a job which has not ended, in the description's names, too."""
    return tuple(dict.fromkeys((*LIST_FIELDS, *_described(layout))))


def known_names(layout: Layout) -> tuple[str, ...]:
    """Every field that means something to us."""
    return tuple(
        dict.fromkeys((*JOB_FIELDS, *ALIASES, TOKEN_FIELD, MIRROR_FIELD, OWN_STATUS, *_described(layout)))
    )


def _described(layout: Layout) -> Sequence[str]:
    return [*layout.fields.values(), *([layout.ending] if layout.ending else [])]


def read_listed(
    layout: Layout, job_id: str, names: Sequence[str], listed: Sequence[bytes | None]
) -> Job | None:
    """Read the values of these fields (HMGET), or return None where there is no record."""
    pairs = zip(names, cut_record(listed), strict=True)
    stored = {name: value for name, value in pairs if value is not None}
    return read_record(layout, job_id, stored) if stored else None


def read_record(layout: Layout, job_id: str, stored: Mapping[str, bytes]) -> Job:
    """Read a record: gnjobs' own fields as they are, others as the description says.

    `raw` has the word for the status where gnjobs has another.
    """
    fields = _plain_fields(stored) if layout.json else dict(stored)
    word = values.text(fields.get(OWN_STATUS) or fields.get(_STATUS))
    ending = values.text(fields.get(layout.ending))
    status = word if OWN_STATUS in fields else meaning_of(layout, word, ending)
    for ours, theirs in layout.fields.items():
        if theirs in fields and (ours == theirs or ours not in fields):
            fields[ours] = converted(layout, ours, fields[theirs])
    error = fields.get(layout.output_field("stderr"))
    if status == ERROR and error and "error" not in fields:
        fields["error"] = error
    if layout.id_time and "created" not in fields and (began := time_in_id(layout, job_id)):
        fields["created"] = began
    is_ours = "heartbeat" in fields or values.seconds(stored.get("created")) is not None
    job = read_job(job_id, fields)
    if fields.get("created") != stored.get("created"):
        job = msgspec.structs.replace(job, run=values.run_of(stored.get("created")))
    if not is_ours or MIRROR_FIELD in fields:
        is_uncounted = job.faults is None and status != PENDING and "faults" in layout.parts.values()
        job = msgspec.structs.replace(job, is_foreign=True, is_uncounted=is_uncounted)
    if status != word:
        job = msgspec.structs.replace(job, status=status, raw={**job.raw, _STATUS: word or ""})
    return job


def meaning_of(layout: Layout, word: str | None, ending: str | None) -> str | None:
    """What a word for a job's status means, given what the description's `ending` says."""
    meaning = layout.meaning(word)
    if not layout.ending or word in STATUSES or meaning not in FINAL_STATUSES:
        return meaning
    return word if ending is None else layout.meaning(ending)


def _plain_fields(stored: Mapping[str, bytes]) -> dict[str, bytes]:
    found = {name: plain_value(value) for name, value in stored.items()}
    return {name: value for name, value in found.items() if value is not None}


def plain_value(value: bytes | None) -> bytes | None:
    """A value without its JSON: a text is itself, and so is the `__value` of an object; None for `null`."""
    found: Any = values.json(value, object)
    match found:
        case str() as text:
            return encode_text(text)
        case {"__value": str() as text}:
            return encode_text(text)
    return None if value == b"null" else value


def converted(layout: Layout, name: str, value: bytes) -> bytes:
    """The value of another program's field as gnjobs writes it in the field of this name."""
    if name == _COMMAND:
        return _command(value)
    field = JOB_FIELDS.get(name)
    if field is not None and field.kind.read is values.seconds and values.seconds(value) is None:
        return _moment(layout, values.text(value) or "", datetime.fromisoformat) or value
    return value


def _command(value: bytes) -> bytes:
    """A command line, quoted for a shell, of what may be JSON: a list of words, or one line for a shell."""
    words = values.json(value, list[str])
    if words:
        return encode_text(shlex.join(words))
    line = values.json(value, str)
    return encode_text(shlex.join((*_SHELL, line))) if line else value


@cache
def _width(form: str) -> int:
    return len(datetime(2000, 1, 1, tzinfo=UTC).strftime(form))


def time_in_id(layout: Layout, job_id: str) -> bytes | None:
    """The time with which an id begins, in unix seconds."""
    return _moment(
        layout, job_id[: _width(layout.id_time)], lambda text: datetime.strptime(text, layout.id_time)
    )


def _moment(layout: Layout, text: str, parse: Callable[[str], datetime]) -> bytes | None:
    """Unix seconds of a time; one without a zone is in the description's."""
    try:
        at = parse(text)
        zoned = at.replace(tzinfo=UTC) if at.tzinfo is None and layout.time_zone == "utc" else at
        return b"%.6f" % zoned.timestamp()
    except (ValueError, OverflowError, OSError):
        return None


MOST_CHILDREN: Final = 10_000
SHORTEST_REST: Final = 10.0
REST_FACTOR: Final = 20
_SEPARATOR: Final = "/"
_LONGEST_PART: Final = 1000  # no file has a longer name, and many are remembered
STDERR_CHILD: Final = "field/stderr"


class Part(NamedTuple):
    """A key inside a job, `<record>:<section>:<kind>:<name>`, by which another program's processes say something."""

    section: str
    kind: str
    name: str

    @property
    def child_id(self) -> str:
        """What it is called by as a child; it has a `/` and so is never an id of ours."""
        return _SEPARATOR.join(self)


def part_key(keys: Keys, job_id: str, part: Part) -> str:
    """The key of a part; names may contain anything."""
    return keys.inside(job_id) + ":".join(part)


def parse_part(keys: Keys, job_id: str, key: str) -> Part | None:
    """Split a key inside a job as the description says, or return None."""
    if not keys.owns(job_id, key):
        return None
    return _part(keys, key.removeprefix(keys.inside(job_id)), ":")


def part_of(keys: Keys, child_id: str) -> Part | None:
    """The part that a child is called by."""
    return _part(keys, child_id, _SEPARATOR)


def _part(keys: Keys, text: str, separator: str) -> Part | None:
    match text.split(separator, 2) if len(text) <= _LONGEST_PART else ():
        case [section, kind, name] if (
            name and kind in keys.layout.parts and section not in RESERVED_IDS | {""}
        ):
            return Part(section, kind, name)
        case _:
            return None


class KnownParts(Protocol):
    """What knows the parts of a job."""

    def parts(self) -> Sequence[Part]:
        """The parts, in order."""


class PartFinder:
    """Finds the parts of a job among the first `MOST_KEYS_SCANNED` keys of the server, and remembers them.

    A search takes from milliseconds to seconds: between two of them there are 10 s, or 20 times what the last one took.
    `has_all` says whether the last one found all that there is.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, job_id: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._keys = keys
        self._job_id = job_id
        self._monotonic = monotonic
        self._found: list[Part] = []
        self.has_all = False
        self._due = float("-inf")

    def parts(self) -> Sequence[Part]:
        """The parts that are known, in order, once it is time searched for anew."""
        started = self._monotonic()
        if self._keys.layout.parts and started >= self._due:
            self._found = sorted(self._search())
            took = self._monotonic() - started
            self._due = started + took + max(SHORTEST_REST, REST_FACTOR * took)
        return self._found

    def _search(self) -> set[Part]:
        found: set[Part] = set()
        for names in scan_steps(self._client, self._keys.scan_pattern(self._job_id)):
            parts = (parse_part(self._keys, self._job_id, values.text(name) or "") for name in names)
            found.update(part for part in parts if part is not None)
            if len(found) >= MOST_CHILDREN:
                return found
        self.has_all = int(self._client.dbsize()) <= MOST_KEYS_SCANNED
        return found


def read_parts(
    client: redis.Redis, keys: Keys, job: Job, finder: KnownParts | None = None
) -> Iterator[Child]:
    """Read what another program's processes left below a job as children, and what it printed as errors."""
    layout = keys.layout
    if job.heartbeat is None and job.raw.get(layout.output_field("stderr")):
        yield Child(id=STDERR_CHILD, label="stderr")
    parts = (finder or PartFinder(client, keys, job.id)).parts()
    states = {
        (part.section, part.name): part for part in reversed(parts) if layout.parts[part.kind] != "lines"
    }
    fault_kinds = [kind for kind, holds in layout.parts.items() if holds == "faults"]
    state_kinds = [kind for kind, holds in layout.parts.items() if holds == "state"]
    pipe = client.pipeline(transaction=False)
    for section, name in sorted(states):
        for kind in fault_kinds:
            pipe.llen(encode_text(part_key(keys, job.id, Part(section, kind, name))))
        for kind in state_kinds:
            pipe.hgetall(encode_text(part_key(keys, job.id, Part(section, kind, name))))
    replies = iter(replies_of(pipe))
    for section, name in sorted(states):
        counts = [next(replies) for _ in fault_kinds]
        fields = {name: value for _ in state_kinds for name, value in (next(replies) or {}).items()}
        kind = fault_kinds[0] if fault_kinds else state_kinds[0]
        yield _child(keys, job.id, Part(section, kind, name), fields, counts)
    for part in parts:
        if layout.parts[part.kind] == "lines":
            yield Child(
                id=part.child_id,
                output_key=part_key(keys, job.id, part),
                label=f"{part.section}: {part.name} (log)",
            )


def counted(job: Job, children: Iterable[Child], *, has_all: bool = False) -> Job:
    """The job with the faults that its children are known to have, where nobody has counted them.

    Where none says anything, that is 0 if these are all that there are.
    """
    known = [child.faults for child in children if child.faults is not None]
    if not job.is_uncounted or not (known or has_all):
        return job
    return msgspec.structs.replace(job, faults=sum(known), is_uncounted=False)


def count_left(client: redis.Redis, keys: Keys, job: Job, finder: KnownParts | None = None) -> int | None:
    """How many faults another program's processes left below a job; None where the server does not let us look."""
    try:
        return sum(child.faults or 0 for child in read_parts(client, keys, job, finder))
    except (redis.ResponseError, TooLarge):
        return None


def _child(
    keys: Keys, job_id: str, part: Part, fields: Mapping[bytes, bytes], counts: Sequence[int | None]
) -> Child:
    """A child of what its state says, and of how many faults its lists hold, whichever is more."""
    layout = keys.layout
    found = {
        name: fields.get(layout.part_fields.get(name, name).encode())
        for name in ("status", "done", "total", "faults")
    }
    done, total = values.number(found["done"]), values.number(found["total"])
    faults = [count for count in (values.integer(found["faults"]), *counts) if count is not None]
    return Child(
        id=part.child_id,
        output_key=part_key(keys, job_id, part),
        label=f"{part.section}: {part.name}",
        status=layout.meaning(values.text(found["status"])),
        percent=min(100.0, 100 * done / total) if done is not None and total else None,
        done=done,
        total=total,
        unit="lines",
        faults=max(faults, default=None),
        raw={values.text(name) or "": values.text(value) or "" for name, value in fields.items()},
    )


def dated(client: redis.Redis, keys: Keys, jobs: Sequence[Job]) -> list[Job]:
    """Give those of these jobs that record no time an `estimated_start`, in one round trip, from their expiry.

    Of a record that does not expire, or later than the description says, nothing is said.
    """
    lifetime = keys.layout.expires_after
    unknown = [job.id for job in jobs if job.created is None and job.started is None]
    if lifetime is None or not unknown:
        return list(jobs)
    pipe = client.pipeline(transaction=False)
    pipe.time()
    for job_id in unknown:
        pipe.pttl(keys.job(job_id))
    (seconds, microseconds), *left = replies_of(pipe)
    now = seconds + microseconds / 1e6
    starts = {
        job_id: now - lifetime + milliseconds / 1000
        for job_id, milliseconds in zip(unknown, left, strict=True)
        if 0 <= milliseconds <= lifetime * 1000
    }
    return [
        msgspec.structs.replace(job, estimated_start=starts[job.id]) if job.id in starts else job
        for job in jobs
    ]
