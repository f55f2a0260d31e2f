"""What has to stand in Redis, said again where a server forgot what it had confirmed.

A server that dies may forget its last second or two, and a replica that takes over may lack some. Whoever writes the
status and fields of a job or child keeps a `Statement` of them, says it again over each new connection, and once more
when it has stood for a while (`Lasting`). A hash that was removed is never made again.
"""

import os
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

import redis

from gnjobs.records import values
from gnjobs.records.connection import readable, replies_of
from gnjobs.records.environment import ENV_LASTING
from gnjobs.records.fields import MAY_FAIL_FIELD
from gnjobs.records.keys import Keys
from gnjobs.records.scripts import Run, Value, add_children, add_transition, make_hash, set_fields
from gnjobs.records.statuses import FINAL_STATUSES, PENDING
from gnjobs.records.values import encode_text

# A journal that is synced every second may lose two.
_LASTING_SECONDS = 2.5
_AT_ONCE = 500


def lasting_seconds() -> float:
    """How long an end is watched after it was stored, in seconds; 0, as the environment may say: not at all."""
    said = values.number(os.environ.get(ENV_LASTING))
    return _LASTING_SECONDS if said is None else said


class Step(NamedTuple):
    """One change of a status, repeatable by its token."""

    allowed_from: Collection[str]
    to: str
    token: str
    fields: Mapping[str, Value]


class Said(NamedTuple):
    """What came of a statement: the outcome of its last step, and the status that now stands.

    `stood`: it was there already; `done`: it was written; `refused`: another status stands; `gone`: the job was
    removed, or its own record has yet to be restored; `foreign`: the key holds something of another type.
    """

    outcome: str
    status: str = ""


class Statement:
    """All that one writer has said of a job or child: the changes of its status, and its fields.

    It is about this `run` of the job: nothing of it is written to another job that has the id by now.
    `made` are the fields of the hash before the first step, for one that has to be made again. `children` (id →
    output key) are listed in the job's record. A child that is `first_hand` knows more of its own end than
    whoever may have restored it.
    """

    def __init__(
        self,
        run: Run,
        key: str,
        *,
        made: Mapping[Any, Value] | None = None,
        children: Mapping[str, str] | None = None,
        first_hand: bool = False,
    ) -> None:
        self.run = run
        self.key = key
        self.made: Mapping[Any, Value] = made or {}
        self.children: Mapping[str, str] = children or {}
        self.first_hand = first_hand
        self.steps: list[Step] = []
        self.fields: dict[str, Value] = {}

    @classmethod
    def of_child(
        cls, keys: Keys, run: Run, job_id: str, child_id: str, output_key: str | None = None, **options: Any
    ) -> "Statement":
        """A statement about a child."""
        children = {child_id: output_key or keys.child_output(job_id, child_id)}
        return cls(run, keys.child(job_id, child_id), children=children, **options)

    def step(self, allowed_from: Collection[str], to: str, fields: Mapping[str, Value]) -> Step:
        """Add a change of the status, to be said; what belongs to it is said again only where it was made."""
        self.steps.append(Step(allowed_from, to, uuid.uuid4().hex, dict(fields)))
        return self.steps[-1]

    @property
    def is_final(self) -> bool:
        """Whether its last step is an end."""
        return bool(self.steps) and self.steps[-1].to in FINAL_STATUSES

    def fields_to_set(self, said: Said) -> Mapping[str, Value]:
        """The fields that are for this writer to set though its last step was made already, or refused."""
        if said.outcome == "refused" and said.status not in FINAL_STATUSES:
            return self.fields
        is_known_better = self.first_hand and self.is_final and said.status == self.steps[-1].to
        if said.outcome == "stood" or (said.outcome == "refused" and is_known_better):
            return {**self.fields, **self.steps[-1].fields}
        return {}


def new_child(label: str | None, *, may_fail: bool) -> dict[str, Value]:
    """The fields that a child's hash begins with, apart from its status."""
    fields: dict[str, Value] = {} if label is None else {"label": encode_text(label)}
    return fields | {MAY_FAIL_FIELD: 1} if may_fail else fields


def say(client: redis.Redis, statements: Sequence[Statement], *, makes_record: bool = False) -> list[Said]:
    """Say what is to stand, of one job and its children; what stands already is left as it is.

    A child's hash that is not there is made again where its job is, the job's only if `makes_record`. Raises
    redis-py's errors.
    """
    said: list[Said] = []
    for start in range(0, len(statements), _AT_ONCE):
        said += _say_some(client, statements[start : start + _AT_ONCE], makes_record=makes_record)
    return said


def _say_some(client: redis.Redis, statements: Sequence[Statement], *, makes_record: bool) -> list[Said]:
    run = statements[0].run
    listed = {name: key for each in statements for name, key in each.children.items()}
    is_job = statements[0].key == run.record
    may_make = makes_record if is_job else add_children(client, run, listed) >= 0
    said = dict(zip(statements, _take_steps(client, statements), strict=True))
    gone = [statement for statement in statements if said[statement].outcome == "gone"]
    if gone and may_make:
        _make(client, gone)
        said.update(zip(gone, _take_steps(client, gone, is_made=True), strict=True))
    if is_job:
        add_children(client, run, listed)
    _set_fields(client, {each: each.fields_to_set(said[each]) for each in statements})
    return list(said.values()) if is_job or may_make else [Said("gone")] * len(statements)


def _take_steps(client: redis.Redis, statements: Sequence[Statement], *, is_made: bool = False) -> list[Said]:
    """Take the steps of each; the last carries all fields, so that nobody sees a status without what belongs to it."""
    pipe = client.pipeline(transaction=False)
    for statement in statements:
        for step in statement.steps:
            fields = {**statement.fields, **step.fields} if step is statement.steps[-1] else step.fields
            add_transition(pipe, statement.key, step.allowed_from, step.to, step.token, fields, statement.run)
    replies = iter(pipe.execute(raise_on_error=False))
    without_steps = Said("done") if is_made else Said("gone")
    return [
        [_read(next(replies)) for _ in statement.steps][-1] if statement.steps else without_steps
        for statement in statements
    ]


def _read(reply: Any) -> Said:
    found = readable(reply)
    return Said("foreign") if found is None else Said(found[0].decode(), values.text(found[1]) or "")


def _make(client: redis.Redis, statements: Iterable[Statement]) -> None:
    pipe = client.pipeline(transaction=False)
    for statement in statements:
        whole = statement.fields if statement.key == statement.run.record else {}
        make_hash(pipe, statement.key, {"status": PENDING, **whole, **statement.made}, statement.run)
    replies_of(pipe)


def _set_fields(client: redis.Redis, fields: Mapping[Statement, Mapping[str, Value]]) -> None:
    """Set fields where there are any; where a server refuses, an end that stands is left at what it has."""
    known = {statement: said for statement, said in fields.items() if said}
    pipe = client.pipeline(transaction=False)
    for statement, said in known.items():
        set_fields(pipe, statement.key, said, statement.run)
    for statement, reply in zip(known, pipe.execute(raise_on_error=False), strict=True):
        if not statement.is_final:
            readable(reply)


class Lasting:
    """Sees that what was said of children's ends, or of one's own, still stands after a while."""

    def __init__(self, *statements: Statement) -> None:
        self.statements = list(statements)
        self.due = 0.0

    def said(self, statements: Iterable[Statement] = ()) -> None:
        """Note that something was written just now; to look at it is due `lasting_seconds` later (monotonic)."""
        self.statements += statements
        seconds = lasting_seconds()
        self.due = monotonic() + seconds if seconds else 0.0

    def stands(self, client: redis.Redis) -> bool:
        """Say everything again; returns whether all of it stood, else it is due later."""
        stood = all(said.outcome not in ("done", "gone") for said in say(client, self.statements))
        if not stood:
            self.said()
        return stood
