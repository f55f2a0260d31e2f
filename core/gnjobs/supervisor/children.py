"""What the supervisor knows of the job's children: read at each beat, and kept once they have ended."""

import contextlib
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import redis

from gnjobs.records import values
from gnjobs.records.bounded import LARGEST_FIELD, LARGEST_REPLY, TooLarge
from gnjobs.records.fields import MAY_FAIL_FIELD
from gnjobs.records.keys import Keys
from gnjobs.records.lasting import Statement, new_child, say
from gnjobs.records.reading import output_keys
from gnjobs.records.scripts import Value, read_small
from gnjobs.records.statuses import (
    ERROR,
    FINAL_STATUSES,
    KILLED,
    LOST,
    PENDING,
    RUNNING,
    UNFINISHED_STATUSES,
)
from gnjobs.records.values import encode_text
from gnjobs.supervisor.measure import Amount
from gnjobs.supervisor.outcome import JobOutcome
from gnjobs.supervisor.record import RecordLink
from gnjobs.supervisor.wakeups import Exit
from gnjobs.text import encodable, few

# Without `error`, which may be long: what the child itself said of it stands in its output, too.
_END = ("finished", "exit-code", "signal", "stop-by", "stop-reason")
_READ = (
    "status", "last-output", "started", "faults", "label", "pid", MAY_FAIL_FIELD, "done", "unit", *_END
)  # fmt: skip
_READ_AT_ONCE = 10_000  # a reply with all fields of 100 000 would be larger than any that is read
_WAITING_READ_AT_ONCE = 500
_LONGEST_WORDS = 1000
_NAMED = 5


class WatchedChild(NamedTuple):
    """The part of a child's hash that the job's record depends on, and of its end what is short."""

    status: str = PENDING
    last_output: float | None = None
    started: float | None = None
    faults: int = 0
    label: str | None = None
    pid: int | None = None
    may_fail: bool = False
    done: float | None = None
    unit: str | None = None
    end: tuple[str | None, ...] = ()

    @property
    def end_fields(self) -> dict[str, str]:
        """What is known of its end, by field."""
        return {name: text for name, text in zip(_END, self.end, strict=False) if text is not None}

    @property
    def fields(self) -> dict[str, Value]:
        """What is known of a child that has ended, by field, as it stood in its hash."""
        known: dict[str, Value | None] = {
            "started": self.started,
            "last-output": self.last_output,
            "faults": self.faults,
            "pid": self.pid,
        }
        known |= {name: encode_text(text) for name, text in self.end_fields.items()}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def last_sign(self) -> float:
        """When it was last heard of, or when it began (unix seconds; 0 when neither is known)."""
        return self.last_output or self.started or 0.0


def _read_child(listed: Sequence[bytes | None]) -> WatchedChild:
    status, last_output, started, faults, label, pid, may_fail, done, unit, *rest = listed
    word = encodable(values.text(status)) or PENDING
    return WatchedChild(
        word,
        values.seconds(last_output),
        values.seconds(started),
        values.integer(faults) or 0,
        _short(label),
        values.integer(pid),
        may_fail is not None,
        values.number(done),
        _short(unit),
        tuple(map(_short, rest)) if word in FINAL_STATUSES else (),
    )


def _short(value: bytes | None) -> str | None:
    """Read words that many children may have in common: each is kept once, and not at any length."""
    text = values.text(value)
    return None if text is None else sys.intern(text[:_LONGEST_WORDS])


class ChildWatch:
    """All children of one job, by id."""

    def __init__(self, keys: Keys, job_id: str) -> None:
        self._keys = keys
        self._job_id = job_id
        self._count = 0
        self._reading: list[str] = []
        self.output_keys: dict[str, str] = {}
        self.children: dict[str, WatchedChild] = {}
        self._ended: dict[str, WatchedChild] = {}
        self.forgotten: dict[str, WatchedChild] = {}  # what the server had, and has no more
        self._beats = 0
        self._has_something_too_large = False

    def discover(self, client: redis.Redis, count: int | None = None) -> None:
        """Read the record's list of children, unless its `children` count is the one that is known."""
        if count is not None and count == self._count:
            return
        for found in output_keys(client, self._keys, self._job_id):
            own = {name: key for name, key in found.items() if self._keys.owns(self._job_id, key)}
            self.output_keys |= own
            for child_id in own:
                self.children.setdefault(child_id, WatchedChild())
        self._count = len(self.output_keys) if count is None else count

    def doubt(self) -> None:
        """Read all children again: a server that was away may have forgotten how they ended."""
        for child_id, child in self.children.items():
            if child.status in FINAL_STATUSES:
                self._ended[child_id] = child
                self.children[child_id] = child._replace(status=RUNNING)

    def unfinished(self) -> Iterator[str]:
        """The ids of children that have not ended, as far as is known."""
        return (name for name, child in self.children.items() if child.status not in FINAL_STATUSES)

    def add_reads(self, pipe: Any, *, at_work: Collection[str] = frozenset()) -> int:
        """Add to a pipeline the reading of running children and, by turns, of some that wait; return how many.

        Children that are known to be `at_work` are read at once though they waited before.
        """
        unfinished = list(self.unfinished())
        waiting = [name for name in unfinished if self.children[name].status == PENDING]
        turn = {*self._turn(waiting, _WAITING_READ_AT_ONCE), *at_work}
        self._add(pipe, [n for n in unfinished if self.children[n].status != PENDING or n in turn])
        self._beats += 1
        return len(self._reading)

    def _turn(self, names: list[str], most: int) -> list[str]:
        """So many of these, others at the next beat."""
        if len(names) <= most:
            return names
        start = self._beats * most % len(names)
        return (names + names)[start : start + most]

    def _add(self, pipe: Any, names: list[str]) -> None:
        self._reading = self._turn(names, _READ_AT_ONCE)
        for child_id in self._reading:
            self.add_read(pipe, self._keys.child(self._job_id, child_id), _READ, len(self._reading))

    def read_unfinished(self, client: redis.Redis) -> None:
        """Read every one that has not ended as far as was known."""
        names = list(self.unfinished())
        for start in range(0, len(names), _READ_AT_ONCE):
            pipe = client.pipeline(transaction=False)
            self._add(pipe, names[start : start + _READ_AT_ONCE])
            with self.noting_what_is_too_large():
                replies = pipe.execute(raise_on_error=False)
            self.take(replies)

    def add_read(self, pipe: Any, key: str, names: Sequence[str], hashes: int = 1) -> None:
        """Add to a pipeline the reading of fields of one hash of the job, of so many: in all of them there is room."""
        if self._has_something_too_large:
            read_small(pipe, key, names, min(LARGEST_FIELD, LARGEST_REPLY // (2 * len(names) * hashes)))
        else:
            pipe.hmget(key, names)

    @contextlib.contextmanager
    def noting_what_is_too_large(self) -> Iterator[None]:
        """Read no large values from now on if one is met."""
        try:
            yield
        except TooLarge:
            self._has_something_too_large = True
            raise

    def take(self, replies: Sequence[Any]) -> None:
        """Take the replies to the reads that were added last; a hash of another type changes nothing."""
        for child_id, reply in zip(self._reading, replies, strict=True):
            if isinstance(reply, list):
                self.children[child_id] = self._compared(child_id, _read_child(reply))

    def _compared(self, child_id: str, found: WatchedChild) -> WatchedChild:
        """What is read now, or what was known where the server has forgotten it."""
        known = self._ended.get(child_id) or self.children[child_id]
        has_end = known.status in FINAL_STATUSES and found.status not in FINAL_STATUSES
        if has_end or (known.label is not None and found.label is None):
            self.forgotten[child_id] = known
            return known if has_end else found._replace(label=known.label, may_fail=known.may_fail)
        return found

    @property
    def faults(self) -> int:
        """How many faults all children have found."""
        return sum(child.faults for child in self.children.values())

    @property
    def amount(self) -> Amount | None:
        """How much all children have done; None where no child says it."""
        told = [child for child in self.children.values() if child.done is not None]
        if not told:
            return None
        unit = next((child.unit for child in told if child.unit is not None), None)
        return Amount.of(sum(child.done or 0.0 for child in told), unit)

    def failure_note(self) -> str | None:
        """Name the children that make their job an error: "1 of 3 children failed: pheno.tsv (exit code 1)"."""
        by_status: defaultdict[str, list[WatchedChild]] = defaultdict(list)
        for child_id, child in self.children.items():
            if not child.may_fail:
                by_status[child.status].append(child._replace(label=child.label or child_id))
        failed, lost, killed = by_status[ERROR], by_status[LOST], by_status[KILLED]
        total = len(self.children)
        notes = [
            f"{len(killed)} of {total} children killed{_by_whom(killed)}" if killed else "",
            f"{len(failed)} of {total} children failed: {_named(failed)}" if failed else "",
            f"{len(lost)} of {total} children ended without a word: {_named(lost)}" if lost else "",
        ]
        return "; ".join(filter(None, notes)) or None


def _named(children: Sequence[WatchedChild]) -> str:
    return few((f"{encodable(child.label)}{_how(child.end_fields)}" for child in children), _NAMED)


def _how(end: Mapping[str, str]) -> str:
    words = {"signal": "signal", "exit-code": "exit code"}
    return next((f" ({word} {encodable(end[name])})" for name, word in words.items() if name in end), "")


def _by_whom(killed: Sequence[WatchedChild]) -> str:
    def said(field: str) -> list[str]:
        return sorted({encodable(child.end_fields.get(field)) or "" for child in killed} - {""})

    by, why = ", ".join(said("stop-by")), "; ".join(said("stop-reason"))
    return (f" by {by}" if by else "") + (f": {why}" if why else "")


def read_children(link: RecordLink, watch: ChildWatch) -> None:
    """Read the list of children anew, and every one that has not ended as far as was known."""
    watch.discover(link.client)
    watch.read_unfinished(link.client)
    restore_forgotten(link, watch)


def restore_forgotten(link: RecordLink, watch: ChildWatch) -> None:
    """Say again of children what the server forgot and nobody else would say; nothing of a job that was removed."""
    begins, ends = [], []
    for child_id, child in watch.forgotten.items():
        begins.append(_statement(link, watch, child_id))
        if child.status in FINAL_STATUSES:
            ends.append(_statement(link, watch, child_id))
            ends[-1].step(UNFINISHED_STATUSES, child.status, child.fields)
    say(link.client, begins + ends)
    watch.forgotten.clear()


def _statement(link: RecordLink, watch: ChildWatch, child_id: str) -> Statement:
    child = watch.forgotten.get(child_id) or watch.children[child_id]
    made = new_child(child.label, may_fail=child.may_fail)
    run, output_key = link.statement.run, watch.output_keys[child_id]
    return Statement.of_child(link.keys, run, link.job_id, child_id, output_key, made=made)


def settle_children(
    link: RecordLink, watch: ChildWatch, outcome: JobOutcome, exits: Mapping[int, Exit]
) -> None:
    """Give every unfinished child its final status; one whose process outlived the job stays as it is."""
    read_children(link, watch)
    alive = {process.pid for process in outcome.survivors}
    ends = []
    for child_id in watch.unfinished():
        if watch.children[child_id].pid not in alive:
            status, fields = end_of_child(watch.children[child_id], outcome, exits)
            fields["finished"] = round(link.now(), 3)
            ends.append(_statement(link, watch, child_id))
            ends[-1].step(UNFINISHED_STATUSES, status, fields)
    if ends:
        say(link.client, ends)
        read_children(link, watch)


def end_of_child(
    child: WatchedChild, outcome: JobOutcome, exits: Mapping[int, Exit]
) -> tuple[str, dict[str, Value]]:
    """The final status of a child that ended with its job, without a word of its own."""
    how = exits.get(child.pid) if child.pid is not None else None
    fields: dict[str, Value] = {**how.fields} if how else {}
    if outcome.stop is not None:
        return KILLED, fields | outcome.stop.fields
    if child.status == PENDING:
        fields["error"] = "never started: the job ended before"
    else:
        fields["error"] = f"ended without a report{f' ({how})' if how else ''}"
    return LOST, fields
