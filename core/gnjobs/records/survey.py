"""Tries a prefix's description on a live server: what it finds, and what it does not understand. Reads alone."""

import re
from collections import Counter
from collections.abc import Callable, Collection

import msgspec
import redis

from gnjobs.records import values
from gnjobs.records.fields import ALIASES, JOB_FIELDS, Job
from gnjobs.records.foreign import parse_part
from gnjobs.records.indexes import scan_steps
from gnjobs.records.keys import KeyPart, Keys
from gnjobs.records.layouts import ID
from gnjobs.records.reading import fetch_job
from gnjobs.records.statuses import STATUSES

MOST_READ = 1000
_LONGEST_EXAMPLE = 60
_MOST_FORMS, _LONGEST_FORM, _FURTHER = 1000, 200, "(others)"
_CHANGING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+")
_OF_GNJOBS = {"jobid": "its own id", "job_id": "its own id", "mirror-output": "gnjobs", "old-words": "gnjobs"}


class Survey(msgspec.Struct, kw_only=True):
    """What was found under a prefix: `read` of its `records` were read, and each count is of these.

    `words` maps a stored status to its meaning, None where it has none; `fields` a stored field to what it is read as;
    `unreadable` a field to a value that is nothing of its kind. `others` are forms of keys that nothing describes,
    `parts` kinds of keys inside jobs that something does. `dated` and `owned` count records with a time and an owner.
    """

    prefix: str
    key: str
    keys_seen: int = 0
    records: int = 0
    read: int = 0
    no_hash: int = 0
    dated: int = 0
    owned: int = 0
    words: dict[str, str | None] = {}
    fields: dict[str, str | None] = {}
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    unreadable: dict[str, str] = {}
    parts: Counter[str] = msgspec.field(default_factory=Counter)
    others: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def is_understood(self) -> bool:
        """Whether there are records and every status among them means something."""
        return self.read > self.no_hash and None not in self.words.values()


def survey(client: redis.Redis, keys: Keys, looked: Callable[[int], None] = lambda _: None) -> Survey:
    """Look at every key under a prefix, and read the first 1000 records; `looked` is told how many keys were seen."""
    found = Survey(prefix=keys.prefix, key=f"{keys.jobs_namespace}{ID}")
    for names in scan_steps(client, keys.pattern(KeyPart.EVERYTHING)):
        for name in names:
            _take_key(client, keys, found, values.text(name) or "")
        looked(found.keys_seen)
    return found


def _take_key(client: redis.Redis, keys: Keys, found: Survey, name: str) -> None:
    found.keys_seen += 1
    parsed = keys.parse(name)
    if name == keys.jobs:
        return
    if parsed is None or parsed.kind == "foreign":
        part = None if parsed is None else parse_part(keys, parsed.job_id, name)
        if part is not None:
            found.parts[part.kind] += 1
        elif not name.startswith(
            (f"{keys.prefix}:users", f"{keys.prefix}:hosts", keys.jobs, keys.unfinished, keys.events)
        ):
            found.others[_form(found.others, _CHANGING.sub("*", name))] += 1
    elif parsed.kind == "record":
        found.records += 1
        if found.read < MOST_READ and (job := fetch_job(client, keys, parsed.job_id)) is not None:
            _take_job(keys, found, job)


def _take_job(keys: Keys, found: Survey, job: Job) -> None:
    found.read += 1
    if job == Job(id=job.id):
        found.no_hash += 1
        return
    found.dated += (job.created or job.started) is not None
    found.owned += job.user is not None
    word, ending = job.raw.get("status", job.status), job.raw.get(keys.layout.ending)
    shown = "(none)" if word is None else " and ".join(filter(None, (word, ending)))[:_LONGEST_EXAMPLE]
    found.words[shown] = "no job, or one of which nothing is known" if word is None else _meaning(job)
    found.counts[f"status {shown}"] += 1
    roles = _roles(keys)
    ours = [name for name, field in JOB_FIELDS.items() if getattr(job, field.attribute) is not None]
    if job.error and job.error == job.raw.get(keys.layout.output_field("stderr")):
        ours.remove("error")
    in_place = {name for name, theirs in keys.layout.fields.items() if name == theirs}
    for name in {*job.raw, *(name for name in ours if name not in keys.layout.fields or name in in_place)}:
        form = _form(found.fields, name)
        found.fields[form] = roles.get(form)
        found.counts[f"field {form}"] += 1
    for name in job.unreadable:
        found.unreadable.setdefault(name, job.raw.get(name, "")[:_LONGEST_EXAMPLE])


def _form(known: Collection[str], name: str) -> str:
    """Under which name something is counted: what differs in very many ways is counted together."""
    form = name[:_LONGEST_FORM]
    return form if form in known or len(known) < _MOST_FORMS else _FURTHER


def _meaning(job: Job) -> str | None:
    return job.status if job.status in STATUSES else None


def _roles(keys: Keys) -> dict[str, str]:
    """What each field is read as, by its name in Redis."""
    layout = keys.layout
    roles = {name: name for name in JOB_FIELDS} | ALIASES | _OF_GNJOBS
    roles |= {theirs: ours for ours, theirs in layout.fields.items()}
    roles |= {layout.output_field("stdout"): "output", layout.output_field("stderr"): "errors"}
    roles |= {"created": "the time in the id"} if layout.id_time else {}
    return roles | ({layout.ending: "how it ended"} if layout.ending else {})
